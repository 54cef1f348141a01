"""Healthy programs on sequences: words, text, time series, synthetic tasks."""

from typing import Any

import keras
from keras import layers

from benchmarks.doctor import changes, data
from benchmarks.doctor.nets import (
    bag,
    causal_cnn,
    mlp,
    rnn,
    sequential,
    text_cnn,
    transformer,
)
from benchmarks.doctor.recipe import Recipe
from benchmarks.doctor.registry import healthy, variant

# Tables of programs read better in their own layout.
# fmt: off


def adam(rate: float) -> Any:
    return lambda: keras.optimizers.Adam(rate)


def clipped(rate: float) -> Any:
    return lambda: keras.optimizers.Adam(rate, clipnorm=1.0)


healthy("nouns-gru", "recurrent", Recipe(
    data.nouns, rnn("GRU", 24), optimizer=adam(5e-3), epochs=8, batch=64,
))
healthy("topics-bag", "text", Recipe(
    data.topics, bag(16), optimizer=adam(1e-2), epochs=10,
))
healthy("prose-gru", "recurrent", Recipe(
    lambda: data.prose(800, 16), rnn("GRU", 48, each_step=True),
    optimizer=adam(1e-2), epochs=10, batch=32,
))
healthy("waves-gru", "recurrent", Recipe(
    lambda: data.waves(12), rnn("GRU", 16), optimizer=adam(1e-2), epochs=10,
))
healthy("shares-mlp", "time series", Recipe(
    data.shares, mlp(32), epochs=20,
))
healthy("adding-gru", "recurrent", Recipe(
    data.adding, rnn("GRU", 24), optimizer=adam(1e-2), epochs=12,
))
healthy("recall-gru", "recurrent", Recipe(
    data.recall, rnn("GRU", 16), optimizer=adam(1e-2), epochs=10,
))
healthy("backwards-transformer", "attention", Recipe(
    data.backwards, transformer(2, 32, each_step=True), optimizer=adam(5e-3),
    epochs=14,
))

# Words.
variant("nouns-lstm", "recurrent", "nouns-gru", net=rnn("LSTM", 24))
variant("nouns-simple-rnn", "recurrent", "nouns-gru",
        net=rnn("SimpleRNN", 24), optimizer=adam(3e-3))
variant("nouns-both-ways", "recurrent", "nouns-gru",
        net=rnn("GRU", 12, both_ways=True), epochs=6)
variant("nouns-two-layers", "recurrent", "nouns-gru",
        net=rnn("GRU", 16, layers_=2), epochs=6)
variant("nouns-no-mask", "recurrent", "nouns-gru",
        net=rnn("LSTM", 20, mask=False))
variant("nouns-clipped", "recurrent", "nouns-gru", optimizer=clipped(1e-2))
variant("nouns-dropout", "recurrent", "nouns-gru",
        net=rnn("GRU", 24, dropout=0.2), epochs=8)
variant("nouns-dense", "recurrent", "nouns-gru", net=rnn("GRU", 16, dense=16))
variant("nouns-rmsprop", "recurrent", "nouns-gru", net=rnn("LSTM", 16),
        optimizer=lambda: keras.optimizers.RMSprop(5e-3))
variant("nouns-cnn", "text", "nouns-gru", net=text_cnn(32))
variant("nouns-transformer", "attention", "nouns-gru",
        net=transformer(1, 24), optimizer=adam(5e-3), epochs=8)
variant("nouns-one-hot", "text", "nouns-gru", net=sequential(
    lambda: layers.CategoryEncoding(32, "one_hot"),
    layers.Flatten,
    lambda: layers.Dense(32, "relu"),
), change=changes.inputs(lambda x: x[:, -4:]), epochs=10)
variant("nouns-flat", "text", "nouns-gru", net=sequential(
    lambda: layers.Embedding(32, 8), layers.Flatten,
    lambda: layers.Dense(32, "relu"),
), epochs=8)

# Text.
variant("topics-gru", "recurrent", "topics-bag", net=rnn("GRU", 16),
        change=changes.inputs(lambda x: x[:, :20]), epochs=6)
variant("topics-cnn", "text", "topics-bag", net=text_cnn(32), epochs=6)
variant("topics-bag-dense", "text", "topics-bag", net=bag(16, dense=16),
        epochs=8)
variant("topics-transformer", "attention", "topics-bag",
        net=transformer(1, 16), epochs=6)
variant("topics-small-embedding", "text", "topics-bag", net=bag(4),
        epochs=14)
variant("topics-multi-hot", "text", "topics-bag", net=sequential(
    lambda: layers.CategoryEncoding(402, "multi_hot"),
    lambda: layers.Dense(16, "relu"),
))
variant("prose-lstm", "recurrent", "prose-gru",
        net=rnn("LSTM", 48, each_step=True), epochs=12)
variant("prose-cnn", "text", "prose-gru", net=causal_cnn(48, 2),
        optimizer=adam(5e-3))
variant("prose-transformer", "attention", "prose-gru",
        net=transformer(1, 32, causal=True, each_step=True),
        optimizer=adam(5e-3), epochs=12)
variant("prose-transformer-first", "attention", "prose-gru",
        net=transformer(2, 32, causal=True, each_step=True, first=True),
        optimizer=adam(5e-3), epochs=12)
variant("prose-simple-rnn", "recurrent", "prose-gru",
        net=rnn("SimpleRNN", 48, each_step=True), optimizer=clipped(5e-3),
        epochs=12)

# Time series.
variant("waves-lstm", "recurrent", "waves-gru", net=rnn("LSTM", 16), epochs=14)
variant("waves-simple-rnn", "recurrent", "waves-gru",
        net=rnn("SimpleRNN", 16), optimizer=adam(5e-3))
variant("waves-cnn", "time series", "waves-gru", net=sequential(
    lambda: layers.Conv1D(16, 5, activation="relu"),
    layers.Flatten,
), epochs=12)
variant("waves-mlp", "time series", "waves-gru", net=mlp(32), epochs=14)
variant("waves-transformer", "attention", "waves-gru",
        net=transformer(1, 16), epochs=24, optimizer=adam(5e-3))
variant("waves-layer-norm", "recurrent", "waves-gru",
        net=rnn("GRU", 16, norm=True))
variant("shares-gru", "time series", "shares-mlp", net=rnn("GRU", 12),
        epochs=12, optimizer=adam(1e-2))
variant("shares-linear", "time series", "shares-mlp", net=mlp(), epochs=40)
variant("shares-lstm", "time series", "shares-mlp", net=rnn("LSTM", 12),
        epochs=16, optimizer=adam(1e-2))
variant("shares-conv", "time series", "shares-mlp", net=text_cnn(24))

# Synthetic.
variant("adding-lstm", "recurrent", "adding-gru", net=rnn("LSTM", 32),
        epochs=20)
variant("recall-lstm", "recurrent", "recall-gru", net=rnn("LSTM", 16))
variant("recall-simple-rnn", "recurrent", "recall-gru",
        net=rnn("SimpleRNN", 16), optimizer=adam(5e-3))
variant("recall-transformer", "attention", "recall-gru",
        net=transformer(1, 16))
variant("backwards-first", "attention", "backwards-transformer",
        net=transformer(2, 32, each_step=True, first=True))
variant("backwards-both-ways", "recurrent", "backwards-transformer",
        net=rnn("GRU", 24, both_ways=True, each_step=True), epochs=14,
        optimizer=adam(1e-2))
variant("recall-unrolled", "recurrent", "recall-gru",
        net=rnn("GRU", 12, unroll=True))
variant("waves-time-distributed", "recurrent", "waves-gru", net=sequential(
    lambda: layers.TimeDistributed(layers.Dense(8, "relu")),
    lambda: layers.GRU(12),
))
variant("digit-rows-both-ways", "recurrent", "digits-mlp",
        change=changes.rows_as_steps, net=rnn("LSTM", 16, both_ways=True),
        optimizer=adam(1e-2), epochs=8)
