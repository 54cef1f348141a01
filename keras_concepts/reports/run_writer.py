"""The base of the writers to experiment trackers."""

from collections.abc import Sequence
from typing import Any

from keras_concepts.recording import Recording
from keras_concepts.reports.epoch_numbers import (
    EpochNumbers,
    EpochsOfFits,
    epoch_numbers,
)
from keras_concepts.reports.tracked import AllFindings, MadeAnew, NewRows
from keras_concepts.rules import Finding


class RunWriter(MadeAnew):
    """Writes growing recordings to a tracker's run, without repetition.

    A subclass defines `write`, and calls `_begin` when it writes to a run that
    is not `_begun`.

    Args:
        prefix: Prefix of each name.
        layers: Whether to write measurements of layers, too.
    """

    def __init__(self, prefix: str, layers: bool) -> None:
        self.prefix = prefix
        self.layers = layers
        self._rows = NewRows()
        self._begin(None)

    def _begin(self, run: Any) -> None:
        """Begins a run to which nothing has been written."""
        self._begun = run
        self._told: list[Finding] | None = None  # findings the run has
        self._epochs = EpochsOfFits()
        self._findings = AllFindings()

    def _new_numbers(self, recording: Recording) -> list[EpochNumbers]:
        new = self._rows.of(recording)
        found = epoch_numbers(recording, new, layers=self.layers)
        return self._epochs.numbered(recording, found)

    def _all_findings(
        self, recording: Recording, findings: Sequence[Finding]
    ) -> list[Finding]:
        """Findings of all recordings that were written to the run."""
        return self._findings.with_those_of(recording, findings)
