"""Metrics of several PyTorch processes, each with its share of the data."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_concepts import _backend


@contextlib.contextmanager
def summed_over_processes(*metrics: Any) -> Iterator[None]:
    """Inside the block, metrics hold the counts of all processes together.

    With PyTorch's `DistributedDataParallel` each process updates its own
    metrics with its share of the batches. The variables of a metric are sums
    (in all metrics here, and in those of Keras), so the sums over the processes
    are those of all rows. A mean of the processes' results would be a different
    number.

    Inside the block `result()`, tables and figures are those of all rows, on
    every process. Afterwards each metric holds its own share again and
    continues counting: a sum left in place would be counted again by the next
    sum.

    Every process must enter the block, with the same metrics in the same order.
    Without a PyTorch process group nothing is summed: with a single process,
    and on JAX and TensorFlow, where a metric sees every whole batch or Keras
    sums it.

    Args:
        *metrics: `keras.Metric` objects.

    Raises:
        TypeError: One of `metrics` is not a `keras.Metric`.
        ValueError: A metric has variables that are not sums; or variables have
            different shapes on different processes, for example because one has
            seen no batch yet.

    Example:

    >>> import numpy as np
    >>> import keras_concepts as kc
    >>> score = kc.metrics.F1Score("macro")
    >>> score.update_state(np.array([0, 1]), np.eye(2))
    >>> with kc.summed_over_processes(score):
    ...     print(float(score.result()))
    1.0
    """
    variables = [v for metric in metrics for v in _summable(metric)]
    if len(_backend.gathered_from_ranks(None)) == 1:
        yield
        return
    own = [_backend.on_host(variable).copy() for variable in variables]
    shapes = [array.shape for array in own]
    every = _backend.gathered_from_ranks(shapes)
    if any(each != every[0] for each in every):
        raise ValueError(
            "`metrics` of `summed_over_processes` must have variables of the "
            "same shapes on every process. Received: "
            f"{every}. Has a process seen no batch yet? Pass `num_classes` to "
            "the metrics, which then know their shapes from the start."
        )
    sums = _backend.summed_over_ranks(own)
    try:
        for variable, value in zip(variables, sums, strict=True):
            variable.assign(value)
        yield
    finally:
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)


def _summable(metric: Any) -> list[Any]:
    if not isinstance(metric, keras.Metric):
        raise TypeError(
            "`metrics` of `summed_over_processes` must be `keras.Metric` "
            f"objects. Received: {metric!r}."
        )
    for variable in metric.variables:
        if variable.aggregation != "sum":
            raise ValueError(
                "`metrics` of `summed_over_processes` must hold sums. "
                f"Received: {metric.name!r}, whose variable "
                f"{variable.path!r} has aggregation="
                f"{variable.aggregation!r}."
            )
    return metric.variables
