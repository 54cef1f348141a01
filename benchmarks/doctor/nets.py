"""Networks, as people write them; each function gives a `Net` for a recipe."""

from typing import Any

import keras
from keras import layers, ops

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
        for width in widths:
            dense = layers.Dense(
                width,
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
            if activation is not None:
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
                x = layers.AveragePooling2D()(x)
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


def rnn(
    cell: str = "GRU",
    units: int = 24,
    *,
    layers_: int = 1,
    embedding: int = 16,
    mask: bool = True,
    both_ways: bool = False,
    each_step: bool = False,
    dense: int = 0,
    norm: bool = False,
    **arguments: Any,
) -> Net:
    """Recurrent layers, after an embedding where the inputs are integers."""

    def net(data: Data, head: Any) -> Any:
        source = x = inputs(data)
        if data.vocabulary:
            x = layers.Embedding(data.vocabulary, embedding, mask_zero=mask)(x)
        for index in range(layers_):
            sequences = each_step or index < layers_ - 1
            layer = getattr(layers, cell)(
                units, return_sequences=sequences, **arguments
            )
            x = layers.Bidirectional(layer)(x) if both_ways else layer(x)
            if norm:
                x = layers.LayerNormalization()(x)
        if dense:
            x = layers.Dense(dense, "relu")(x)
        return keras.Model(source, head(x))

    return net


def text_cnn(filters: int = 32, width: int = 3, embedding: int = 16) -> Net:
    def net(data: Data, head: Any) -> Any:
        source = inputs(data)
        x = source
        if data.vocabulary:
            x = layers.Embedding(data.vocabulary, embedding)(x)
        x = layers.Conv1D(filters, width, activation="relu", padding="same")(x)
        return keras.Model(source, head(layers.GlobalMaxPooling1D()(x)))

    return net


def causal_cnn(filters: int = 32, depth: int = 2, embedding: int = 16) -> Net:
    """At each position a prediction from those before it."""

    def net(data: Data, head: Any) -> Any:
        source = x = inputs(data)
        if data.vocabulary:
            x = layers.Embedding(data.vocabulary, embedding)(x)
        for power in range(depth):
            x = layers.Conv1D(
                filters,
                3,
                padding="causal",
                dilation_rate=2**power,
                activation="relu",
            )(x)
        return keras.Model(source, head(x))

    return net


def bag(embedding: int = 16, dense: int = 0, mask: bool = True) -> Net:
    def net(data: Data, head: Any) -> Any:
        source = inputs(data)
        x = layers.Embedding(data.vocabulary, embedding, mask_zero=mask)(source)
        x = layers.GlobalAveragePooling1D()(x)
        if dense:
            x = layers.Dense(dense, "relu")(x)
        return keras.Model(source, head(x))

    return net


class Positions(layers.Layer):
    """Adds a learned vector for each position."""

    def build(self, input_shape: Any) -> None:
        self.table = self.add_weight(
            shape=tuple(input_shape[1:]), initializer="random_normal"
        )

    def call(self, x: Any) -> Any:
        return x + ops.expand_dims(self.table, 0)


def transformer(
    blocks: int = 1,
    width: int = 24,
    *,
    heads: int = 2,
    causal: bool = False,
    each_step: bool = False,
    first: bool = False,
    dropout: float = 0.0,
    positions: bool = True,
) -> Net:
    """Attention and dense layers; `first`: normalization comes first."""

    def net(data: Data, head: Any) -> Any:
        source = x = inputs(data)
        if data.vocabulary:
            x = layers.Embedding(data.vocabulary, width)(x)
        else:
            x = layers.Dense(width)(x)
        if positions:
            x = Positions()(x)
        for _ in range(blocks):
            y = layers.LayerNormalization()(x) if first else x
            y = layers.MultiHeadAttention(
                heads, width // heads, dropout=dropout
            )(y, y, use_causal_mask=causal)
            x = layers.Add()([x, y])
            y = layers.LayerNormalization()(x)
            x = x if first else y
            y = layers.Dense(2 * width, "gelu")(y)
            y = layers.Dense(width)(y)
            x = layers.Add()([x, y])
            if not first:
                x = layers.LayerNormalization()(x)
        if not each_step:
            x = layers.GlobalAveragePooling1D()(x)
        return keras.Model(source, head(x))

    return net


def autoencoder(
    *widths: int, activation: str = "relu", dropout: float = 0.0
) -> Net:
    """Dense encoder and its mirror image; the head gives the pixels."""

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


def before(net: Net, *make: Any) -> Net:
    """Layers before the network, such as a wrong rescaling."""

    def longer(data: Data, head: Any) -> Any:
        model = net(data, head)
        source = x = inputs(data)
        for layer in make:
            x = layer()(x)
        return keras.Model(source, model(x))

    return longer
