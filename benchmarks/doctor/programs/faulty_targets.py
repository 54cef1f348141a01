"""Faulty targets and numbers: degenerate, and accuracies that mislead."""

import numpy as np

from benchmarks.doctor import changes, expected
from benchmarks.doctor.registry import faulty

# Tables of programs read better in their own layout.
# fmt: off

# The wrong column: all targets are the same.
for _name, _sane, _function in (
    ("digits-all-zero", "digits-mlp", np.zeros_like),
    ("mnist-cnn-all-zero", "mnist-cnn", np.zeros_like),
    ("cancer-all-one", "cancer-mlp", np.ones_like),
    ("friedman-all-alike", "friedman-mlp", lambda y: np.zeros_like(y) + 3.0),
    ("boston-divided-as-integers", "boston-mlp",
     lambda y: np.zeros_like(y)),
    ("nouns-all-zero", "nouns-gru", np.zeros_like),
    ("digit-columns-lost", "digit-columns-mlp", np.zeros_like),
    ("waves-all-alike", "waves-gru", lambda y: np.ones_like(y)),
):
    faulty(_name, "degenerate target", expected.DEGENERATE
           , _sane,
           change=changes.targets(_function))


# An accuracy that is high because most entries are 0, or most rows.
_change = changes.chain(changes.one_hot, changes.shuffle_targets)
for _name, _sane in (
    ("digits-binary-accuracy", "digits-one-hot"),
    ("mnist-binary-accuracy", "mnist-mlp"),
    ("digits-cnn-binary-accuracy", "digits-cnn"),
):
    faulty(_name, "misleading accuracy", expected.METRIC
           | expected.SHUFFLED, _sane, loss="binary_crossentropy",
           head="sigmoid", metrics=("binary_accuracy",), change=_change,
           epochs=10)
for _name, _sane, _change in (
    ("rare-digit-accuracy", "rare-digit-mlp", changes.rare(1, 0.02)),
    ("topics-accuracy", "topics-bag", changes.rare(1, 0.02)),
):
    faulty(_name, "misleading accuracy", expected.METRIC | expected.COLLAPSE,
           _sane, epochs=10, change=_change,
           metrics=("accuracy",))
