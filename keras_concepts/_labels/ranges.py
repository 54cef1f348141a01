"""Labels outside of their range."""

from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor

# Mixed labels that were computed in half precision overshoot 1 a little.
_ROUNDING = 0.01


def checked_numbers(
    owner: str, numbers: Tensor, classes: int, targets: Tensor
) -> Tensor:
    """The targets, NaN where `numbers` name no class.

    Args:
        owner: Name of the loss, for error messages.
        numbers: Class numbers, int32.
        classes: Number of classes.
        targets: What was made of them.

    Raises:
        ValueError: If there are such numbers and they can be read.
    """
    return _checked(owner, numbers, 0, classes - 1, 0, targets)


def checked_shares(owner: str, shares: Tensor) -> Tensor:
    """Labels from 0 to 1, NaN where they are not.

    Args:
        owner: Name of the loss, for error messages.
        shares: Labels, floats.

    Raises:
        ValueError: If there are others and they can be read.
    """
    return _checked(owner, shares, 0, 1, _ROUNDING, shares)


def _checked(
    owner: str,
    labels: Tensor,
    low: int,
    high: int,
    tolerance: float,
    targets: Tensor,
) -> Tensor:
    least, most = low - tolerance, high + tolerance
    values = _backend.known_value(labels)
    if values is not None and values.size:
        lowest, highest = values.min(), values.max()
        if not (least <= lowest and highest <= most):
            raise ValueError(
                f"Labels of `{owner}` must lie between {low} and {high}. "
                f"Received: labels from {lowest} to {highest}."
            )
    # A compiled step cannot raise. NaN is seen; a loss of 0 is not.
    inside = ops.logical_and(labels >= least, labels <= most)
    return ops.where(inside, targets, ops.full_like(targets, float("nan")))
