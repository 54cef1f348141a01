"""Removing probes from a model."""

from typing import Any

import keras

from keras_concepts._backend import (
    fixed_randomness,
    flatten_layers,
    is_functional,
    kept_state,
)
from keras_concepts._batches import check_model
from keras_concepts._shadow import shadow
from keras_concepts.layers.activation_probe import ActivationProbe


def strip_probes(model: Any) -> Any:
    """The model without its `ActivationProbe` layers; its outputs are the same.

    The new model uses the layers of the old one, not copies: it takes no
    memory, and training one trains the other. Each layer now has a second call,
    so `layer.output` of the old model is no longer defined. The new model is
    not compiled. An output that was named after a probe is named after the
    layer before it.

    Args:
        model: Built `keras.Sequential` or functional model, with any number of
            inputs and outputs, shared layers and nested models.

    Returns:
        A new `keras.Sequential` or functional model; `model` itself if it has
        no probe.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: The model is subclassed or not built, or a probe is inside a
            layer that is not such a model.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((3,)), keras.layers.Dense(2), ActivationProbe()]
    ... )
    >>> [type(layer).__name__ for layer in strip_probes(model).layers]
    ['Dense']
    """
    check_model("strip_probes", model)
    # PyTorch may really run layers to know the shapes of their outputs.
    with kept_state(model), fixed_randomness(0):
        return _stripped(model, {})


def _stripped(layer: Any, done: dict[int, Any]) -> Any:
    """A layer without its probes; always the same one for a shared layer."""
    if not any(isinstance(x, ActivationProbe) for x in flatten_layers(layer)):
        return layer
    if id(layer) not in done:
        done[id(layer)] = _rebuilt(layer, done)
    return done[id(layer)]


def _rebuilt(model: Any, done: dict[int, Any]) -> Any:
    if isinstance(model, keras.Sequential) and model.built:
        inputs = [
            keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name)
            for x in model.inputs
        ]
        kept = [
            _stripped(layer, done)
            for layer in model.layers
            if not isinstance(layer, ActivationProbe)
        ]
        return keras.Sequential([*inputs, *kept], name=model.name)
    if not is_functional(model):
        raise ValueError(
            "`strip_probes` needs a built `keras.Sequential` or functional "
            "model in which no other kind of layer contains probes. Received: "
            f"{model.name!r}, a {type(model).__name__} with a probe. Build it, "
            "or create it again without the probe and copy the weights of each "
            "layer with `set_weights`."
        )
    # Keras would compile the new model like the old, and fail at a loss that it
    # cannot save.
    with shadow(model, "compiled", False):
        return keras.models.clone_model(
            model,
            clone_function=lambda layer: _reused(layer, done),
            call_function=_called,
        )


def _reused(operation: Any, done: dict[int, Any]) -> Any:
    is_layer = isinstance(operation, keras.Layer)
    if is_layer and not isinstance(operation, ActivationProbe):
        return _stripped(operation, done)
    return operation


def _called(layer: Any, *args: Any, **kwargs: Any) -> Any:
    if isinstance(layer, ActivationProbe):
        return args[0] if args else kwargs["inputs"]
    return layer(*args, **kwargs)
