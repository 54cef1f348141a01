"""Networks for images."""

from typing import Any

import keras
from keras import layers

from benchmarks.doctor.data import Data
from benchmarks.doctor.nets.dense import inputs
from benchmarks.doctor.recipe import Net


def cnn(
    *filters: int,
    activation: str = "relu",
    norm: bool = False,
    momentum: float = 0.99,
    pool: str = "max",
    dense: int = 0,
    dropout: float = 0.0,
    init: Any = None,
    penalty: Any = None,
    kernel: int = 3,
) -> Net:
    """Convolutions with pooling, then dense layers.

    `pool` is `"max"`, `"average"`, `"stride"`, or `"global"`: no flattening.
    """

    def net(data: Data, head: Any) -> Any:
        source = x = inputs(data)
        if len(x.shape) == 2:
            side = round(x.shape[-1] ** 0.5)
            x = layers.Reshape((side, side, 1))(x)
        for count in filters:
            x = layers.Conv2D(
                count,
                kernel,
                strides=2 if pool == "stride" else 1,
                padding="same",
                activation=None if norm else activation,
                kernel_initializer=init() if callable(init) else
                init or "glorot_uniform",
                kernel_regularizer=penalty,
            )(x)  # fmt: skip
            if norm:
                x = layers.BatchNormalization(momentum=momentum)(x)
                x = layers.Activation(activation)(x)
            if pool in ("max", "global"):
                x = layers.MaxPooling2D()(x)
            elif pool == "average":
                x = layers.AveragePooling2D(2)(x)
        x = (
            layers.GlobalAveragePooling2D()
            if pool == "global"
            else layers.Flatten()
        )(x)
        if dense:
            x = layers.Dense(dense, activation)(x)
        if dropout:
            x = layers.Dropout(dropout)(x)
        return keras.Model(source, head(x))

    return net


def separable(*filters: int) -> Net:
    def net(data: Data, head: Any) -> Any:
        source = x = inputs(data)
        x = layers.Conv2D(filters[0], 3, activation="relu")(x)
        for count in filters[1:]:
            x = layers.SeparableConv2D(count, 3, padding="same")(x)
            x = layers.BatchNormalization(momentum=0.9)(x)
            x = layers.ReLU()(x)
        return keras.Model(source, head(layers.GlobalMaxPooling2D()(x)))

    return net


def residual_cnn(
    blocks: int, filters: int = 8, *, norm: bool = True, momentum: float = 0.9
) -> Net:
    def net(data: Data, head: Any) -> Any:
        source = x = inputs(data)
        x = layers.Conv2D(filters, 3, padding="same")(x)
        for _ in range(blocks):
            y = x
            for _ in range(2):
                if norm:
                    y = layers.BatchNormalization(momentum=momentum)(y)
                y = layers.ReLU()(y)
                y = layers.Conv2D(filters, 3, padding="same")(y)
            x = layers.MaxPooling2D()(layers.Add()([x, y]))
        return keras.Model(source, head(layers.GlobalAveragePooling2D()(x)))

    return net


def autoencoder(
    *widths: int, activation: str = "relu", dropout: float = 0.0
) -> Net:
    """Dense encoder and its mirror image; the head outputs the pixels."""

    def net(data: Data, head: Any) -> Any:
        source = x = inputs(data)
        x = layers.Flatten()(x)
        if dropout:
            x = layers.Dropout(dropout)(x)
        for width in (*widths, *widths[-2::-1]):
            x = layers.Dense(width, activation)(x)
        if len(data.y.shape) > 2:
            size = 1
            for side in data.y.shape[1:]:
                size *= side
            x = layers.Dense(size, head.activation)(x)
            return keras.Model(source, layers.Reshape(data.y.shape[1:])(x))
        return keras.Model(source, head(x))

    return net


def image_autoencoder(filters: int = 8, activation: str = "relu") -> Net:
    def net(data: Data, head: Any) -> Any:
        source = inputs(data)
        x = layers.Conv2D(filters, 3, 2, "same", activation=activation)(source)
        x = layers.Conv2D(filters, 3, 2, "same", activation=activation)(x)
        for _ in range(2):
            x = layers.Conv2DTranspose(
                filters, 3, 2, "same", activation=activation
            )(x)
        return keras.Model(
            source,
            layers.Conv2D(
                data.y.shape[-1], 3, padding="same", activation=head.activation
            )(x),
        )

    return net
