"""The lines of code in findings are right."""

import pathlib
import re

import numpy as np
import pytest

import keras_concepts.rules
from keras_concepts.rules.heads import loss_code
from keras_concepts.rules.updates import (
    _OF_KERAS,
    learning_rate,
    optimizer_code,
)
from rule_facts import (
    STUCK,
    binary,
    classes,
    entry,
    findings,
    head,
    numbers,
    regression,
    run,
    training,
)


def executed(name, recording, **names):
    """What the code of the only finding of a rule makes of some names."""
    (finding,) = findings(name, recording)
    names["np"] = np
    exec(finding.code, names)
    return names


@pytest.mark.parametrize(
    ("given", "y"),
    [
        (head(units=2, shape=[None, 2]), [-1, 1, 1]),
        (head(units=2, shape=[None, 2]), [[-5], [9], [9]]),
        (binary(), [-1, 1, 1]),
        (binary(), [1, 2, 2]),
        (binary(), [0, 255, 255]),
    ],
)
def test_labels_become_0_and_1(given, y):
    target = classes(min=np.min(y), max=np.max(y), form="sparse", distinct=2)
    names = executed(
        "label_mismatch", run([given], [], [target]), y=np.array(y)
    )
    assert names["y"].ravel().tolist() == [0, 1, 1]
    assert names["y"].shape == np.shape(y)


def test_more_units_keep_the_activation():
    (finding,) = findings(
        "label_mismatch", run([head()], [], [classes(max=10)])
    )
    assert finding.code == 'keras.layers.Dense(11, activation="softmax")'


@pytest.mark.parametrize("shape", [(), (12,)])
def test_targets_get_the_shape_of_the_output(shape):
    given = regression(loss="mine", kind="other", shape=[None, *shape, 1])
    recording = run(
        [given],
        [],
        [numbers(shape=list(shape))],
        [1.0] * 10,
        loss={"class": "mine", "config": {}},
    )
    names = executed("label_mismatch", recording, y=np.zeros((5, *shape)))
    assert names["y"].shape == (5, *shape, 1)


def test_rows_that_are_not_finite_are_removed():
    x, y = np.zeros((4, 2, 3)), np.arange(4.0)
    x[1, 0, 0], x[2, 1, 1] = np.nan, np.inf
    recording = run([head()], [entry(non_finite=2)], [classes()])
    names = executed("non_finite", recording, x=x, y=y)
    assert names["x"].shape == (2, 2, 3)
    assert names["y"].tolist() == [0.0, 3.0]


def test_class_weights_are_balanced():
    target = classes(shares=[0.7, 0.2, 0.1])
    given = head(units=3, shape=[None, 3])
    weights = {"class_weight": {"0": 1.0, "1": 0.001, "2": 0.001}}
    recording = run([given], [], [target], STUCK, fit=weights)
    y = np.repeat([0, 1, 2], [7, 2, 1])
    found = executed("class_weights", recording, y=y)["class_weight"]
    assert list(found) == [0, 1, 2]
    totals = np.bincount(y) * list(found.values())
    np.testing.assert_allclose(totals, len(y) / 3)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"class": "SGD"}, "keras.optimizers.SGD(learning_rate=5e-02)"),
        ({"class": "Mine"}, "Mine(learning_rate=5e-02)"),
        (None, "keras.optimizers.Adam(learning_rate=5e-02)"),
    ],
)
def test_an_optimizer(facts, code):
    t = training(run([head()], [], [classes()], optimizer=facts))
    assert optimizer_code(t, 0.05) == code


def test_loss_scaling_wraps_the_optimizer():
    inner = {"class_name": "SGD", "config": {"learning_rate": 0.5}}
    facts = {
        "class": "LossScaleOptimizer",
        "config": {"inner_optimizer": inner},
    }
    t = training(run([head()], [], [classes()], optimizer=facts))
    assert learning_rate(t) == 0.5
    assert optimizer_code(t, 0.05, ", clipnorm=1.0") == (
        "keras.optimizers.SGD(learning_rate=5e-02, clipnorm=1.0)"
    )


def test_a_loss_of_this_package():
    assert loss_code("CrossEntropy", from_logits=True) == (
        "loss=kc.losses.CrossEntropy(from_logits=True)"
    )


def test_names_exist():
    keras = pytest.importorskip("keras")
    import keras_concepts as kc

    folder = pathlib.Path(keras_concepts.rules.__file__).parent
    named = set()
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        named |= set(re.findall(r"\b(?:keras|kc)(?:\.\w+)+", text))
    named |= {f"keras.optimizers.{x}" for x in _OF_KERAS if x != "Muon"}
    assert "keras.layers.Dense" in named
    for name in sorted(named):
        first, *rest = name.split(".")
        part = keras if first == "keras" else kc
        for each in rest:
            assert hasattr(part, each), name
            part = getattr(part, each)
