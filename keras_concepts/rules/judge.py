"""Turns what was measured into findings, while a run goes on or later."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.rules.causes import cause_of, node, reached
from keras_concepts.rules.finding import Evidence, Finding, Position
from keras_concepts.rules.rule import RULES, Rule
from keras_concepts.rules.training import Index, Training

_RANK = {"error": 0, "warning": 1, "info": 2}


class Judge:
    """Judges a recording repeatedly while it grows.

    Args:
        recording: Recording of a run.
        run: Number of the run; by default the recording's last.
        rules: Rules to judge by.

    Attributes:
        findings: All findings so far, including those that no longer hold.
            Causes come first, each followed by what it explains.
        unchecked: What the last check could not judge, in words.
    """

    def __init__(
        self,
        recording: Recording,
        run: int | None = None,
        rules: Sequence[Rule] | None = None,
    ) -> None:
        number = recording.run if run is None else run
        self._index = Index(recording, number)
        self._rules = RULES if rules is None else rules
        # By rule, variant and part; several rules may share a name.
        self._found: dict[tuple[Rule, str, str], Finding] = {}
        self.findings: list[Finding] = []
        self.unchecked: list[str] = []
        self.checked: list[str] = []

    def check(self, position: Position) -> list[Finding]:
        """Judges all that has been recorded so far.

        Args:
            position: The present moment, `(epoch, step)`.

        Returns:
            Findings that are new.
        """
        index = self._index.update()
        new = self._judge(Training(index, index.size, position))
        index.keep_verdict(self._verdict())
        return new

    def replay(self) -> None:
        """Judges at each moment at which a doctor judged.

        If the recording is not a doctor's, judges at the end of each epoch. If
        rows were left out of the recording, starts with the verdict before
        that.
        """
        index = self._index.update()
        verdict, place_then = index.last_verdict
        if verdict:
            self._go_on_from(verdict)
        checks = [
            (place + 1, at) for place, at in index.checks if place >= place_then
        ]
        if not index.checks:
            checks = _ends_of_epochs(index)
        for end, position in checks:
            _ = self._judge(Training(index, end, position))

    def _verdict(self) -> dict[str, Any]:
        """All that a later check depends on, as JSON."""
        found = [
            {"rule": rule.key, "part": part, "finding": finding.to_json()}
            for (rule, _, part), finding in self._found.items()
        ]
        return {
            "found": found,
            "checked": self.checked,
            "unchecked": self.unchecked,
        }

    def _go_on_from(self, verdict: dict[str, Any]) -> None:
        """Restores what `_verdict` returned, for the rules that are known."""
        rules = {rule.key: rule for rule in self._rules}
        for each in verdict["found"]:
            if each["rule"] in rules:
                finding = Finding.from_json(each["finding"])
                key = rules[each["rule"]], finding.variant, each["part"]
                self._found[key] = finding
        self.checked = verdict["checked"]
        self.unchecked = verdict["unchecked"]
        self._explain()

    @property
    def training(self) -> Training:
        """All that is known of the run, as of the last check."""
        return Training.whole(self._index)

    def _judge(self, t: Training) -> list[Finding]:
        new = []
        seen = set()
        self.checked, self.unchecked = [], []
        for rule in self._rules:
            try:
                if not rule.is_meant(t):
                    continue
                evidences = self._evidence(rule, t)
            except Exception as error:  # a rule must not silence the others
                self._failed(rule, error)
                evidences = None
            if evidences is None:  # unknown whether it is over
                seen |= {key for key in self._found if key[0] is rule}
                continue
            self.checked.append(rule.name)
            for evidence in evidences:
                key = rule, evidence.variant, evidence.part
                known = self._found.get(key)
                self._found[key] = _found(rule, evidence, t.position, known)
                seen.add(key)
                if known is None:
                    new.append(key)
        self._resolve(seen, t.position)
        self._explain()
        return [self._found[key] for key in new]

    def _evidence(self, rule: Rule, t: Training) -> list[Evidence] | None:
        """What a rule finds; `None` if the facts it needs are not known."""
        if rule.is_known(t):
            return list(rule.function(t))
        self.unchecked.append(f"{rule.name}: {rule.needs}")
        return None

    def _failed(self, rule: Rule, error: Exception) -> None:
        text = f"{rule.name} failed ({type(error).__name__}: {error})"
        self.unchecked.append(text)
        warnings.warn(f"The rule {text}.", UserWarning, stacklevel=2)

    def _resolve(self, seen: set[tuple[Rule, str, str]], at: Position) -> None:
        for key, finding in self._found.items():
            if key not in seen and finding.resolved is None:
                self._found[key] = dataclasses.replace(finding, resolved=at)

    def _explain(self) -> None:
        for key, finding in self._found.items():
            cause = cause_of(finding, [*self._found.values()])
            name = None if cause is None else cause.rule
            self._found[key] = dataclasses.replace(finding, because_of=name)
        self.findings = in_order([*self._found.values()])


def diagnose(recording: Recording, run: int | None = None) -> list[Finding]:
    """What is wrong with a recorded training run, causes first.

    Does not need Keras: a recording can be judged later, and elsewhere. For a
    recording that a `TrainingDoctor` made, the findings are those of the
    doctor; one made by other monitors is judged by what they measured.

    Args:
        recording: Recording of a run; see `Recording.load`.
        run: Number of the run, by default the recording's last.

    Returns:
        A `Finding` for each thing that is wrong, or that was wrong and no
        longer is (`resolved`). Empty if nothing was found.
    """
    judge = Judge(recording, run)
    judge.replay()
    return judge.findings


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Causes first, worst first, each followed by what it explains."""
    ordered: list[Finding] = []

    def add(finding: Finding) -> None:
        if finding in ordered:
            return
        ordered.append(finding)
        for other in sorted(findings, key=_urgency):
            if cause_of(other, findings) == finding:
                add(other)

    for finding in sorted(findings, key=_urgency):
        if finding.because_of is None:
            add(finding)
    return ordered


def _urgency(finding: Finding) -> tuple[object, ...]:
    return (
        finding.resolved is not None,
        _RANK[finding.severity],
        -len(reached(node(finding))),
        finding.since[1],
        finding.rule,
    )


def _found(
    rule: Rule, evidence: Evidence, at: Position, known: Finding | None
) -> Finding:
    return Finding(
        rule=rule.name,
        severity=rule.severity,
        owner=evidence.owner,
        since=evidence.since if known is None else known.since,
        noticed=at if known is None else known.noticed,
        evidence=evidence.measured,
        why=evidence.why or rule.why,
        advice=evidence.advice,
        code=evidence.code,
        page=rule.page,
        variant=evidence.variant,
    )


def _ends_of_epochs(index: Index) -> list[tuple[int, Position]]:
    """Number of series known at the end of each epoch, and its position."""
    ends: dict[int, tuple[int, int]] = {}
    for owners in index.rows.values():
        for places, series in owners.values():
            for place, each in zip(places, series, strict=True):
                if each.quantity == q.CHECKED:
                    continue
                end, step = ends.get(each.epoch, (0, 0))
                ends[each.epoch] = (
                    max(end, place + 1),
                    max(step, int(each.steps.max(initial=0))),
                )
    return [(end, (max(e, 0), step)) for e, (end, step) in sorted(ends.items())]
