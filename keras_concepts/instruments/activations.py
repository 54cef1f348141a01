"""The activation function that a layer applies."""

import inspect
import re
from typing import Any

import keras

from keras_concepts import _backend
from keras_concepts.layers.activation_probe import ActivationProbe
from keras_concepts.layers.temperature_scaling import TemperatureScaling

# Kinds of functions by the form of their outputs.
_KINDS = {
    "linear": ("linear", "identity"),
    "softmax": ("softmax", "log_softmax", "sparsemax"),
    "rectified": (
        "relu",
        "relu6",
        "leaky_relu",
        "prelu",
        "threshold",
        "hard_shrink",
        "soft_shrink",
    ),
    "bounded": (
        "sigmoid",
        "tanh",
        "softsign",
        "hard_sigmoid",
        "hard_tanh",
        "sparse_sigmoid",
    ),
    "smooth": (
        "celu",
        "elu",
        "exponential",
        "gelu",
        "glu",
        "hard_silu",
        "log_sigmoid",
        "mish",
        "selu",
        "silu",
        "softplus",
        "sparse_plus",
        "squareplus",
        "tanh_shrink",
    ),
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names}
_ALIASES = {
    "exp": "exponential",
    "hard_swish": "hard_silu",
    "identity": "linear",
    "softmax_v2": "softmax",
    "swish": "silu",
}
# Packages whose functions do what their names say.
_TRUSTED = ("keras", "tensorflow", "jax", "torch")

# Layers that are a function but have no attribute that names it.
_FUNCTIONS = {
    keras.layers.Softmax: "softmax",
    keras.layers.ReLU: "relu",
    keras.layers.LeakyReLU: "leaky_relu",
    keras.layers.PReLU: "prelu",
    keras.layers.ELU: "elu",
}
# Layers whose outputs at inference are their inputs, moved or averaged: bounds
# of the inputs hold for the outputs.
_PASSING = (
    ActivationProbe,
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalAveragePooling3D,
    keras.layers.Identity,
    keras.layers.Masking,
    keras.layers.Permute,
    keras.layers.RepeatVector,
    keras.layers.Reshape,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
)
_NORMALIZING = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
)
# Layers without a function after weights of their own.
_WEIGHTED = (
    *_NORMALIZING,
    keras.layers.Embedding,
    keras.layers.GroupQueryAttention,
    keras.layers.MultiHeadAttention,
)
# Operations of `keras.ops` that do the same, by class name.
_PASSING_OPERATIONS = {
    "BroadcastTo",
    "Cast",
    "Copy",
    "ExpandDims",
    "Flip",
    "Identity",
    "Moveaxis",
    "Ravel",
    "Repeat",
    "Reshape",
    "Roll",
    "Squeeze",
    "StopGradient",
    "Swapaxes",
    "Tile",
    "Transpose",
}
# Operations that keep the range of each entry, although rows no longer sum
# to 1.
_PICKING = {
    "Concatenate",
    "GetItem",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "Max",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Maximum",
    "Minimum",
    "Split",
    "Stack",
    "Take",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
}
# Operations without bounds if one of their inputs has none.
_AFFINE = {
    "Add",
    "Divide",
    "Dot",
    "Einsum",
    "Matmul",
    "Mean",
    "Multiply",
    "Negative",
    "Rescaling",
    "Subtract",
    "Sum",
    "TemperatureScaling",
    "TrueDivide",
}


def kind_of_activation(name: str | None) -> str:
    """Kind of function, for rules that need not know which one.

    Returns:
        `"rectified"` for the ReLU family, `"bounded"` for those that saturate
        on both sides, `"smooth"` for other curves without bounds on both sides,
        `"softmax"`, `"linear"`, or `"other"`.
    """
    return _KIND_OF.get(_ALIASES.get(name or "", name or ""), "other")


def function_name(function: Any) -> str | None:
    """Name of the function of an activation; `None` if it is not known.

    For a function of Keras or a backend, its own name; for a layer, the name of
    its class; for a user's function, the last operation of `keras.ops` that it
    applies.
    """
    if function is None:
        return "linear"
    if isinstance(function, keras.Layer):
        return own_function(function)
    name = getattr(function, "__name__", None) or ""
    module = getattr(function, "__module__", None)
    if module is None or module.split(".")[0] in _TRUSTED:
        name = _ALIASES.get(name, name)
        return name if name in _KIND_OF else None
    made = traced(function, keras.KerasTensor((None, 8)))
    return None if made is None else operation_function(made[0])


def traced(function: Any, x: Any) -> tuple[Any, list[Any], int] | None:
    """The operation that a Python function of one tensor ends with.

    `None` if it does not consist of operations of `keras.ops` and layers.
    """
    try:
        return _backend.made_by(function(x))
    except Exception:  # a backend function that takes no symbolic tensors
        return None


def operation_function(operation: Any) -> str | None:
    """Name of the function of an operation of `keras.ops`, or `None`."""
    if not _backend.is_of_keras(operation):
        return None
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(operation).__name__)
    name = words.lower()
    name = _ALIASES.get(name, name)
    return name if name in _KIND_OF else None


def own_function(layer: Any) -> str | None:
    """The last function that a layer of Keras applies.

    `None` if it applies none of its own, as `Reshape` does, or if the layer is
    not Keras' own and may do anything.
    """
    for kind, name in _FUNCTIONS.items():
        if _is_a(layer, kind):
            return name
    if isinstance(layer, _WEIGHTED) and _calls_as_keras(layer):
        return "linear"
    if isinstance(layer, keras.layers.TimeDistributed):
        return own_function(layer.layer)
    if isinstance(layer, keras.layers.Bidirectional):
        return own_function(layer.forward_layer)
    if isinstance(layer, keras.layers.RNN) and not hasattr(layer, "activation"):
        return own_function(layer.cell)
    if hasattr(layer, "activation") and _calls_as_keras(layer):
        return function_name(layer.activation)
    return None


def function_of(operation: Any) -> str | None:
    """The function that a layer or operation applies last, or `None`."""
    if isinstance(operation, keras.Layer):
        return own_function(operation)
    return operation_function(operation)


def has_function(layer: Any) -> bool:
    """Whether a layer of Keras is or can have a function."""
    return is_function_alone(layer) or hasattr(layer, "activation")


def normalizes(operation: Any) -> bool:
    """Whether it only shifts and scales its inputs."""
    return isinstance(operation, _NORMALIZING) and _calls_as_keras(operation)


def is_function_alone(operation: Any) -> bool:
    """Whether it applies a function to its inputs and nothing else."""
    if isinstance(operation, keras.layers.Activation):
        return True
    if any(_is_a(operation, kind) for kind in _FUNCTIONS):
        return True
    if isinstance(operation, keras.Layer):
        return False
    return operation_function(operation) is not None


def passes_values(operation: Any) -> bool:
    """Whether the outputs are the inputs, moved or averaged."""
    if isinstance(operation, keras.layers.Activation):
        return own_function(operation) == "linear"
    if isinstance(operation, keras.Layer):
        return isinstance(operation, _PASSING) and (
            isinstance(operation, ActivationProbe) or _calls_as_keras(operation)
        )
    name = type(operation).__name__
    return name in _PASSING_OPERATIONS and _backend.is_of_keras(operation)


def picks_entries(operation: Any) -> bool:
    """Whether outputs are some of the inputs' entries."""
    return type(operation).__name__ in _PICKING and _backend.is_of_keras(
        operation
    )


def is_affine(operation: Any) -> bool:
    """Whether the outputs are unbounded if an input is."""
    if type(operation) is TemperatureScaling:
        return True
    return type(operation).__name__ in _AFFINE and _backend.is_of_keras(
        operation
    )


def _is_a(layer: Any, kind: type) -> bool:
    return isinstance(layer, kind) and _calls_as_keras(layer)


def _calls_as_keras(layer: Any) -> bool:
    """Whether the layer's computation is Keras' own, not that of a subclass."""
    call = inspect.unwrap(type(layer).call)
    module = getattr(call, "__module__", "").split(".")[0]
    return module in ("keras", "keras_concepts")
