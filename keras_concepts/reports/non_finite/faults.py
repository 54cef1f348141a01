"""The first NaN or infinity of each run."""

from typing import NamedTuple

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.names import printable
from keras_concepts.reports.selection import epoch_name

MONITOR = "NonFiniteGuard"
EMPTY = "No steps have been checked yet."
ALL_FINITE = "Loss, gradients and weights were finite at every step."
_WHERE = {
    q.NON_FINITE_INPUT: "in the input `{}`",
    q.NON_FINITE_ACTIVATION: "in the activation of `{}`",
    q.NON_FINITE_PENALTY: "in the penalty or added loss of `{}`",
    q.NON_FINITE_GRADIENT: "in the gradient of `{}`",
    q.NON_FINITE_WEIGHT: "in the weight `{}`",
}


class Fault(NamedTuple):
    """Where the first NaN or infinity of a run was.

    Attributes:
        run: Number of the run.
        step: Steps taken before it.
        epoch: Epoch, from 0.
        batch: Batch of the epoch, from 0; -1 if it was not recorded.
        where: Place, with the number of entries.
    """

    run: int
    step: int
    epoch: int
    batch: int
    where: str

    def __str__(self) -> str:
        batch = f", batch {self.batch + 1}" if self.batch >= 0 else ""
        return (
            f"First non-finite value at step {self.step} "
            f"(epoch {epoch_name(self.epoch)}{batch}): {self.where}."
        )


def faults(rows: Recording) -> list[Fault]:
    """The first NaN or infinity of each run that has one, in order.

    Args:
        rows: Rows of one monitor.
    """
    batches = {
        (series.run, int(step)): int(batch)
        for series in rows.select(quantity=q.NON_FINITE_BATCH)
        for step, batch in zip(series.steps, series.values, strict=True)
    }
    found = [
        Fault(
            series.run,
            int(step),
            series.epoch,
            batches.get((series.run, int(step)), -1),
            _where(series.quantity, series.owner, count),
        )
        for series in rows
        if series.quantity in (*_WHERE, q.NON_FINITE_LOSS)
        for step, count in zip(series.steps, series.values, strict=True)
    ]
    first: dict[int, Fault] = {}
    for fault in sorted(found):
        _ = first.setdefault(fault.run, fault)
    return list(first.values())


def _where(quantity: str, owner: str, count: float) -> str:
    if quantity == q.NON_FINITE_LOSS:
        return "the loss is NaN or infinite"
    entries = "1 NaN or infinite entry"
    if count != 1.0:
        entries = f"{count:.0f} NaN or infinite entries"
    return f"{entries} {_WHERE[q.described(quantity)].format(printable(owner))}"
