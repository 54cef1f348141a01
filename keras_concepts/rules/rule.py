"""What a rule is, and the list of all rules."""

import dataclasses
from collections.abc import Callable, Iterator

from keras_concepts.rules.finding import Evidence, Severity
from keras_concepts.rules.training import Training

Judgement = Callable[[Training], Iterator[Evidence]]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A function from what was measured to evidence, and what it means.

    Attributes:
        name: Of its findings.
        function: Yields evidence where a verdict is due, and nothing else.
        severity: Of its findings.
        why: Why it matters, in one sentence.
        page: File in `docs/` that explains the concept.
        needs: What must be known for the rule to say anything, in words; for
            the list of what could not be checked.
        is_known: Whether that is known of a training run.
    """

    name: str
    function: Judgement
    severity: Severity
    why: str
    page: str
    needs: str
    is_known: Callable[[Training], bool]


RULES: list[Rule] = []


def rule(
    name: str,
    *,
    severity: Severity,
    why: str,
    page: str = "",
    needs: str = "",
    known: Callable[[Training], bool] = lambda t: True,
) -> Callable[[Judgement], Judgement]:
    """Lists the decorated function among the rules, under this name."""

    def listed(function: Judgement) -> Judgement:
        RULES.append(Rule(name, function, severity, why, page, needs, known))
        return function

    return listed
