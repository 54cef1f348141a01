"""The result of a preflight: findings, and what could not be checked."""

from collections.abc import Iterable, Sequence

from keras_concepts._shown_as_text import show_text
from keras_concepts.rules.finding import Finding


class PreflightReport(list[Finding]):
    """The findings of a preflight, causes first.

    A list of `Finding`, empty if nothing was found.

    Attributes:
        checked: Names of the rules that could be checked.
        unchecked: What could not be checked, and why.
        seconds: How long it took.
    """

    def __init__(
        self,
        findings: Iterable[Finding],
        checked: Sequence[str] = (),
        unchecked: Sequence[str] = (),
        seconds: float = 0.0,
    ) -> None:
        super().__init__(findings)
        self.checked = list(dict.fromkeys(checked))
        self.unchecked = list(dict.fromkeys(unchecked))
        self.seconds = seconds

    _repr_pretty_ = show_text

    def __str__(self) -> str:
        count = {0: "No finding", 1: "1 finding"}
        head = count.get(len(self), f"{len(self)} findings")
        lines = [f"{head} before training ({self.seconds:.1f} s)."]
        lines += [str(finding) for finding in self]
        if self.checked:
            lines.append(f"Checked: {', '.join(self.checked)}.")
        lines += [f"Not checked: {each}" for each in self.unchecked]
        return "\n".join(lines)
