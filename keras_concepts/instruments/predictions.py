"""What a model predicts of a probe, in a few numbers."""

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.quantities import Quantity


def prediction_rows(outputs: np.ndarray) -> dict[Quantity, float]:
    """Numbers of the predictions `(n, ..., units)` of one output."""
    values = np.asarray(outputs, np.float64)
    rows = {
        q.PREDICTION_MEAN: values.mean(),
        q.PREDICTION_STD: values.std(),
        q.PREDICTION_SPREAD: np.sqrt(np.mean(values.var(axis=0))),
        q.PREDICTION_MIN: values.min(),
        q.PREDICTION_MAX: values.max(),
    }
    if values.ndim > 1:
        error = np.abs(values.sum(axis=-1) - 1.0).max()
        rows[q.PREDICTION_SUM_ERROR] = error
    return {name: float(value) for name, value in rows.items()}


def equal_columns(kernel: np.ndarray) -> float:
    """Share of the units, along the last axis, that equal the first one."""
    columns = kernel.reshape(-1, kernel.shape[-1])
    return float(np.mean((columns == columns[:, :1]).all(axis=0)))
