"""Which labels are not the one to be ignored."""

from keras import ops

from keras_concepts._types import Tensor


def differs(labels: Tensor, ignore_class: int) -> Tensor:
    """Whether each class number, or answer to a question, counts.

    Args:
        labels: Of any shape, int32 or floats.
        ignore_class: The label whose entries do not count.
    """
    return ops.not_equal(labels, ops.cast(ignore_class, labels.dtype))


def has_other_class(owner: str, labels: Tensor, ignore_class: int) -> Tensor:
    """Whether each row of dense labels counts, `(rows, 1)`.

    Args:
        owner: Name of the metric, for error messages.
        labels: `(rows, C)`, one label per class.
        ignore_class: A class. Rows that are mostly of it do not count.

    Raises:
        ValueError: If there is no such class.
    """
    classes = labels.shape[1]
    if not 0 <= ignore_class < classes:
        raise ValueError(
            f"`ignore_class` of `{owner}` must be one of the {classes} classes "
            "if each class has a label of its own. Received: "
            f"ignore_class={ignore_class!r}."
        )
    of_it = ops.cast(labels, "float32")[:, ignore_class, None] > 0.5
    return ops.logical_not(of_it)
