"""Numbers derived from measurements, with NumPy only."""

from collections.abc import Sequence

import numpy as np

from keras_concepts.quantities import SCORE, VECTOR, WEIGHT

# Weights that act on single units: one number per unit, no fan-in.
_VECTORS = {"bias", "gamma", "beta", "scale", "alpha"}


def median(values: np.ndarray) -> float:
    """Median of the finite values, NaN if there is none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else np.nan


def median_ratio(numerator: np.ndarray, denominator: np.ndarray) -> float:
    """Median of the finite quotients, NaN if there is none.

    Args:
        numerator: Array of any shape.
        denominator: Array of the same shape; entries not above 0 are left out.
    """
    usable = np.isfinite(denominator) & (denominator > 0.0)
    return median(numerator[usable] / denominator[usable])


def attenuation(
    paths: Sequence[str],
    rms: np.ndarray,
    *,
    layers: Sequence[str] | None = None,
    roles: Sequence[str] | None = None,
    sizes: Sequence[int] | np.ndarray | None = None,
) -> float:
    """RMS gradient of the first layer over the last's, median over the steps.

    Over all entries of the layer's weights; see `ends`. Steps in which one of
    the two is not finite, or the last is 0, are left out.

    Args:
        paths: Paths of `v` variables, first layer first; at least one.
        rms: RMS gradient, `(v, steps)`.
        layers: Layer of each; see `ends`.
        roles: Role of each; see `ends`.
        sizes: Number of entries of each, by default the same.

    Returns:
        NaN if no step is left.
    """
    first, last = ends(paths, layers=layers, roles=roles)
    return median_ratio(
        joint_rms(rms, first, sizes), joint_rms(rms, last, sizes)
    )


def ends(
    paths: Sequence[str],
    *,
    layers: Sequence[str] | None = None,
    roles: Sequence[str] | None = None,
) -> tuple[list[int], list[int]]:
    """The variables that are the weights of the first and last layer.

    A weight is a matrix, filters or an embedding that the signal passes.
    Queries and keys count only in a model that has no other weights: their
    gradient is naturally tiny, since softmax is nearly uniform at first. If
    there is no matrix at all, each variable counts.

    Args:
        paths: Paths of the variables, first layer first; at least one.
        layers: Layer of each; by default inferred from the paths.
        roles: Role of each, as in `quantities`; by default inferred from the
            paths.
    """
    layers = _layers(paths, layers)
    rows = _compared(paths, roles)
    return (
        [i for i in rows if layers[i] == layers[rows[0]]],
        [i for i in rows if layers[i] == layers[rows[-1]]],
    )


def count_layers(
    paths: Sequence[str],
    *,
    layers: Sequence[str] | None = None,
    roles: Sequence[str] | None = None,
) -> int:
    """Number of layers from which `ends` takes the first and last."""
    layers = _layers(paths, layers)
    return len({layers[i] for i in _compared(paths, roles)})


def joint_rms(
    rms: np.ndarray,
    rows: Sequence[int],
    sizes: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """RMS of the entries of some variables together, `(steps,)`.

    A variable that never has a gradient (NaN) is left out if another has one.

    Args:
        rms: RMS of each variable, `(v, steps)`.
        rows: Indices of the variables.
        sizes: Number of entries of each of `v`, by default the same.
    """
    rows = [i for i in rows if not np.isnan(rms[i]).all()] or rows
    if len(rows) == 1:
        return rms[rows[0]]
    weights = np.ones(len(rms)) if sizes is None else np.asarray(sizes, float)
    shares = weights[list(rows), None] / weights[list(rows)].sum()
    largest = np.max(rms[list(rows)], axis=0)
    # As shares of the largest, since squares of 1e-200 would be 0.
    with np.errstate(invalid="ignore", divide="ignore"):
        squares = (rms[list(rows)] / largest) ** 2
        joint = largest * np.sqrt((shares * squares).sum(axis=0))
    return np.where(largest == 0.0, 0.0, joint)


def moving_statistics_off(mean_shift: float, log_ratio: float) -> float:
    """How far moving statistics of batch normalization are off, as one number.

    The larger of two: how many standard deviations of the batch the mean is
    off, and how many times the variance is doubled or halved. From 1 on,
    inference differs clearly from training.

    Args:
        mean_shift: (moving mean - batch mean) / batch standard deviation.
        log_ratio: log(moving variance / batch variance).

    Returns:
        NaN if neither is known.
    """
    return float(np.fmax(abs(mean_shift), abs(log_ratio) / np.log(2.0)))


def role_by_name(path: str) -> str:
    """Role of a variable known only by its path."""
    name = path.rpartition("/")[2].partition(" (")[0]
    if name.endswith(("kernel", "kernel_a", "kernel_b", "embeddings")):
        return WEIGHT
    return VECTOR if name in _VECTORS else ""


def _compared(paths: Sequence[str], roles: Sequence[str] | None) -> list[int]:
    """The variables that count, in order."""
    if roles is None:
        roles = [role_by_name(path) for path in paths]
    for wanted in (WEIGHT, SCORE):
        rows = [i for i, role in enumerate(roles) if role == wanted]
        if rows:
            return rows
    return list(range(len(paths)))


def _layers(
    paths: Sequence[str], layers: Sequence[str] | None
) -> Sequence[str]:
    if layers is None:
        layers = [""] * len(paths)
    return [
        layer or path.rpartition("/")[0] or path
        for path, layer in zip(paths, layers, strict=True)
    ]
