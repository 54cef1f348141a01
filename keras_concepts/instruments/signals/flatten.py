"""Taking tensors out of dataclasses, which backends cannot handle."""

import dataclasses
from collections.abc import Callable
from typing import Any

from keras import ops

from keras_concepts._types import Tensor


def flatten(structure: Any) -> tuple[Any, list[Tensor]]:
    """A structure without its tensors, and the tensors.

    Args:
        structure: Dataclasses, dicts, lists and tuples of tensors.
    """
    tensors: list[Tensor] = []

    def place(part: Any) -> Any:
        if not ops.is_tensor(part):
            return part
        tensors.append(part)
        return _Place(len(tensors) - 1)

    return _mapped(place, structure), tensors


def unflatten(template: Any, tensors: list[Tensor]) -> Any:
    """The structure that `flatten` took apart."""
    return _mapped(
        lambda part: tensors[part.index] if isinstance(part, _Place) else part,
        template,
    )


class _Place:
    def __init__(self, index: int) -> None:
        self.index = index


def _mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    if dataclasses.is_dataclass(structure):
        parts = {
            field.name: _mapped(function, getattr(structure, field.name))
            for field in dataclasses.fields(structure)
        }
        return dataclasses.replace(structure, **parts)  # pyright: ignore
    if isinstance(structure, dict):
        return {key: _mapped(function, x) for key, x in structure.items()}
    if isinstance(structure, list | tuple):
        return type(structure)(_mapped(function, x) for x in structure)
    return function(structure)
