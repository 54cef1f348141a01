"""Signals in a recording, measurement by measurement."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_concepts.recording import Recording, Series
from keras_concepts.reports.drawing.grid import Grid

# A GradientMonitor that writes to the same file has `units`, `dead_units` and
# `loss` as well, but none of these.
_OWN = {
    "activation_mean",
    "activation_std",
    "activation_rms",
    "zero_share",
    "error_rms",
    "error_attenuation",
    "saturated_units",
    "hidden_error_rms",
    "state_error_rms",
    "memory_horizon",
}


_NOTHING = np.zeros(0)


class Measurement(NamedTuple):
    """What one pass of a probe showed.

    Attributes:
        step: Steps taken before it.
        epoch: The one that had ended, or was to begin.
        loss: Of the probe; NaN if it has none.
        layers: Quantity to values, for each layer in the order of the calls.
    """

    step: int
    epoch: int
    loss: float
    layers: dict[str, dict[str, np.ndarray]]

    def value(self, layer: str, quantity: str) -> float:
        """One number, NaN where it was not recorded."""
        values = self.layers.get(layer, {}).get(quantity)
        return float(values[0]) if values is not None else np.nan


def measurements(recording: Recording) -> list[Measurement]:
    """All that a `SignalMonitor` recorded, in order.

    Rows of other monitors in the same file are left out.
    """
    found: list[Measurement] = []
    loss = np.nan
    # Each monitor writes the rows of a measurement in one go.
    rows = (series for series in recording if len(series.steps))
    for (step, epoch, layer), group in itertools.groupby(rows, _place):
        quantities = {series.quantity: series.values for series in group}
        if _OWN.isdisjoint(quantities):
            alone = layer == "" and set(quantities) == {"loss"}
            loss = quantities["loss"][0] if alone else np.nan
            continue
        last = found[-1] if found else None
        if last is None or last[:2] != (step, epoch) or layer in last.layers:
            last = Measurement(step, epoch, float(loss), {})
            found.append(last)
        last.layers[layer] = quantities
    return found


def layers_of(found: Sequence[Measurement], quantity: str) -> list[str]:
    """Paths of the layers that a quantity was ever recorded of, in order."""
    return list(
        dict.fromkeys(
            layer
            for measurement in found
            for layer, quantities in measurement.layers.items()
            if quantity in quantities
        )
    )


def over_epochs(
    found: Sequence[Measurement], layers: Sequence[str], quantity: str
) -> Grid:
    """One number of each layer, a column for each measurement."""
    rows = [
        [m.layers.get(layer, {}).get(quantity, _NOTHING)[:1] for m in found]
        for layer in layers
    ]
    return _cells(rows)


def over_lags(found: Sequence[Measurement], layer: str) -> Grid:
    """RMS gradient of the state: a row a lag, a column a measurement."""
    columns = [
        m.layers.get(layer, {}).get("state_error_rms", _NOTHING) for m in found
    ]
    lags = range(max(map(len, columns)))
    return _cells([[c[lag : lag + 1] for c in columns] for lag in lags])


def _cells(rows: Sequence[Sequence[np.ndarray]]) -> Grid:
    """Of arrays of one number, or of none where nothing was recorded."""
    missing = np.array([[not len(cell) for cell in row] for row in rows])
    values = np.full(missing.shape, np.nan)
    values[~missing] = [cell[0] for row in rows for cell in row if len(cell)]
    finite = np.isfinite(values)
    return Grid(
        edges=np.arange(missing.shape[1] + 1) - 0.5,
        values=np.where(finite, values, np.nan),
        nonfinite=~finite & ~missing,
    )


def epoch_labels(found: Sequence[Measurement]) -> list[str]:
    """`start` for a measurement before a training, else the epoch's number.

    Epochs begin anew where a file holds several trainings.
    """
    epochs = [measurement.epoch for measurement in found]
    before = [np.inf, *epochs[:-1]]
    after = [*epochs[1:], -1]
    return [
        "start" if epoch < last or epoch == following else str(epoch)
        for last, epoch, following in zip(before, epochs, after, strict=True)
    ]


def _place(series: Series) -> tuple[int, int, str]:
    return int(series.steps[0]), series.epoch, series.layer
