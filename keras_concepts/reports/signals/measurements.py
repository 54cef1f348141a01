"""Signals in a recording, measurement by measurement."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.recording import Recording, Series
from keras_concepts.reports.drawing.grid import Grid
from keras_concepts.reports.selection import epoch_name, rows_of

MONITOR = "SignalMonitor"
_NOTHING = np.zeros(0)


class Measurement(NamedTuple):
    """The results of one pass of a probe.

    Attributes:
        run: Number of the run.
        epoch: The epoch that had ended, from 0; -1 before the first of the run.
        step: Steps taken before it.
        loss: Loss of the probe; NaN if it has none.
        layers: From quantity to values, for each layer in the order of the
            calls; values with an index are at its position.
    """

    run: int
    epoch: int
    step: int
    loss: float
    layers: dict[str, dict[str, np.ndarray]]

    @property
    def when(self) -> str:
        """The epoch counted from 1, or `start`."""
        return epoch_name(self.epoch)

    def value(self, layer: str, quantity: str) -> float:
        """One number, NaN where it was not recorded."""
        values = self.layers.get(layer, {}).get(quantity)
        return float(values[0]) if values is not None else np.nan

    def all_values(self, quantity: str) -> np.ndarray:
        """The values of all layers that have it."""
        values = [self.value(x, quantity) for x in self.layers]
        return np.array(values)[[quantity in x for x in self.layers.values()]]


def measurements(recording: Recording) -> list[Measurement]:
    """All measurements of a `SignalMonitor`, in order of runs and steps."""
    passes: dict[tuple[int, int], list[Series]] = defaultdict(list)
    for series in rows_of(recording, MONITOR):
        quantity = q.described(series.quantity)
        probed = quantity.cadence == "probe" or quantity == q.UNITS
        # A series without rows means that no unit is of that kind.
        if probed and len(series.steps):
            passes[series.run, series.epoch].append(series)
    found = (_measurement(*at, rows) for at, rows in passes.items())
    return sorted(found, key=lambda m: (m.run, m.step, m.epoch))


def _measurement(run: int, epoch: int, rows: Sequence[Series]) -> Measurement:
    loss, layers = np.nan, {}
    for series in rows:
        values = series.values
        if (series.index >= 0).all():
            values = np.full(series.index.max() + 1, np.nan)
            values[series.index] = series.values
        if series.owner:
            layers.setdefault(series.owner, {})[series.quantity] = values
        elif series.quantity == q.PROBE_LOSS:
            loss = float(values[0])
    step = max(int(series.steps.max()) for series in rows)
    return Measurement(run, epoch, step, loss, layers)


def layers_of(found: Sequence[Measurement], quantity: str) -> list[str]:
    """Paths of the layers for which a quantity was ever recorded, in order."""
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
    """One number per layer, with one column per measurement."""
    return _cells(
        [
            [m.layers.get(layer, {}).get(quantity, _NOTHING)[:1] for m in found]
            for layer in layers
        ]
    )


def over_lags(found: Sequence[Measurement], layer: str) -> Grid:
    """RMS gradient of the state, with lags as rows, measurements as columns."""
    columns = [
        m.layers.get(layer, {}).get(q.STATE_ERROR_RMS, _NOTHING) for m in found
    ]
    lags = range(max(map(len, columns)))
    return _cells([[c[lag : lag + 1] for c in columns] for lag in lags])


def _cells(rows: Sequence[Sequence[np.ndarray]]) -> Grid:
    """From arrays of one number, or of none if nothing was recorded."""
    missing = np.array([[not len(cell) for cell in row] for row in rows])
    values = np.full(missing.shape, np.nan)
    values[~missing] = [cell[0] for row in rows for cell in row if len(cell)]
    return Grid.of_columns(values, missing)
