"""What a rule finds, and how it is presented to a person."""

import dataclasses
from typing import Any, Literal, NamedTuple, Self

from keras_concepts._shown_as_text import printable, show_text

Severity = Literal["info", "warning", "error"]
Position = tuple[int, int]


class Measured(NamedTuple):
    """A number that supports a finding.

    Attributes:
        name: What it is, in words.
        value: The measured value.
        threshold: Where the finding begins; `None` if there is none.
        unit: Unit of both; `""` for a pure number.
    """

    name: str
    value: float | str
    threshold: float | None = None
    unit: str = ""

    def __str__(self) -> str:
        value = self.value
        text = value if isinstance(value, str) else _number(value)
        unit = f" {self.unit}" if self.unit else ""
        limit = ""
        if self.threshold is not None:
            limit = f" (threshold {_number(self.threshold)})"
        return f"{self.name} {text}{unit}{limit}"


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a rule yields: what is wrong, where, and since when.

    Attributes:
        owner: Path of the layer or variable, name of the output or input; `""`
            for the run.
        since: When it began, `(epoch, step)`, both from 0.
        measured: The measured numbers.
        advice: What to change, in one sentence.
        code: The change as a line of Keras code.
        variant: Which of several kinds it is, if the rule distinguishes them.
        part: Output or input, if each may have its own finding.
        why: Why it matters, if the rule's sentence is too general.
    """

    owner: str
    since: Position
    measured: tuple[Measured, ...]
    advice: str
    code: str = ""
    variant: str = ""
    part: str = ""
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that keeps a model from learning, or misleads its user.

    `since`, `noticed` and `resolved` are pairs `(epoch, step)`, both counted
    from 0 over all epochs and steps in the recording, and `(0, 0)` for what was
    known before the first step. In text, epochs are counted from 1.

    Attributes:
        rule: Name of the rule, such as `"dead_units"`.
        severity: `"error"` for what is certain and cannot be intended,
            `"warning"` for what does harm, `"info"` for what is useful to know.
        owner: Path of the layer or variable, name of the output or input; `""`
            for the run.
        since: When it began.
        noticed: When it could first be reported.
        resolved: When it no longer held, or `None`.
        because_of: Rule of the finding that explains this one, or `None`.
        evidence: The measured numbers, and their thresholds.
        why: Why it matters, in one sentence.
        advice: What to change, in one sentence.
        code: The change as a line of Keras code, or `""`.
        page: File in `docs/` that explains the concept, a URL, or `""`. Text,
            notebooks and reports show its address on the site.
        variant: Which of several things it is, if the rule distinguishes some.
    """

    rule: str
    severity: Severity
    owner: str
    since: Position
    noticed: Position
    resolved: Position | None = None
    because_of: str | None = None
    evidence: tuple[Measured, ...] = ()
    why: str = ""
    advice: str = ""
    code: str = ""
    page: str = ""
    variant: str = ""

    _repr_pretty_ = show_text

    @property
    def headline(self) -> str:
        """What is wrong, where and since when, in one line."""
        where = f" in {printable(self.owner)}" if self.owner else ""
        rule = printable(self.rule)
        return f"{self.severity}: {rule}{where}, {_since(self)}."

    def to_json(self) -> dict[str, Any]:
        """The finding as a dict that JSON can hold; `from_json` reads it."""
        fields: dict[str, Any] = dataclasses.asdict(self)
        for name in ("since", "noticed", "resolved"):
            if fields[name] is not None:
                fields[name] = list(fields[name])
        fields["evidence"] = [
            # JSON has neither NaN nor infinity.
            {k: str(v) if _is_not_finite(v) else v for k, v in m.items()}
            for m in (measured._asdict() for measured in self.evidence)
        ]
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """The finding that `to_json` was called on."""
        given = dict(fields)
        for name in ("since", "noticed", "resolved"):
            if given.get(name) is not None:
                given[name] = tuple(given[name])
        given["evidence"] = tuple(
            Measured(**each) for each in given.get("evidence", ())
        )
        return cls(**given)

    def __str__(self) -> str:
        lines = [
            self.headline,
            f"  Measured: {'; '.join(map(str, self.evidence))}."
            if self.evidence
            else "",
            f"  {self.why}" if self.why else "",
            f"  Advice: {self.advice}" if self.advice else "",
        ]
        # Names may contain line breaks; only those of code are kept.
        lines += [f"    {line}" for line in self.code.split("\n") if line]
        return "\n".join(printable(line) for line in lines if line)


def _since(finding: Finding) -> str:
    epoch, step = finding.since
    text = "before training" if not step else f"since epoch {epoch + 1}"
    if finding.resolved is not None:
        text += f", no longer after epoch {finding.resolved[0] + 1}"
    return text


def _number(value: float) -> str:
    """Formats with three significant digits; thousands in full."""
    if 1e3 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not abs(value) < float("inf")
