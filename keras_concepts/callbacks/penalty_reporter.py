"""The parts of the objective of a training run."""

import os
from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.callbacks._monitor import SampledMonitor
from keras_concepts.instruments.penalties.loss_parts import (
    ADDED_LOSS,
    DATA_LOSS,
)
from keras_concepts.instruments.penalties.penalty_tap import (
    APPLIED,
    BATCH_SIZE,
    DATA_GRADIENT,
    DECAY_PULL,
    LOSS,
    PENALTY_GRADIENT,
    PenaltySamples,
    PenaltyTap,
)
from keras_concepts.recording import Recording

_PULLS = (PENALTY_GRADIENT, DATA_GRADIENT, DECAY_PULL)
# If the parts miss the loss by more than rounding, other code adds to it.
_ROUNDING = 1e-4


class PenaltyReporter(SampledMonitor):
    """Splits the loss of each epoch into data loss and penalties.

    The loss of every batch is split inside the training step, with the weights
    that it was computed with. Like the `loss` that Keras reports, each number
    is the mean over the measured steps, weighted by their batch sizes, and the
    parts add up to it. Weights, optimizer and saved files are the same, to the
    last bit, as without the reporter.

    Recorded once per epoch, at its last measured step, for the run (the owner
    of a row is `""`):

    | quantity | meaning |
    |---|---|
    | `epoch_loss` | the sum of the next four |
    | `data_loss` | the losses passed to `compile`, weighted |
    | `penalty` | regularizers of weights and activities |
    | `added_loss` | losses that layers add with `add_loss` |
    | `other_loss` | the rest; recorded only if more than rounding |
    | `penalty_share` | size of `penalty` over those of the four, 0 to 1 |

    There is a rest if the model has its own `compute_loss`. If several outputs
    have a loss, each has its weighted `data_loss` (the owner is its name); each
    layer (the owner is its path) has its `activity_penalty` and `added_loss`,
    if any; and each trainable variable (the owner is its path)

    | quantity | meaning |
    |---|---|
    | `l1`, `l2`, `group_lasso` | term of a known regularizer |
    | `other_penalty` | penalty of any other regularizer |
    | `penalty_gradient_norm` | L2 norm of the regularizer's gradient |
    | `data_gradient_norm` | L2 norm of the rest of the gradient |
    | `decay_pull` | L2 norm of the change by weight decay in one update |

    Known regularizers are those of this package and `keras.regularizers.L1`,
    `L2` and `L1L2`. The rest of the gradient is what the optimizer received,
    before clipping and with loss scaling divided out, minus the gradient of the
    variable's own regularizer: it contains all other parts of the loss. Weight
    decay is that of AdamW and of any optimizer's `weight_decay`: learning rate
    × decay × norm of the variable. It is not part of the loss or of any sum.

    The norms are means over the steps in which they are finite, the pull is a
    mean over the updates. Frozen variables have no penalty: Keras leaves it
    out. The loss is NaN if a model's own `train_step` does not pass it to a
    metric named `"loss"`.

    Under `tf.distribute` parts and loss are those of the whole batch: means
    over the replicas, weighted by their samples, as Keras logs the loss. For a
    `MultiOptimizer` no `decay_pull` is recorded.

    Added to the logs of each epoch, for `History` and for callbacks that come
    *after* the reporter in the list: `penalty` and `penalty_share`.

    `summary()` prints the parts of the last epoch's loss as a table. `plot()`
    draws them over the epochs, stacked.

    Args:
        every: Measure every n-th step of an epoch, at least 1.
        max_samples: Measure at most this many steps of the first epoch, and
            then at most a sixteenth of an epoch (at least 4 steps), spread
            evenly; the others run at full speed. With the default `None` every
            step is measured, and the parts add up to the `loss` in the logs;
            with fewer they add up to the mean loss of those steps, which is
            recorded.
        record_to: File for the recording, appended to after each epoch;
            missing folders are made. See `Recording`.

    Raises:
        TypeError: `every` or `max_samples` is not an integer.
        ValueError: `every` or `max_samples` is below 1; or, when `fit` begins,
            the model has no optimizer or no trainable variable.
        OSError: `record_to` cannot be opened, when `fit` begins. (If it cannot
            be written later, training goes on with a warning.)

    Example:

    >>> import keras, numpy as np
    >>> import keras_concepts as kc
    >>> layer = keras.layers.Dense(
    ...     1, kernel_regularizer=kc.regularizers.L1(0.1)
    ... )
    >>> model = keras.Sequential([layer])
    >>> model.compile("sgd", "mse")
    >>> reporter = kc.callbacks.PenaltyReporter()
    >>> x, y = np.ones((64, 4)), np.ones((64, 1))
    >>> history = model.fit(x, y, verbose=0, callbacks=[reporter])
    >>> sorted(history.history)
    ['loss', 'penalty', 'penalty_share']
    >>> rows = reporter.recording.select(monitor="PenaltyReporter")
    >>> rows.select(owner="").quantities
    ['epoch_loss', 'data_loss', 'penalty', 'added_loss', 'penalty_share']
    """

    log_keys = ("penalty", "penalty_share")

    def __init__(
        self,
        every: int = 1,
        *,
        max_samples: int | None = None,
        record_to: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(every, max_samples=max_samples, record_to=record_to)

    def _make_tap(self, model: Any, capacity: int) -> PenaltyTap:
        return PenaltyTap(model, capacity=capacity)

    def _record(self, epoch: int, samples: list[Any]) -> dict[str, float]:
        return _record(self.recording, epoch, PenaltySamples.joined(samples))


def _record(
    recording: Recording, epoch: int, samples: PenaltySamples
) -> dict[str, float]:
    """Records the means of an epoch; returns those for the logs."""
    step = samples.steps[-1]
    totals = {DATA_LOSS: np.nan, q.PENALTY: 0.0, ADDED_LOSS: 0.0}
    rows = []
    for column, values in zip(samples.columns, samples.values.T, strict=True):
        mean = _mean(column.quantity, values, samples)
        if column.quantity in (LOSS, BATCH_SIZE, APPLIED):
            continue
        if column.quantity in _PULLS:
            # Not every optimizer of the model may decay this variable.
            if column.quantity != DECAY_PULL or not np.isnan(values).all():
                rows.append((column.name, column.quantity, mean))
            continue
        if column == (DATA_LOSS, "", ""):
            totals[DATA_LOSS] = mean
            continue
        if column.quantity == ADDED_LOSS:
            totals[ADDED_LOSS] += mean
            if not values.any():
                continue
        elif column.quantity != DATA_LOSS:
            totals[q.PENALTY] += mean
        rows.append((column.name, column.quantity, mean))
    loss = _mean(LOSS, samples.quantity(LOSS), samples)
    if np.isnan(totals[DATA_LOSS]):  # the compiled loss was not called
        totals[DATA_LOSS] = loss - totals[q.PENALTY] - totals[ADDED_LOSS]
    size = sum(map(abs, totals.values()))
    other = loss - sum(totals.values())
    if abs(other) > _ROUNDING * max(size, abs(loss)):
        totals[q.OTHER_LOSS] = other
        size += abs(other)
    share = abs(totals[q.PENALTY]) / size if size else 0.0
    whole = {q.EPOCH_LOSS: loss} | totals | {q.PENALTY_SHARE: share}
    for quantity, value in whole.items():
        recording.append(epoch, "", quantity, step, value)
    for name, quantity, value in rows:
        recording.append(epoch, name, quantity, step, value)
    return {"penalty": totals[q.PENALTY], "penalty_share": share}


def _mean(quantity: str, values: np.ndarray, samples: PenaltySamples) -> float:
    if quantity in _PULLS:
        counted = np.isfinite(values)
        if quantity == DECAY_PULL:
            counted &= samples.quantity(APPLIED) > 0
        return float(values[counted].mean()) if counted.any() else np.nan
    return float(np.average(values, weights=samples.quantity(BATCH_SIZE)))
