"""What a rule is, and the list of all rules."""

import dataclasses
import inspect
from collections.abc import Callable, Iterator

from keras_concepts.rules.finding import Evidence, Severity
from keras_concepts.rules.training import Training

Judgement = Callable[[Training], Iterator[Evidence]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A function from measurements to evidence, and what its findings mean.

    Attributes:
        name: Name of its findings.
        function: Yields evidence if something is wrong, and nothing otherwise.
        severity: Severity of its findings.
        why: Why it matters, in one sentence.
        page: File in `docs/` that explains the concept.
        needs: What must be known before the rule can report anything, in words,
            for the list of what could not be checked.
        is_known: Whether that is known about a training run.
        is_meant: Whether the rule applies to the run at all: in a model without
            dropout, a rule about dropout is neither checked nor missing.
    """

    name: str
    function: Judgement
    severity: Severity
    why: str
    page: str
    needs: str
    is_known: Callable[[Training], bool]
    is_meant: Callable[[Training], bool]

    @property
    def key(self) -> str:
        """Distinguishes it from other rules of the same name."""
        return f"{self.name}:{self.function.__name__}"


RULES: list[Rule] = []


def rule(
    name: str,
    *,
    severity: Severity,
    why: str,
    page: str = "",
    needs: str = "",
    known: Callable[[Training], bool] = lambda t: True,
    meant: Callable[[Training], bool] = lambda t: True,
) -> Callable[[Judgement], Judgement]:
    """Registers the decorated function as a rule under this name."""

    def listed(function: Judgement) -> Judgement:
        RULES.append(
            Rule(name, function, severity, why, page, needs, known, meant)
        )
        return function

    return listed


def markdown_table() -> str:
    """All rules as a Markdown table, by name.

    The first line of a rule's docstring says what it finds.
    """
    lines = [
        "| rule | severity | what it finds | needs | more |",
        "|---|---|---|---|---|",
    ]
    anchors = set()
    for each in sorted(RULES, key=lambda rule: rule.name):
        is_new = each.name not in anchors
        anchors.add(each.name)
        name = f'<a id="{each.name}"></a>' if is_new else ""
        finds = (inspect.getdoc(each.function) or "").partition("\n")[0]
        file = each.page.partition("#")[0]
        page = "" if file in ("", "doctor.md") else f"[page]({file})"
        cells = f"{name}`{each.name}`", each.severity, finds, each.needs, page
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
