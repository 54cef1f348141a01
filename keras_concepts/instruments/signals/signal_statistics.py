"""The results of a forward probe, reduced to a few numbers per layer."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_concepts import quantities as q
from keras_concepts._numerics.saturation import FLAT, MOSTLY
from keras_concepts._types import Tensor
from keras_concepts.instruments.signals.forward_probe import LayerSignal
from keras_concepts.instruments.signals.recurrent_pass import RecurrentSteps

# A gradient reaches back to where it is this share of its largest value.
FADED = 0.01
# The gate that keeps the state, for each kind of cell that has one.
_HOLDING_GATES = {"forget": q.FORGET_GATE_MEAN, "update": q.UPDATE_GATE_MEAN}


def layer_statistics(calls: Sequence[LayerSignal]) -> dict[str, Tensor]:
    """Statistics of a layer over all samples, positions and calls.

    Padding is left out. A unit is an entry of the unit axis; all other axes are
    samples.

    Args:
        calls: The calls of one layer.

    Returns:
        `activation_mean`, `activation_std`, `activation_rms`, `zero_share`
        (entries that are exactly 0) and, where there is a loss, `error_rms` of
        all outputs that the loss depends on: scalars. `dead`: units that were 0
        in every sample, `(units,)`. And `saturated`, `(units,)`: units whose
        activation function was nearly flat in most samples, where there is such
        a function.
    """
    sizes = [math.prod(_sample_shape(call)) for call in calls]
    is_padded = any(call.mask is not None for call in calls)
    masks = [_kept(call) for call in calls] if is_padded else None
    samples = _Samples(sum(sizes), masks)

    def rows(quantity: str) -> Tensor:
        return samples.rows([_rows(x, getattr(x, quantity)) for x in calls])

    values = rows("activation")
    entries = samples.count * values.shape[-1]
    mean = ops.sum(values) / entries
    # About the mean, and not as a difference of squares: no cancellation.
    distances = samples.without_padding(values - mean)
    variance = ops.sum(ops.square(distances)) / entries
    zeros = samples.count_true(ops.equal(values, 0.0))
    statistics = {
        q.ACTIVATION_MEAN: mean,
        q.ACTIVATION_STD: ops.sqrt(variance),
        q.ACTIVATION_RMS: ops.sqrt(variance + ops.square(mean)),
        q.ZERO_SHARE: ops.sum(zeros) / entries,
        "dead": ops.equal(zeros, samples.count),
    }
    if calls[0].error is not None:
        statistics[q.ERROR_RMS] = _rms_of_read(
            [(rows("error"), entries), *_other_errors(calls)]
        )
    if calls[0].slope is not None:
        statistics["saturated"] = samples.mostly_flat(rows("slope"))
    return statistics


def step_statistics(calls: Sequence[RecurrentSteps]) -> dict[str, Tensor]:
    """Statistics of what a recurrent layer did at each step.

    Args:
        calls: The calls of one layer, on sequences of one length.

    Returns:
        `saturated`, `(units,)`, as in `layer_statistics`; for the gate that
        keeps the state, `forget_gate_mean` or `update_gate_mean`, a scalar, and
        `saturated_gate`, `(units,)`. With a loss, `state_error`, the mean
        square over the units of the error of the memory state, dL/dh_t or in an
        LSTM dL/dc_t, of shape `(batch, time)`; in an LSTM `hidden_error`, the
        same for dL/dh_t; and `kept`, of the same shape and false for padding.
    """
    kept = _joined([_kept_steps(steps) for steps in calls])
    samples = _Samples(math.prod(kept.shape), [ops.reshape(kept, (-1, 1))])

    def rows(tensors: list[Tensor]) -> Tensor:
        return samples.rows([_flat(tensor) for tensor in tensors])

    statistics: dict[str, Tensor] = {}
    if calls[0].slope is not None:
        slopes = rows([steps.slope for steps in calls])
        statistics["saturated"] = samples.mostly_flat(slopes)
    for name, mean_of_gate in _HOLDING_GATES.items():
        if name in calls[0].gates:
            gate = rows([steps.gates[name] for steps in calls])
            mean = ops.sum(gate) / (samples.count * gate.shape[-1])
            statistics[mean_of_gate] = mean
        if name in calls[0].gate_slopes:
            slopes = rows([steps.gate_slopes[name] for steps in calls])
            statistics["saturated_gate"] = samples.mostly_flat(slopes)
    if calls[0].error is not None:
        statistics["kept"] = kept
        hidden = _mean_squares([steps.error for steps in calls])
        if calls[0].carry_error is None:
            return statistics | {"state_error": hidden}
        statistics["hidden_error"] = hidden
        carries = [steps.carry_error for steps in calls]
        statistics["state_error"] = _mean_squares(carries)
    return statistics


def error_by_lag(state_error: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """RMS of an error by distance from the last step that was read.

    Args:
        state_error: Mean square of each sample and step, `(batch, time)`.
        kept: False for padding, `(batch, time)`.

    Returns:
        `(steps,)`: first the last step of each sequence, then the one before
        it, and so on, each over the sequences that are long enough.
    """
    lags = np.cumsum(kept[:, ::-1], axis=1)[:, ::-1] - 1
    squares = np.asarray(state_error, np.float64)[kept]
    counts = np.bincount(lags[kept])
    sums = np.bincount(lags[kept], weights=squares)
    return np.sqrt(sums / np.maximum(counts, 1))


def memory_horizon(by_lag: np.ndarray) -> int:
    """How many steps back more than 1 % of the largest gradient reaches.

    Counted to the last such step: steps in between may be weaker, as when
    training strengthens the influence of the first steps.

    Args:
        by_lag: The result of `error_by_lag`.
    """
    largest = by_lag.max(initial=0.0)
    reached = np.flatnonzero(by_lag > FADED * largest)
    return int(reached[-1]) + 1 if len(reached) else 0


def _rms_of_read(parts: list[tuple[Tensor, Any]]) -> Tensor:
    """RMS of errors and their numbers of entries, without all-zero ones.

    Unused outputs, such as that of an encoder read by its states, are not part
    of the mean.
    """
    peaks = [ops.max(ops.abs(error)) for error, _ in parts]
    largest = functools.reduce(ops.maximum, peaks)
    usable = ops.logical_and(ops.isfinite(largest), largest > 0.0)
    # As shares of the largest, since squares of 1e-25 would be 0.
    unit = ops.where(usable, largest, ops.ones_like(largest))
    squares = sum(ops.sum(ops.square(error / unit)) for error, _ in parts)
    counts = [
        ops.where(peak == 0.0, ops.zeros_like(peak), _float32(count))
        for peak, (_, count) in zip(peaks, parts, strict=True)
    ]
    return unit * ops.sqrt(squares / ops.maximum(sum(counts), 1.0))


def _other_errors(calls: Sequence[LayerSignal]) -> list[tuple[Tensor, Any]]:
    """Errors of all outputs but the first, 0 for padding, and their entries."""
    found = []
    for call in calls:
        masks = call.other_masks or [None] * len(call.other_errors)
        for error, mask in zip(call.other_errors, masks, strict=True):
            shape = error.shape
            kept = _kept_rows(mask, list(shape[:-1]))
            samples = _Samples(math.prod(shape[:-1]), [kept])
            found.append(
                (samples.rows([_flat(error)]), samples.count * shape[-1])
            )
    return found


def _mean_squares(errors: list[Tensor | None]) -> Tensor:
    return ops.mean(ops.square(_joined(errors)), axis=-1)


class _Samples:
    """The samples of some calls, some of which may be padding.

    Args:
        size: Number of samples.
        masks: For each call, true for samples that are not padding,
            `(samples, 1)`; or `None` if none is padding.

    Attributes:
        count: Number of samples that are not padding.
    """

    def __init__(self, size: int, masks: list[Tensor] | None) -> None:
        self._kept = None if masks is None else _joined(masks)
        self.count: Any = float(size)
        if masks is not None:
            self.count = ops.sum(_float32(self._kept))

    def rows(self, calls: list[Tensor]) -> Tensor:
        """The samples of all calls, `(samples, units)`, with 0 for padding."""
        return self.without_padding(_joined(calls))

    def without_padding(self, rows: Tensor) -> Tensor:
        """The rows with 0 for padding."""
        if self._kept is None:
            return rows
        return ops.where(self._kept, rows, 0.0)

    def count_true(self, rows: Tensor) -> Tensor:
        """Number of samples that are true, `(units,)`."""
        return ops.sum(self.without_padding(_float32(rows)), axis=0)

    def mostly_flat(self, slopes: Tensor) -> Tensor:
        """Which units are flat in most samples, `(units,)`."""
        return self.count_true(slopes < FLAT) > MOSTLY * self.count


def _joined(tensors: list[Any]) -> Tensor:
    if len(tensors) == 1:  # saves a copy
        return tensors[0]
    return ops.concatenate(tensors)


def _unit_axes(call: LayerSignal) -> list[int]:
    """Unit axes, from 0 and in order."""
    rank = len(call.activation.shape)
    return sorted(x % rank for x in call.unit_axes or (call.unit_axis,))


def _sample_shape(call: LayerSignal) -> list[int]:
    axes = _unit_axes(call)
    return [n for i, n in enumerate(call.activation.shape) if i not in axes]


def _kept(call: LayerSignal) -> Tensor:
    """Whether each row of `_rows` is not padding, `(samples, 1)`."""
    return _kept_rows(call.mask, _sample_shape(call))


def _kept_rows(mask: Tensor | None, shape: list[int]) -> Tensor:
    if mask is None:
        return ops.ones((math.prod(shape), 1), "bool")
    missing = len(shape) - len(mask.shape)
    mask = ops.reshape(mask, (*mask.shape, *[1] * missing))
    mask = ops.broadcast_to(ops.cast(mask, "bool"), shape)
    return ops.reshape(mask, (-1, 1))


def _kept_steps(steps: RecurrentSteps) -> Tensor:
    if steps.mask is None:
        return ops.ones(steps.states.shape[:2], "bool")
    return ops.cast(steps.mask, "bool")


def _rows(call: LayerSignal, tensor: Tensor) -> Tensor:
    """`(samples, units)` in float32."""
    axes = _unit_axes(call)
    units = math.prod(tensor.shape[i] for i in axes)
    last = list(range(-len(axes), 0))
    return ops.reshape(_float32(ops.moveaxis(tensor, axes, last)), (-1, units))


def _flat(tensor: Tensor) -> Tensor:
    return ops.reshape(_float32(tensor), (-1, tensor.shape[-1]))


def _float32(tensor: Any) -> Tensor:
    return ops.cast(tensor, "float32")
