"""Dense networks, and functions that combine networks."""

from typing import Any

import keras
from keras import layers

from benchmarks.doctor.data import Data
from benchmarks.doctor.recipe import Net


def inputs(data: Data) -> Any:
    dtype = "int32" if data.vocabulary else "float32"
    return keras.Input(data.x.shape[1:], dtype=dtype)


def sequential(*make: Any) -> Net:
    """Layers one after another; a function of no argument makes each."""

    def net(data: Data, head: Any) -> Any:
        return keras.Sequential(
            [inputs(data), *(layer() for layer in make), head]
        )

    return net


def mlp(
    *widths: int,
    activation: Any = "relu",
    init: Any = None,
    penalty: Any = None,
    activity: Any = None,
    norm: str = "",
    dropout: float = 0.0,
    momentum: float = 0.99,
    bias: Any = "zeros",
    scale: float = 1.0,
    adapt: bool = False,
) -> Net:
    """Dense layers, on flattened inputs.

    `norm` is `"batch"`, `"layer"`, or `"after"`: batch normalization after the
    activation.
    """

    def net(data: Data, head: Any) -> Any:
        source = x = inputs(data)
        if adapt:
            x = layers.Normalization()
            x.adapt(data.x)
            x = x(source)
        if scale != 1.0:
            x = layers.Rescaling(scale)(x)
        if len(data.x.shape) > 2:
            x = layers.Flatten()(x)
        fused = isinstance(activation, str) and norm in ("", "after")
        for width in widths:
            dense = layers.Dense(
                width,
                activation if fused else None,
                kernel_initializer=init() if callable(init) else
                init or "glorot_uniform",
                bias_initializer=bias() if callable(bias) else bias,
                kernel_regularizer=penalty,
                activity_regularizer=activity,
            )  # fmt: skip
            x = dense(x)
            if norm == "batch":
                x = layers.BatchNormalization(momentum=momentum)(x)
            elif norm == "layer":
                x = layers.LayerNormalization()(x)
            if activation is not None and not fused:
                x = (
                    layers.Activation(activation)
                    if isinstance(activation, str)
                    else activation()
                )(x)
            if norm == "after":
                x = layers.BatchNormalization(momentum=momentum)(x)
            if dropout:
                x = layers.Dropout(dropout)(x)
        return keras.Model(source, head(x))

    return net


def deep(
    depth: int, width: int = 32, activation: str = "relu", **arguments: Any
) -> Net:
    return mlp(*[width] * depth, activation=activation, **arguments)


def residual(
    blocks: int,
    width: int = 32,
    *,
    norm: str = "",
    activation: str = "relu",
    momentum: float = 0.99,
) -> Net:
    """Dense residual blocks."""

    def net(data: Data, head: Any) -> Any:
        source = x = inputs(data)
        if len(x.shape) > 2:
            x = layers.Flatten()(x)
        x = layers.Dense(width)(x)
        for _ in range(blocks):
            y = x
            if norm == "batch":
                y = layers.BatchNormalization(momentum=momentum)(y)
            elif norm == "layer":
                y = layers.LayerNormalization()(y)
            y = layers.Dense(width, activation)(y)
            y = layers.Dense(width)(y)
            x = layers.Add()([x, y])
        return keras.Model(source, head(layers.Activation(activation)(x)))

    return net


def wide_and_deep(*widths: int) -> Net:
    def net(data: Data, head: Any) -> Any:
        source = x = inputs(data)
        for width in widths:
            x = layers.Dense(width, "relu")(x)
        return keras.Model(source, head(layers.Concatenate()([source, x])))

    return net


def mixture(experts: int = 3, width: int = 16) -> Net:
    """Experts and a gate."""

    def net(data: Data, head: Any) -> Any:
        source = inputs(data)
        gate = layers.Dense(experts, "softmax")(source)
        outputs = [layers.Dense(width, "relu")(source) for _ in range(experts)]
        parts = [
            layers.Multiply()([output, gate[:, i : i + 1]])
            for i, output in enumerate(outputs)
        ]
        return keras.Model(source, head(layers.Add()(parts)))

    return net


def then(net: Net, *make: Any) -> Net:
    """Further layers after the last, such as a second softmax."""

    def longer(data: Data, head: Any) -> Any:
        model = net(data, head)
        x = model.output
        for layer in make:
            x = layer()(x)
        return keras.Model(model.input, x)

    return longer
