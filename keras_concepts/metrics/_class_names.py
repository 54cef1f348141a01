"""Names of classes, as users pass them."""

import collections
from collections.abc import Mapping, Set
from typing import Any

from keras_concepts._validation import plain


def checked_class_names(owner: str, class_names: Any) -> list[str] | None:
    """Names as a list of different strings.

    Args:
        owner: Name of the metric, for error messages.
        class_names: Strings or numbers, in a list or a NumPy array, such as
            `classes_` of scikit-learn's `LabelEncoder`; or `None`.

    Raises:
        TypeError: If they are not a sequence.
        ValueError: If two of them are equal.
    """
    if class_names is None:
        return None
    if (
        isinstance(class_names, str | bytes | Mapping | Set)
        or not hasattr(class_names, "__iter__")
        or getattr(class_names, "shape", None) == ()
    ):
        raise TypeError(
            f"`class_names` of `{owner}` must be a list of names, in the order "
            f"of the classes. Received: class_names={class_names!r}."
        )
    names = [
        name.decode() if isinstance(name, bytes) else str(plain(name))
        for name in class_names
    ]
    twice = [name for name, n in collections.Counter(names).items() if n > 1]
    if twice:
        raise ValueError(
            f"`class_names` of `{owner}` must differ from one another. "
            f"Received more than once: {twice}."
        )
    return names
