"""What is known about a run besides measurements: model, loss, optimizer."""

import importlib.metadata
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts._numerics.batch_statistics import is_synchronized
from keras_concepts.instruments.activations import (
    function_of,
    has_function,
    is_function_alone,
    kind_of_activation,
    normalizes,
    own_function,
    passes_values,
)
from keras_concepts.instruments.owners import OwnerNames, owner_names
from keras_concepts.instruments.roles import layers_of_variables, roles_of

_PACKAGES = ("keras", "keras-concepts", "numpy", "tensorflow", "jax", "torch")


def run_facts(model: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Facts of a run, JSON-compatible.

    Args:
        model: A compiled, built model in `fit`.
        params: The `params` of Keras' callbacks: `epochs` and `steps`.

    Returns:
        | key | value |
        |---|---|
        | `versions` | of Keras, this package, NumPy and the backends |
        | `backend` | name of the backend |
        | `dtype_policy` | name of the global dtype policy |
        | `model`, `parameters` | its name, and the number of its weights |
        | `epochs`, `steps_per_epoch`, `batch_size` | as planned, or `None` |
        | `jit_compile`, `run_eagerly`, `steps_per_execution` | of the model |
        | `optimizer` | `class` and `config` |
        | `own_step` | `train_step`, `compute_loss`: which are not Keras' own |
        | `loss`, `loss_weights`, `metrics` | as given to `compile` |
        | `replicas` | that train, each on its share of a batch |
        | `shares` | paths of the layers that normalize by a replica's share of
            a batch, so that what is recorded of their batches are means over
            the shares |
        | `input_layers` | of a functional model: paths, as its inputs |
        | `layers` | a dict for each: `path`, `class`, `activation`, ...;
            `kind` of the activation, see `kind_of_activation`; `inputs`, paths
            of what it reads in functional models; `feeds_activation`, the
            function that a layer or operation after a linear layer applies,
            behind normalization and dropout or not |
        | `variables` | a dict for each: `path`, `layer`, `role`, ... |
    """
    names = owner_names(model)
    layers = _backend.flatten_layers(model)
    replicas = _backend.replica_count(model)
    compiled = _backend.compile_arguments(model)
    return {
        "versions": _versions(),
        "backend": keras.backend.backend(),
        "dtype_policy": keras.config.dtype_policy().name,
        **model_facts(model),
        **planned_facts(params),
        "batch_size": _backend.batch_size_of_fit(model),
        "jit_compile": bool(model.jit_compile),
        "run_eagerly": bool(model.run_eagerly),
        "steps_per_execution": model.steps_per_execution,
        "replicas": replicas,
        "shares": [
            names.of(layer)
            for layer in layers
            if replicas > 1
            and isinstance(layer, keras.layers.BatchNormalization)
            and not is_synchronized(layer)
        ],
        "optimizer": _optimizer(getattr(model, "optimizer", None)),
        "own_step": [
            name
            for name in ("train_step", "compute_loss")
            if _is_own(model, name)
        ],
        "loss": _plain(compiled.get("loss")),
        "loss_weights": _plain(compiled.get("loss_weights")),
        "metrics": _plain(compiled.get("metrics")),
        "input_layers": _input_layers(model, names),
        "layers": [_layer(layer, names) for layer in layers],
        "variables": _variables(model, names),
    }


def _is_own(model: Any, method: str) -> bool:
    """Whether a method is not that of Keras' trainer, but the model's own."""
    function = getattr(type(model), method, None)
    module = getattr(function, "__module__", None) or ""
    return module.split(".")[0] != "keras" or method in vars(model)


def planned_facts(params: dict[str, Any]) -> dict[str, Any]:
    """The planned length of a `fit`, known before its model is built.

    Args:
        params: The `params` of Keras' callbacks: `epochs` and `steps`.
    """
    return {
        "epochs": params.get("epochs"),
        "steps_per_epoch": params.get("steps"),
    }


def model_facts(model: Any) -> dict[str, Any]:
    """What identifies a built model in another process."""
    parameters = sum(math.prod(v.shape) for v in model.weights)
    return {"model": model.name, "parameters": parameters}


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _optimizer(optimizer: Any) -> dict[str, Any] | None:
    if optimizer is None:
        return None
    return {
        "class": type(optimizer).__name__,
        "name": optimizer.name,
        "config": _plain(_config(optimizer)),
    }


def _input_layers(model: Any, names: OwnerNames) -> list[str | None]:
    if not _backend.is_functional(model) and not isinstance(
        model, keras.Sequential
    ):
        return []
    made = [_backend.made_by(tensor) for tensor in model.inputs or []]
    return [None if each is None else names.of(each[0]) for each in made]


def _layer(layer: Any, names: OwnerNames) -> dict[str, Any]:
    facts = {
        "path": names.of(layer),
        "class": type(layer).__name__,
        "trainable": bool(layer.trainable),
        "parameters": sum(math.prod(v.shape) for v in layer.weights),
        "dtype_policy": layer.dtype_policy.name,
    }
    for name in ("activation", "recurrent_activation"):
        function = _attribute(layer, name)
        if callable(function):
            facts[name] = _name(function)
    for name in ("units", "filters", "rate", "momentum", "input_dim"):
        value = _attribute(layer, name)
        if isinstance(value, int | float):
            facts[name] = _plain(value)
    function = own_function(layer) or facts.get("activation")
    if function is not None and (has_function(layer) or "activation" in facts):
        facts["kind"] = kind_of_activation(function)
    read = [x for x in _backend.previous_layers(layer) if names.knows(x)]
    if read:
        facts["inputs"] = [names.of(each) for each in read]
    if own_function(layer) == "linear" and layer.weights:
        fed = _function_after(layer, names)
        if fed is not None:
            facts["feeds_activation"] = fed
    return facts


def _function_after(layer: Any, names: OwnerNames, steps: int = 8) -> Any:
    """The function that all layers reading a layer apply to it, or `None`."""
    readers = [x for x in _backend.next_layers(layer) or [] if names.knows(x)]
    found = set()
    for reader in readers:
        if is_function_alone(reader) and not passes_values(reader):
            found.add(function_of(reader))
        elif steps and (passes_values(reader) or normalizes(reader)):
            found.add(_function_after(reader, names, steps - 1))
        else:
            found.add(None)
    return found.pop() if len(found) == 1 else None


def _attribute(layer: Any, name: str) -> Any:
    try:
        return getattr(layer, name, None)
    except Exception:  # from a user's own property
        return None


def _variables(model: Any, names: OwnerNames) -> list[dict[str, Any]]:
    weights = model.weights
    return [
        {
            "path": names.of(variable),
            "layer": layer,
            "name": variable.name,
            "shape": list(variable.shape),
            "dtype": str(variable.dtype),
            "trainable": bool(variable.trainable),
            "regularizer": _plain(variable.regularizer),
            "role": role,
        }
        for variable, layer, role in zip(
            weights,
            layers_of_variables(weights, names, model),
            roles_of(weights, names, model),
            strict=True,
        )
    ]


def _plain(part: Any) -> Any:
    """The same as JSON values; other objects as their names."""
    if isinstance(part, str | bool | int | None):
        return part
    if isinstance(part, float):
        return part if math.isfinite(part) else str(part)
    if isinstance(part, Mapping):
        return {str(key): _plain(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [_plain(value) for value in part]
    if isinstance(part, np.generic):
        return _plain(part.item())
    if isinstance(part, keras.Loss | keras.Metric | keras.Regularizer):
        return {"class": type(part).__name__, "config": _plain(_config(part))}
    return _name(part)


def _config(part: Any) -> Any:
    try:
        return part.get_config()
    except Exception:  # user code may raise anything: no fact is worth a run
        return None


def _name(part: Any) -> str:
    return getattr(part, "__name__", None) or type(part).__name__
