"""Faulty sequences: memory that is too short, padding read as data."""

import dataclasses
from typing import Any

import keras
from keras import layers

from benchmarks.doctor import changes, data, expected
from benchmarks.doctor.nets import rnn, sequential, transformer
from benchmarks.doctor.recipe import Recipe
from benchmarks.doctor.registry import RECIPES, faulty, healthy

# Tables of programs read better in their own layout.
# fmt: off


def adam(rate: float) -> Any:
    return lambda: keras.optimizers.Adam(rate)


# Too long for the memory. The sane ones carry the first step to the end.
for _lag in (40, 60):
    healthy(f"recall-{_lag}-first", "attention", Recipe(
        lambda lag=_lag: data.recall(lag, 800), transformer(1, 16),
        optimizer=adam(5e-3), epochs=12))
healthy("adding-40", "attention", Recipe(
    lambda: data.adding(40, 1000), transformer(1, 24), optimizer=adam(5e-3),
    epochs=20))
for _name, _sane, _net, _arguments in (
    ("recall-40-simple-rnn", "recall-40-first",
     rnn("SimpleRNN", 16, recurrent_initializer="glorot_uniform"), {}),
    ("recall-40-small-recurrent", "recall-40-first",
     rnn("SimpleRNN", 16, recurrent_initializer={
         "class_name": "RandomNormal", "config": {"stddev": 0.05}}), {}),
    ("recall-60-gru", "recall-60-first", rnn("GRU", 16), {}),
    ("recall-60-lstm", "recall-60-first",
     rnn("LSTM", 16, unit_forget_bias=False), {}),
    ("recall-60-sigmoid-rnn", "recall-60-first",
     rnn("SimpleRNN", 16, activation="sigmoid"), {}),
    ("adding-40-simple-rnn", "adding-40",
     rnn("SimpleRNN", 16, recurrent_initializer="glorot_uniform"), {}),
    ("adding-40-lstm", "adding-40", rnn("LSTM", 16, unit_forget_bias=False),
     {"optimizer": adam(1e-3)}),
    ("recall-40-two-layers", "recall-40-first",
     rnn("LSTM", 12, layers_=2, unit_forget_bias=False), {"epochs": 8}),
):
    faulty(_name, "short memory", expected.MEMORY, _sane, net=_net,
           **_arguments)

# Zeros after the end that are not masked.
for _name, _sane, _net, _steps in (
    ("nouns-padded-gru", "nouns-gru", rnn("GRU", 24, mask=False), 60),
    ("nouns-padded-lstm", "nouns-lstm", rnn("LSTM", 24, mask=False), 50),
    ("recall-padded-lstm", "recall-lstm", rnn("LSTM", 16), 60),
    ("adding-padded", "adding-gru", rnn("GRU", 24), 60),
    ("topics-padded-gru", "topics-gru", rnn("GRU", 16, mask=False), 60),
    ("recall-padded", "recall-gru", rnn("GRU", 16), 60),
):
    _before = RECIPES[_sane].change
    _pad = changes.pad_after(_steps)
    faulty(_name, "padding", expected.MASK, _sane, net=_net,
           change=changes.chain(_before, _pad) if _before else _pad)


# A layer in between drops the mask.
def lost_mask(d: Any, head: Any) -> Any:
    source = keras.Input(d.x.shape[1:], dtype="int32")
    x = layers.Embedding(d.vocabulary, 16, mask_zero=True)(source)
    x = layers.Reshape((d.x.shape[1], 16))(x)
    return keras.Model(source, head(layers.GRU(24)(x)))


for _name, _sane, _steps in (
    ("nouns-lost-mask", "nouns-gru", 60),
    ("topics-lost-mask", "topics-gru", 60),
):
    _before = RECIPES[_sane].change
    _pad = changes.pad_after(_steps)
    faulty(_name, "padding", expected.MASK, _sane, net=lost_mask,
           change=changes.chain(_before, _pad) if _before else _pad)


# The order that matters is discarded, or the wrong end is kept.
def cut(d: data.Data) -> data.Data:
    """The first letters of the words, which say little."""
    return dataclasses.replace(d, x=d.x[:, :2] * 0, x_test=d.x_test[:, :2] * 0)


faulty("nouns-cut-off", "empty inputs", expected.CONSTANT_INPUT
       | expected.MEMORY, "nouns-gru", change=cut)
faulty("backwards-no-positions", "no positions", expected.WEAK
       | expected.POSITIONS | frozenset({"short_memory"}),
       "backwards-transformer",
       net=transformer(2, 32, each_step=True, positions=False))
faulty("backwards-one-way", "no positions", expected.WEAK
       | frozenset({"short_memory"}), "backwards-transformer",
       net=rnn("SimpleRNN", 8, each_step=True))
faulty("adding-bag", "no positions", expected.WEAK
       | frozenset({"short_memory"}), "adding-gru", net=sequential(
           layers.GlobalAveragePooling1D))
