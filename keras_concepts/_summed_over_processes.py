"""Metrics of several PyTorch processes, each of which has seen its share."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_concepts import _backend


@contextlib.contextmanager
def summed_over_processes(*metrics: Any) -> Iterator[None]:
    """Inside the block metrics hold what all processes have counted together.

    With PyTorch's `DistributedDataParallel` each process updates metrics of its
    own with its share of the batches. The variables of a metric are sums, so
    those of all rows are the sums over the processes: of all metrics here, and
    of those of Keras. A mean of the processes' results would be another number.

    Inside the block `result()`, tables and figures are those of all rows, on
    every process. Afterwards each metric holds its own share again, and goes on
    counting: summed where it stands, it would be counted again by the next sum.

    Every process must enter the block, with the same metrics in the same order.
    Where there is no process group of PyTorch nothing is summed: on one
    process, and on JAX and TensorFlow, where a metric sees every batch whole or
    Keras sums it.

    Args:
        *metrics: Each a `keras.Metric`.

    Raises:
        TypeError: One of `metrics` is none.
        ValueError: A metric has variables that are no sums; or the processes'
            variables have different shapes, as if one has seen no batch yet.

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
