"""Weights and masks, aligned with the rows that they belong to."""

from keras import ops

from keras_concepts._labels.shapes import Shape, fits, has_rank, reshaped
from keras_concepts._types import Tensor


def aligned(
    owner: str,
    name: str,
    factors: Tensor,
    rows: Shape,
    *,
    stretch_first: bool = False,
) -> Tensor:
    """Weights or a mask with an axis for each axis of the rows.

    Axes of length 1 are added or dropped at the end.

    Args:
        owner: Name of the loss or metric, for error messages.
        name: Name of the aligned values.
        factors: Weights or a mask: a scalar, or the first axes of `rows`, each
            of the same length or of length 1.
        rows: Shape of the predictions without the class axis.
        stretch_first: Whether the first axis may have the length 1 where there
            are more rows. In a loss that is most likely a mistake; metrics of
            `keras.metrics` accept it.

    Returns:
        A tensor that can be broadcast to `rows`.

    Raises:
        ValueError: If the shape does not fit.
    """
    if not has_rank(factors):
        raise ValueError(
            f"`{name}` of `{owner}` must have a known number of axes. Set "
            "their shape, for example with `tf.ensure_shape`. Received: "
            f"{name}.shape=None."
        )
    given, rows, x = tuple(factors.shape), tuple(rows), factors
    # A length that is not known is checked as the axis is dropped.
    while len(x.shape) > len(rows) and x.shape[-1] in (1, None):
        x = reshaped(owner, x, ops.shape(x)[:-1], name)
    is_scalar = len(x.shape) == 0
    while len(x.shape) < len(rows):
        x = ops.expand_dims(x, -1)
    kept = 0 if stretch_first or is_scalar else 1
    stretched = [
        length if size == 1 and i >= kept else size
        for i, (size, length) in enumerate(zip(x.shape, rows, strict=False))
    ]
    if len(x.shape) > len(rows) or not fits(stretched, rows):
        raise ValueError(
            f"`{name}` of `{owner}` must be a scalar or have the shape of the "
            f"predictions without the class axis, {rows}, or its first axes. "
            f"Received: {name}.shape={given}."
        )
    return x
