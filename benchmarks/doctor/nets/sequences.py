"""Networks for sequences."""

from typing import Any

import keras
from keras import layers, ops

from benchmarks.doctor.data import Data
from benchmarks.doctor.nets.dense import inputs
from benchmarks.doctor.recipe import Net


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
    """A prediction at each position, from those before it."""

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
