"""What is known of a run beside what is measured: model, loss, optimizer."""

import importlib.metadata
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts.instruments.naming import named

_PACKAGES = ("keras", "keras-concepts", "numpy", "tensorflow", "jax", "torch")


def run_facts(model: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Facts of a run, JSON-compatible.

    Args:
        model: A compiled, built model in `fit`.
        params: What Keras tells its callbacks: `epochs` and `steps`.

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
        | `loss`, `loss_weights`, `metrics` | as given to `compile` |
        | `layers` | a dict for each: `path`, `class`, `activation`, ... |
        | `variables` | a dict for each: `path`, `layer`, `shape`, ... |
    """
    layers = named(_backend.flatten_layers(model))
    compiled = _backend.compile_arguments(model)
    return {
        "versions": _versions(),
        "backend": keras.backend.backend(),
        "dtype_policy": keras.config.dtype_policy().name,
        "model": model.name,
        "parameters": sum(math.prod(v.shape) for v in model.weights),
        "epochs": params.get("epochs"),
        "steps_per_epoch": params.get("steps"),
        "batch_size": _backend.batch_size_of_fit(model),
        "jit_compile": bool(model.jit_compile),
        "run_eagerly": bool(model.run_eagerly),
        "steps_per_execution": model.steps_per_execution,
        "optimizer": _optimizer(model.optimizer),
        "loss": _plain(compiled.get("loss")),
        "loss_weights": _plain(compiled.get("loss_weights")),
        "metrics": _plain(compiled.get("metrics")),
        "layers": [_layer(layer, path) for layer, path in layers],
        "variables": _variables(model, layers),
    }


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


def _layer(layer: Any, path: str) -> dict[str, Any]:
    facts = {
        "path": path,
        "class": type(layer).__name__,
        "trainable": bool(layer.trainable),
        "parameters": sum(math.prod(v.shape) for v in layer.weights),
        "dtype_policy": layer.dtype_policy.name,
    }
    for name in ("activation", "recurrent_activation"):
        function = getattr(layer, name, None)
        if function is not None:
            facts[name] = _name(function)
    for name in ("units", "filters", "rate", "momentum", "input_dim"):
        value = getattr(layer, name, None)
        if isinstance(value, int | float):
            facts[name] = value
    return facts


def _variables(
    model: Any, layers: Sequence[tuple[Any, str]]
) -> list[dict[str, Any]]:
    owners = _owners(layers)
    return [
        {
            "path": path,
            "layer": owners.get(id(variable), ""),
            "name": variable.name,
            "shape": list(variable.shape),
            "dtype": str(variable.dtype),
            "trainable": bool(variable.trainable),
            "regularizer": _plain(variable.regularizer),
        }
        for variable, path in named(model.weights)
    ]


def _owners(layers: Iterable[tuple[Any, str]]) -> dict[int, str]:
    """Path of the innermost layer that each variable belongs to, by `id`."""
    sizes: dict[int, int] = {}
    owners: dict[int, str] = {}
    for layer, path in layers:
        for variable in layer.weights:
            key, size = id(variable), len(layer.weights)
            if size <= sizes.get(key, size):
                sizes[key], owners[key] = size, path
    return owners


def _plain(part: Any) -> Any:
    """The same in what JSON knows; of anything else its name."""
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
    except NotImplementedError:  # of somebody's own class that is never saved
        return None


def _name(part: Any) -> str:
    return getattr(part, "__name__", None) or type(part).__name__
