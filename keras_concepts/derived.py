"""Numbers that follow from measured ones; NumPy alone."""

from collections.abc import Sequence

import numpy as np


def median(values: np.ndarray) -> float:
    """Median of the finite values, NaN if there is none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else np.nan


def median_ratio(numerator: np.ndarray, denominator: np.ndarray) -> float:
    """Median of the quotients that are finite, NaN if there is none.

    Args:
        numerator: Of any shape.
        denominator: Of the same shape; what is not above 0 is left out.
    """
    usable = np.isfinite(denominator) & (denominator > 0.0)
    return median(numerator[usable] / denominator[usable])


def attenuation(paths: Sequence[str], rms: np.ndarray) -> float:
    """RMS gradient of the first kernel over the last's, median over the steps.

    Steps in which one of the two is not finite, or the last is 0, are left out.

    Args:
        paths: Paths of `v` variables, first layer first; at least one.
        rms: RMS gradient, `(v, steps)`.

    Returns:
        NaN if no step is left.
    """
    first, last = ends(paths)
    return median_ratio(rms[first], rms[last])


def ends(paths: Sequence[str]) -> tuple[int, int]:
    """Which paths are the first and the last kernel (or, without, variable)."""
    kernels = [i for i, path in enumerate(paths) if path.endswith("kernel")]
    rows = kernels or range(len(paths))
    return rows[0], rows[-1]
