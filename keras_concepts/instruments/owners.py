"""Names of the owners of rows in a recording: layers and variables."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from keras_concepts import _backend


@dataclasses.dataclass
class OwnerNames:
    """A name for each layer, operation and variable, identified by `id`.

    Names are paths. If several layers have the same path, the second is named
    `path (2)`, and so are its variables: `path (2)/kernel`.
    """

    _names: dict[int, str] = dataclasses.field(default_factory=dict)
    _layers: dict[int, Any] = dataclasses.field(default_factory=dict)

    def of(self, owner: Any) -> str:
        """Name of a layer, operation or variable."""
        return self._names.get(id(owner)) or _path(owner)

    def knows(self, owner: Any) -> bool:
        """Whether it is part of the model."""
        return id(owner) in self._names

    def layer_of(self, variable: Any) -> Any:
        """The innermost layer that owns a variable, or `None`."""
        return self._layers.get(id(variable))

    def layer_name_of(self, variable: Any) -> str:
        """Name of that layer, or the layer's part of the variable's name."""
        layer = self.layer_of(variable)
        if layer is not None:
            return self.of(layer)
        return self.of(variable).rpartition("/")[0]


def owner_names(model: Any = None, variables: Sequence[Any] = ()) -> OwnerNames:
    """Names the parts of a model, and variables that are in no model.

    Args:
        model: A built model, or another layer; `None` if there are only
            variables.
        variables: More variables to name. If several have the same path, the
            second belongs to `layer (2)`.
    """
    layers = [] if model is None else _backend.flatten_layers(model)
    owners = _owners(layers)
    names = _layer_names(layers)
    own = [v for layer in layers for v in _backend.own_variables(layer)]
    taken: set[str] = set()
    for variable in _each_once([*own, *variables]):
        layer = owners.get(id(variable))
        name = _path(variable)
        if layer is not None:
            name = _renamed(name, _path(layer), names[id(layer)])
        elif "/" in name:
            name = _of_a_free_layer(name, taken)
        names[id(variable)] = unique_name(name, taken)
    return OwnerNames(names, owners)


def unique_name(name: str, taken: set[str]) -> str:
    """The name, or `name (2)` and so on if it is taken; takes it."""
    number, unique = 1, name
    while unique in taken:
        number += 1
        unique = f"{name} ({number})"
    taken.add(unique)
    return unique


def _owners(layers: Sequence[Any]) -> dict[int, Any]:
    """The innermost layer of each variable, by its `id`."""
    owners: dict[int, Any] = {}
    for layer in layers:
        for variable in _backend.own_variables(layer):
            outer = owners.get(id(variable))
            if outer is None or layer in _inside(outer):
                owners[id(variable)] = layer
    return owners


def _layer_names(layers: Sequence[Any]) -> dict[int, str]:
    # Outer layers come first, so that the innermost layer wins.
    around = {
        id(inner): layer
        for layer in layers
        for inner in _inside(layer)
        if _path(inner).startswith(f"{_path(layer)}/")
    }
    names: dict[int, str] = {}
    taken: set[str] = set()

    def name(layer: Any) -> str:
        if id(layer) not in names:
            path, outer = _path(layer), around.get(id(layer))
            if outer is not None:
                path = _renamed(path, _path(outer), name(outer))
            names[id(layer)] = unique_name(path, taken)
        return names[id(layer)]

    # A layer with weights keeps its path if an enclosing model has the same.
    for layer in sorted(layers, key=lambda x: not _backend.own_variables(x)):
        _ = name(layer)
    for operation in (x for each in layers for x in operations_of(each)):
        _ = name(operation)
    return names


def operations_of(layer: Any) -> list[Any]:
    """The layers and operations of a functional model, empty for others."""
    found = getattr(layer, "operations", ())
    if not isinstance(found, list | tuple):  # a user's own attribute
        return []
    return [each for each in found if isinstance(each, keras.Operation)]


def _renamed(path: str, head: str, name: str) -> str:
    """A path with the path of its owner replaced by the owner's name."""
    return name + path[len(head) :] if path.startswith(f"{head}/") else path


def _of_a_free_layer(path: str, taken: set[str]) -> str:
    layer, _, last = path.rpartition("/")
    number = 1
    while path in taken:
        number += 1
        path = f"{layer} ({number})/{last}"
    return path


def _path(owner: Any) -> str:
    return getattr(owner, "path", None) or owner.name


def _inside(layer: Any) -> list[Any]:
    return [x for x in _backend.flatten_layers(layer) if x is not layer]


def _each_once(owners: Sequence[Any]) -> list[Any]:
    return list({id(owner): owner for owner in owners}.values())
