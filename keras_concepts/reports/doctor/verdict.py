"""The findings of a run as problems: causes with their consequences."""

from collections.abc import Sequence
from typing import NamedTuple

from keras_concepts.quantities import concept_of
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.names import printable
from keras_concepts.rules import Finding, Judge, Training

MONITOR = "TrainingDoctor"
EMPTY = "No training run has been checked yet."
RANKS = ("error", "warning", "info")


class Problem(NamedTuple):
    """Findings that share a cause.

    Attributes:
        cause: The finding that explains the others.
        effects: Findings that it explains, directly or not.
    """

    cause: Finding
    effects: list[Finding]

    @property
    def findings(self) -> list[Finding]:
        """All of them, the cause first."""
        return [self.cause, *self.effects]

    @property
    def is_open(self) -> bool:
        """Whether one of the findings still holds."""
        return any(each.resolved is None for each in self.findings)

    @property
    def severity(self) -> str:
        """The worst severity of the current findings."""
        held = [x.severity for x in self.findings if x.resolved is None]
        return min(held or [self.cause.severity], key=RANKS.index)


class Verdict(NamedTuple):
    """What was found in a run, and what was checked.

    Attributes:
        problems: Current problems, the worst first.
        withdrawn: Findings of problems that no longer hold.
        checked: Names of the rules that could be checked.
        unchecked: Other rules, and what they would need.
        unknown: What could not be examined, and why.
        when: The part of the run that was judged, such as `"in 12 epochs"`.
    """

    problems: list[Problem]
    withdrawn: list[Finding]
    checked: list[str]
    unchecked: list[str]
    unknown: list[str]
    when: str

    @property
    def headline(self) -> str:
        """The number of problems, in one sentence."""
        notes = sum(each.severity == "info" for each in self.problems)
        count = len(self.problems) - notes
        parts = [_count(count, "problem") if count or not notes else ""]
        parts += [_count(notes, "note")] if notes else []
        found = " and ".join(filter(None, parts))
        when = f" {self.when}" if self.when else ""
        return f"{found[0].upper()}{found[1:]} found{when}."

    @property
    def notes(self) -> list[str]:
        """What no longer holds, what was checked, and what was not.

        What was checked is only listed if nothing was found.
        """
        checked = [] if self.problems else self.checked
        lists = (
            ("No longer", map(withdrawn, self.withdrawn), ", "),
            ("Checked", dict.fromkeys(checked), ", "),
            ("Not checked", self.unchecked, "; "),
            ("Not known", self.unknown, "; "),
        )
        texts = (
            (title, between.join(items)) for title, items, between in lists
        )
        return [f"{title}: {printable(text)}." for title, text in texts if text]


def verdict_on(
    recording: Recording, judge: Judge | None = None
) -> tuple[Verdict, Training] | None:
    """The verdict on the last run of a recording; `None` without any rows.

    Args:
        recording: Recording of a `TrainingDoctor` or any other monitor.
        judge: Judge of the last run; by default it is judged again.
    """
    if not len(recording):
        return None
    if judge is None:
        judge = Judge(recording, judged_run(recording))
        judge.replay()
    training = judge.training
    missing = [
        *(training.data.get("missing") or []),
        *(training.facts.get("missing") or []),
    ]
    verdict = verdict_of(
        judge.findings,
        judge.checked,
        _by_need(judge.unchecked),
        [each.rstrip(".") for each in missing],
        _when(training),
    )
    return verdict, training


def judged_run(recording: Recording) -> int:
    """Number of the last run that a doctor has seen, else of the last run."""
    last: dict[str, int] = {}
    for each in recording:
        last[each.monitor] = max(each.run, last.get(each.monitor, each.run))
    doctors = [run for name, run in last.items() if _is_doctor(name)]
    return max(doctors or last.values())


def _is_doctor(monitor: str) -> bool:
    concept = concept_of(monitor)
    return concept is not None and concept.monitor == MONITOR


def verdict_of(
    findings: Sequence[Finding],
    checked: Sequence[str] = (),
    unchecked: Sequence[str] = (),
    unknown: Sequence[str] = (),
    when: str = "",
) -> Verdict:
    """A verdict that consists of these findings.

    Args:
        findings: Causes first, each followed by what it explains.
        checked: See `Verdict`.
        unchecked: See `Verdict`.
        unknown: See `Verdict`.
        when: See `Verdict`.
    """
    problems: list[Problem] = []
    for finding in findings:
        if finding.because_of is None or not problems:
            problems.append(Problem(finding, []))
        else:
            problems[-1].effects.append(finding)
    held = [problem for problem in problems if problem.is_open]
    held.sort(key=lambda problem: RANKS.index(problem.severity))
    withdrawn = [f for p in problems if not p.is_open for f in p.findings]
    return Verdict(held, withdrawn, [*checked], [*unchecked], [*unknown], when)


def place(finding: Finding) -> str:
    """Rule and owner: `dead_units in dense_3`."""
    name = finding.rule
    if finding.variant:
        name += f" ({finding.variant})"
    return f"{name} in {printable(finding.owner)}" if finding.owner else name


def began(finding: Finding) -> str:
    """Since when, with epochs as Keras prints them."""
    epoch, step = finding.since
    if not step:
        return "before training"
    if finding.resolved is not None:
        return f"from epoch {epoch + 1} to {finding.resolved[0] + 1}"
    return f"since epoch {epoch + 1}"


def noticed(finding: Finding) -> str:
    """When it was noticed, if that was in a later epoch."""
    if finding.noticed[0] <= finding.since[0]:
        return ""
    return f" (noticed in epoch {finding.noticed[0] + 1})"


def measured(finding: Finding, most: int | None = None) -> str:
    """The numbers, each with the threshold where the finding begins.

    Args:
        finding: A finding with its evidence.
        most: Maximum of numbers, those with a threshold first; `None` for all.
    """
    numbers = finding.evidence
    if most is not None:
        numbers = sorted(numbers, key=lambda each: each.threshold is None)
    return printable("; ".join(map(str, numbers[:most])))


def withdrawn(finding: Finding) -> str:
    """A finding that held for a time, and when."""
    first, last = finding.since[0] + 1, (finding.resolved or (0, 0))[0] + 1
    if first >= last:
        return f"{place(finding)} in epoch {last}"
    return f"{place(finding)} from epoch {first} to {last}"


def _count(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count or 'no'} {noun}{'s' if count else ''}"


def _by_need(unchecked: Sequence[str]) -> list[str]:
    """Rules with the same need, together: `a, b (needs validation data)`."""
    rules: dict[str, dict[str, None]] = {}
    for each in unchecked:
        name, _, need = each.partition(": ")
        rules.setdefault(need, {})[name] = None
    return [
        ", ".join(names) + (f" (needs {need})" if need else "")
        for need, names in rules.items()
    ]


def _when(t: Training) -> str:
    if t.is_preflight:
        return "before training"
    ended, planned = t.ended_epochs, t.planned_epochs
    if not ended and t.position[0]:  # the logs of `fit` were not recorded
        ended = planned = t.position[0] + 1
    if not ended:
        return "before the first epoch ended"
    of = f" of {planned}" if planned > ended else ""
    return f"in {ended}{of} epoch{'' if ended == 1 and not of else 's'}"
