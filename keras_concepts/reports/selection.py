"""The rows of a recording that a report is about."""

from collections.abc import Sequence

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.recording import Recording


def rows_of(recording: Recording, monitor: str) -> Recording:
    """What a monitor recorded in all runs; the first of several of a kind.

    If no monitor of this kind recorded, its quantities are taken from a monitor
    of unknown kind, such as a subclass, or from rows without a monitor.

    Args:
        recording: With rows of any monitor.
        monitor: Class of the monitor.
    """
    wanted = q.concept_of(monitor)
    kinds = {name: q.concept_of(name) for name in recording.monitors}
    of_kind = [name for name, concept in kinds.items() if concept == wanted]
    if not of_kind and wanted is not None:
        of_kind = [
            series.monitor
            for series in recording
            if kinds.get(series.monitor) is None
            and series.quantity in wanted.quantities
        ]
    name = monitor if monitor in of_kind else next(iter(of_kind), "")
    return recording.select(monitor=name)


def last_epoch(rows: Recording, quantity: str) -> Recording:
    """The rows of the last epoch of the last run that has a quantity.

    Args:
        rows: Of one monitor.
        quantity: A quantity in every epoch that the monitor recorded.
    """
    measured = rows.select(quantity=quantity)
    if not len(measured):
        return measured
    run, epoch = max((series.run, series.epoch) for series in measured)
    return rows.select(run=run, epoch=epoch)


def over_steps(
    recording: Recording,
    quantity: str,
    owners: Sequence[str],
    runs: np.ndarray,
    steps: np.ndarray,
    absent: float = np.nan,
) -> np.ndarray:
    """One quantity as an array of shape `(owners, steps)`.

    Args:
        recording: Rows of one monitor.
        quantity: Name of a quantity without an index.
        owners: Owners of the rows.
        runs: Sorted, the run of each step.
        steps: Sorted in each run, each once; others are left out.
        absent: Value where nothing was recorded.
    """
    values = np.full((len(owners), len(steps)), absent)
    row = {owner: i for i, owner in enumerate(owners)}
    for series in recording.select(quantity=quantity):
        if series.owner in row:
            begin, end = np.searchsorted(runs, [series.run, series.run + 1])
            of_run = steps[begin:end]
            known = np.isin(series.steps, of_run)
            columns = begin + np.searchsorted(of_run, series.steps[known])
            values[row[series.owner], columns] = series.values[known]
    return values


def epochs_of(rows: Recording, quantity: str) -> list[tuple[int, int]]:
    """Run and epoch of each epoch that a quantity was recorded in, in order."""
    measured = rows.select(quantity=quantity)
    return sorted({(s.run, s.epoch) for s in measured if len(s.steps)})


def over_epochs(
    rows: Recording,
    quantity: str,
    owners: Sequence[str],
    epochs: Sequence[tuple[int, int]],
    absent: float = np.nan,
) -> np.ndarray:
    """One quantity as an array of shape `(owners, epochs)`.

    Args:
        rows: Of one monitor.
        quantity: Name of a quantity with one value per epoch.
        owners: Owners of the rows.
        epochs: Run and epoch of each column; others are left out.
        absent: Value where nothing was recorded.
    """
    values = np.full((len(owners), len(epochs)), absent)
    row = {owner: i for i, owner in enumerate(owners)}
    column = {epoch: i for i, epoch in enumerate(epochs)}
    for series in rows.select(quantity=quantity):
        epoch = series.run, series.epoch
        if series.owner in row and epoch in column and len(series.values):
            values[row[series.owner], column[epoch]] = series.values[-1]
    return values


def one_value(recording: Recording, owner: str, quantity: str) -> float:
    """The last value of one owner, NaN if there is none."""
    rows = [s for s in recording if (s.owner, s.quantity) == (owner, quantity)]
    values = [s.values[np.argmax(s.steps)] for s in rows if len(s.steps)]
    return float(values[-1]) if values else np.nan


def last_values(recording: Recording, quantity: str) -> dict[str, float]:
    """The last value of each owner, for a quantity without an index."""
    return {
        series.owner: float(series.values[np.argmax(series.steps)])
        for series in recording.select(quantity=quantity)
        if len(series.steps)
    }


def by_index(recording: Recording, owner: str, quantity: str) -> np.ndarray:
    """One owner's values of a quantity by unit, channel or lag.

    Args:
        recording: Rows of one measurement.
        owner: Owner of the values.
        quantity: Name of a quantity with an index.

    Returns:
        `(n,)`, with NaN where there is no row; empty if there is none at all.
    """
    rows = [s for s in recording if (s.owner, s.quantity) == (owner, quantity)]
    size = 1 + max((s.index.max(initial=-1) for s in rows), default=-1)
    values = np.full(size, np.nan)
    for series in rows:
        known = series.index >= 0
        values[series.index[known]] = series.values[known]
    return values


def epoch_name(epoch: int) -> str:
    """The epoch as Keras counts it, from 1; `start` for before training."""
    return str(epoch + 1) if epoch >= 0 else "start"
