"""The parts of a loss, epoch by epoch."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.names import short_names
from keras_concepts.reports.selection import epochs_of, rows_of

MONITOR = "PenaltyReporter"
EMPTY = "No parts of a loss have been recorded yet."
WHOLE = (q.DATA_LOSS, q.PENALTY, q.ADDED_LOSS, q.OTHER_LOSS)
PENALTIES = (q.L1, q.L2, q.GROUP_LASSO, q.OTHER_PENALTY, q.ACTIVITY_PENALTY)
# Parts that do not belong to variables are named after their owner and this.
_SUFFIXES: dict[str, str] = {
    q.ACTIVITY_PENALTY: f"/{q.ACTIVITY_PENALTY.label}",
    q.ADDED_LOSS: f"/{q.ADDED_LOSS.label}",
    q.DATA_LOSS: f"/{q.DATA_LOSS.label}",
}


class LossParts(NamedTuple):
    """The loss of `n` epochs, in parts.

    Attributes:
        epochs: Run and epoch, from 0, of each column.
        loss: The loss, `(n,)`.
        share: Share of the penalties in the loss, `(n,)`.
        whole: Data loss, penalties and so on by label, `(n,)` each; the sum is
            the loss.
        penalties: The part of each variable and each layer's activity, `(n,)`
            each, by short name; the sum is the penalties.
    """

    epochs: list[tuple[int, int]]
    loss: np.ndarray
    share: np.ndarray
    whole: dict[str, np.ndarray]
    penalties: dict[str, np.ndarray]


class Line(NamedTuple):
    """A part of the loss, or a pull on a weight.

    Attributes:
        name: Short name of the variable or layer.
        owner: Owner in the recording.
        quantities: Its recorded quantities.
    """

    name: str
    owner: str
    quantities: list[str]


def loss_parts(recording: Recording) -> LossParts:
    """Recording of a `PenaltyReporter`, all runs in order."""
    rows = rows_of(recording, MONITOR)
    epochs = epochs_of(rows, q.EPOCH_LOSS)

    place = {epoch: i for i, epoch in enumerate(epochs)}
    parts: dict[tuple[str, str], np.ndarray] = {}
    for s in rows:
        if len(s.values) and (s.run, s.epoch) in place:
            part = parts.setdefault((s.owner, s.quantity), np.zeros(len(place)))
            part[place[s.run, s.epoch]] = s.values[-1]

    def values(owner: str, quantity: str) -> np.ndarray:
        return parts.get((owner, quantity), np.zeros(len(place)))

    return LossParts(
        epochs,
        values("", q.EPOCH_LOSS),
        values("", q.PENALTY_SHARE),
        {
            quantity.label: part
            for quantity in WHOLE
            if (part := values("", quantity)).any() or quantity == q.DATA_LOSS
        },
        {
            line.name: np.sum(
                [values(line.owner, quantity) for quantity in line.quantities],
                axis=0,
            )
            for line in lines(rows, PENALTIES)
        },
    )


def lines(rows: Recording, quantities: Collection[str]) -> list[Line]:
    """Owners of these quantities, except the whole loss."""
    found: dict[tuple[str, str], list[str]] = {}
    for series in rows:
        if series.owner and series.quantity in quantities:
            key = series.owner, _SUFFIXES.get(series.quantity, "")
            recorded = found.setdefault(key, [])
            if series.quantity not in recorded:
                recorded.append(series.quantity)
    names = short_names([owner + suffix for owner, suffix in found])
    return [
        Line(name, owner, recorded)
        for name, ((owner, _), recorded) in zip(
            names, found.items(), strict=True
        )
    ]
