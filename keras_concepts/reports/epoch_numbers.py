"""The few numbers per epoch that experiment trackers get."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.recording import Recording, Series
from keras_concepts.reports.tracked import OneAfterTheOther

# Facts of the run rather than curves.
_NO_CURVES = (q.APPLIED, q.CHECKED, q.CHECKED_STEPS, q.UNITS)
# Too many, and meaningless on their own.
_SINGLE = ("unit", "channel", "lag")


class EpochNumbers(NamedTuple):
    """What a tracker gets for an epoch.

    Attributes:
        epoch: Number of epochs that have ended: 0 before training.
        step: Training steps until then.
        values: Numbers by name, without a prefix.
    """

    epoch: int
    step: int
    values: dict[str, float]


class EpochsOfFits:
    """Numbers the epochs of several recordings consecutively."""

    def __init__(self) -> None:
        self._order = OneAfterTheOther()

    def numbered(
        self, recording: Recording, numbers: Sequence[EpochNumbers]
    ) -> list[EpochNumbers]:
        """The same numbers, with epochs that continue from `fit` to `fit`.

        Args:
            recording: The recording that they come from.
            numbers: From `epoch_numbers`.
        """
        first = int(recording.facts.get("first_epoch") or 0)
        last = max((each.epoch for each in numbers), default=0)
        added = self._order.added_to(recording, first, last)
        return [each._replace(epoch=each.epoch + added) for each in numbers]


def epoch_numbers(
    recording: Recording, new: Sequence[Series], *, layers: bool = False
) -> list[EpochNumbers]:
    """What a tracker gets for new rows, epoch by epoch.

    Everything that was measured of the run (the mean over steps), what `fit`
    logs, and values of the worst layer: `error_attenuation`, the smallest error
    signal over that of the last layer; `dead_share`, `saturated_share` and
    `zero_gradient_share`, the largest shares of a layer's units; and
    `largest_update_ratio`, how far a kernel has moved since the last
    measurement, relative to its size.

    Args:
        recording: A growing recording.
        new: Some of its rows.
        layers: Whether to return `layers/<quantity>/<owner>` as well: every
            measurement of layers, variables, inputs, outputs and classes, but
            not of single units and channels.
    """
    runs = {run.number: run for run in recording.runs}
    epochs: dict[tuple[int, int], list[Series]] = defaultdict(list)
    for series in new:
        if len(series.steps):
            epochs[series.run, series.epoch].append(series)
    numbers = []
    for run, epoch in sorted(epochs):
        rows = epochs[run, epoch]
        facts = runs[run].facts if run in runs else {}
        ended = epoch + 1
        if epoch < 0:
            ended = int(facts.get("first_epoch") or 0)
        step = max(int(series.steps.max()) for series in rows)
        values = _of_run(rows) | _of_worst_layers(rows, facts)
        if layers:
            values |= _of_owners(rows)
        if values:
            numbers.append(EpochNumbers(ended, step, values))
    return numbers


def _of_run(rows: Sequence[Series]) -> dict[str, float]:
    found = {}
    for series in rows:
        if _is_of_run(series):
            name = series.owner if series.quantity == q.LOG else series.quantity
            _ = found.setdefault(name, []).append(series)
    return _means(found)


def _of_owners(rows: Sequence[Series]) -> dict[str, float]:
    found = {}
    for series in rows:
        is_single = q.described(series.quantity).indexed_by in _SINGLE
        if is_single or series.quantity in _NO_CURVES or _is_of_run(series):
            continue
        # Without "/" in the owner: a tracker may store names as folders, and
        # then no name can be the beginning of another.
        owner = series.owner.replace("/", ".")
        name = "/".join(filter(None, ["layers", series.quantity, owner]))
        _ = found.setdefault(name, []).append(series)
    return _means(found)


def _is_of_run(series: Series) -> bool:
    quantity = q.described(series.quantity)
    if quantity in _NO_CURVES or bool((series.index >= 0).any()):
        return False
    if quantity == q.LOG:
        return True
    return not series.owner and bool(quantity.owner == "run" or quantity.of_run)


def _means(found: dict[str, list[Series]]) -> dict[str, float]:
    """Means over the steps; the last value if measured between steps."""
    means = {}
    for name, rows in found.items():
        quantity = q.described(rows[0].quantity)
        if quantity.cadence == "once":
            continue
        # What two monitors both measured is taken once.
        rows = [each for each in rows if each.monitor == rows[0].monitor]
        values = np.concatenate([each.values for each in rows])
        index = np.concatenate([each.index for each in rows])
        for i in dict.fromkeys(index.tolist()):
            those = values[index == i]
            key = f"{name}/{i}" if i >= 0 else name
            with np.errstate(invalid="ignore", over="ignore"):
                mean = those.mean() if quantity.cadence == "step" else those[-1]
            means[key] = float(mean)
    return means


def _of_worst_layers(
    rows: Sequence[Series], facts: dict[str, Any]
) -> dict[str, float]:
    kernels = {
        each["path"]
        for each in facts.get("variables") or ()
        if each.get("role") == q.WEIGHT and each.get("trainable")
    }
    # Before training nothing has moved.
    updates = [x for x in rows if x.owner in kernels and x.epoch >= 0]
    found = (
        (
            str(q.ERROR_ATTENUATION),
            min,
            _ratios(rows, q.ERROR_ATTENUATION),
        ),
        ("dead_share", max, _ratios(rows, q.ZERO_ACTIVATION_UNITS, q.UNITS)),
        ("saturated_share", max, _ratios(rows, q.SATURATED_UNITS, q.UNITS)),
        (
            "zero_gradient_share",
            max,
            _ratios(rows, q.ZERO_GRADIENT_UNITS, q.UNITS),
        ),
        (
            "largest_update_ratio",
            max,
            _ratios(updates, q.EPOCH_UPDATE_RMS, q.EPOCH_WEIGHT_RMS),
        ),
    )
    return {name: reduce(ratios) for name, reduce, ratios in found if ratios}


def _ratios(
    rows: Sequence[Series], above: str, below: str | None = None
) -> list[float]:
    """Finite last values of each owner, or the ratios of two quantities."""
    last: dict[str, dict[tuple[str, str], float]] = {above: {}}
    for series in rows:
        if series.quantity in (above, below) and series.owner:
            values = last.setdefault(series.quantity, {})
            values[series.monitor, series.owner] = float(series.values[-1])
    if below is None:
        ratios = [*last[above].values()]
    else:
        divisors = last.get(below, {})
        ratios = [
            value / divisors[owner]
            for owner, value in last[above].items()
            if divisors.get(owner, 0.0) > 0.0
        ]
    return [ratio for ratio in ratios if np.isfinite(ratio)]
