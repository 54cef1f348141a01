"""The base of writers to other tools: what is new, and under which name."""

import dataclasses
import hashlib
import inspect
import re
import weakref
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from keras_concepts.recording import Recording, Series
from keras_concepts.reports.doctor.verdict import RANKS, verdict_of
from keras_concepts.rules import Finding, diagnose

PREFIX = "doctor/"
# Digits that distinguish names which become equal when cleaned.
_DIGITS = 6
# Maximum length of a prefix, so that a name still fits after it: W&B takes 128
# characters for the name of a table, including the run's name.
_LONGEST_PREFIX = 64


class Writer(Protocol):
    """Shows a recording elsewhere, while it grows."""

    def write(
        self, recording: Recording, findings: Sequence[Finding] = ()
    ) -> Any:
        """Writes what was added since the last call.

        Args:
            recording: The same recording throughout a run.
            findings: All findings so far, as in `TrainingDoctor.findings`.
        """
        ...


class MadeAnew:
    """Only the arguments are copied or pickled: a copy starts afresh.

    Connections and open files cannot be copied.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        names = inspect.signature(type(self)).parameters
        return _made, (
            type(self),
            {each: getattr(self, each) for each in names},
        )


def _made(cls: type, arguments: dict[str, Any]) -> Any:
    return cls(**arguments)


class NewRows:
    """The rows of a recording that were added since it was last read."""

    def __init__(self) -> None:
        self._seen: weakref.WeakKeyDictionary[Recording, int]
        self._seen = weakref.WeakKeyDictionary()

    def of(self, recording: Recording) -> list[Series]:
        """Those rows; all rows of a new recording."""
        rows = list(recording)
        # A long recording never drops its last rows.
        gone = sum(run.gone for run in recording.runs)
        new = rows[max(0, self._seen.get(recording, 0) - gone) :]
        self._seen[recording] = len(rows) + gone
        return new


class OneAfterTheOther:
    """What to add to the steps or epochs of each of several recordings.

    In a file they continue from `fit` to `fit`. A recording without a file
    starts at 0, where an earlier recording may already have been written.
    """

    def __init__(self) -> None:
        self._last = 0
        self._added: weakref.WeakKeyDictionary[Recording, int]
        self._added = weakref.WeakKeyDictionary()

    def added_to(self, recording: Recording, first: int, last: int) -> int:
        """The same offset for everything that is written of a recording.

        Args:
            recording: That grows.
            first: First step or epoch of its `fit`.
            last: Last step or epoch that is written now.
        """
        if recording not in self._added:
            is_file = recording.path is not None
            self._added[recording] = (
                0 if is_file else max(0, self._last - first)
            )
        added = self._added[recording]
        self._last = max(self._last, last + added)
        return added


class AllFindings:
    """Findings of all recordings that were written to one place."""

    def __init__(self) -> None:
        self._found: list[tuple[weakref.ref[Recording], list[Finding]]] = []

    def with_those_of(
        self, recording: Recording, findings: Iterable[Finding]
    ) -> list[Finding]:
        """The findings of all recordings, in the order they were added.

        Args:
            recording: May have been added already.
            findings: All findings of this recording so far.
        """
        for known, found in self._found:
            if known() is recording:
                found[:] = findings
                break
        else:
            self._found.append((weakref.ref(recording), list(findings)))
        return [finding for _, found in self._found for finding in found]


class NewFindings:
    """Findings that are new, were withdrawn, or hold again."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Finding] = {}

    def of(
        self, findings: Iterable[Finding], now: int = 0
    ) -> list[tuple[int, Finding]]:
        """Those findings, each with the step at which this was noticed.

        One that came and went since the last call is listed twice.

        Args:
            findings: All findings so far.
            now: Number of steps so far.
        """
        told: list[tuple[int, Finding]] = []
        seen: Counter[tuple[Any, ...]] = Counter()
        for finding in findings:
            # Owner and numbers follow the last measurement.
            name = (finding.rule, finding.severity, finding.variant)
            same = *name, finding.since, finding.noticed
            seen[same] += 1
            key = *same, seen[same]
            known = self._known.get(key)
            self._known[key] = finding
            if known is None:
                open_one = dataclasses.replace(finding, resolved=None)
                told.append((finding.noticed[1], open_one))
            elif known.resolved is not None and finding.resolved is None:
                told.append((now, finding))
            if finding.resolved is not None and (
                known is None or known.resolved is None
            ):
                told.append((finding.resolved[1], finding))
        return told


def findings_of(recording: Recording) -> list[Finding]:
    """What is wrong with each run of a recording, run by run."""
    numbers = sorted({series.run for series in recording})
    return [f for number in numbers for f in diagnose(recording, number)]


def headline(findings: Sequence[Finding]) -> str:
    """The number of problems, in one sentence."""
    return verdict_of(findings).headline


def worst(findings: Sequence[Finding]) -> str:
    """The worst severity of the current findings, or `"none"`."""
    held = [each.severity for each in findings if each.resolved is None]
    return min(held, key=RANKS.index, default="none")


def cleaned_prefix(prefix: str, forbidden: str) -> str:
    """A prefix that a tracker accepts and that stays inside its folder.

    Args:
        prefix: Prefix of the name of each number.
        forbidden: Pattern of the characters that become `_`.
    """
    *folders, start = re.sub(forbidden, "_", prefix).split("/")
    folders = [re.sub(r"^\.+$", _underscores, each) for each in folders]
    start = re.sub(r"^\.+", _underscores, start)
    return "/".join([*filter(None, folders), start])[:_LONGEST_PREFIX]


def _underscores(match: re.Match[str]) -> str:
    return "_" * len(match[0])


def cleaned(name: str, forbidden: str, most: int) -> str:
    """A name that a tracker accepts; different names stay different.

    Args:
        name: Name of a number, which may contain the paths of layers.
        forbidden: Pattern of the characters that become `_`.
        most: Maximum number of characters.
    """
    parts = re.sub(forbidden, "_", name).split("/")
    clean = "/".join(
        "_" * len(p) if p in (".", "..") else p for p in parts if p
    )
    clean = re.sub(r"^\.{2,}", _underscores, clean)  # no way out of a folder
    if clean == name and len(name) <= most:
        return name
    code = name.encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(code).hexdigest()[:_DIGITS]
    return f"{clean[: most - _DIGITS - 1]}_{digest}"
