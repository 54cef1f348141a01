import pytest

from keras_concepts.rules import labels
from rule_facts import (
    binary,
    classes,
    found,
    head,
    numbers,
    regression,
    run,
)


@pytest.mark.parametrize(
    ("given", "target", "variants"),
    [
        (head(), classes(), []),
        (head(), classes(min=1, max=10), ["range"]),  # counted from 1
        (head(units=11, shape=[None, 11]), classes(min=1, max=10), []),
        (head(), classes(min=-1), ["range"]),
        (head(), classes(form="real", max=0.9, min=0.0), ["fractions"]),
        # Of no row, nothing is known.
        (head(), classes(form="real", mean=None, min=None, max=None), []),
        (head(), classes(shape=[1]), []),
        (head(), classes(shape=[10], form="one_hot", max=1), ["form"]),
        (
            head(loss="CategoricalCrossentropy"),
            classes(shape=[10], form="one_hot", max=1),
            [],
        ),
        # The actions of a policy, times their advantages; 0 and 255.
        *(
            (
                head(loss="CategoricalCrossentropy"),
                classes(
                    shape=[10],
                    form="real",
                    min=-1.5,
                    max=2.0,
                    one_per_row=one,
                    distinct=count,
                ),
                variants,
            )
            for one, count, variants in (
                (True, 3, []),
                (True, 2, ["range"]),
                (False, 900, ["range"]),
            )
        ),
        (head(loss="CategoricalCrossentropy"), classes(), ["form"]),
        (head(loss="CategoricalCrossentropy"), classes(shape=[1]), ["form"]),
        # Our own takes either.
        (head(loss="CrossEntropy"), classes(), []),
        (head(loss="mine", kind="other"), classes(max=99), []),
        # Class numbers of each pixel.
        (
            head(shape=[None, 8, 8, 10]),
            classes(shape=[8, 8]),
            [],
        ),
        (binary(), classes(form="binary", max=1), []),
        (
            binary(),
            classes(form="probabilities", max=1.0 + 0.5 * labels._TOLERANCE),
            [],
        ),
        (
            binary(),
            classes(form="real", max=1.0 + 2.0 * labels._TOLERANCE),
            ["range"],
        ),
        (binary(), classes(form="sparse", min=-1, max=1), ["range"]),
        (binary(), classes(max=2), ["range"]),
        (binary(loss="Hinge", from_logits=None), classes(min=-1, max=1), []),
        (regression(), numbers(), []),
        (regression(), numbers(shape=[]), []),  # Keras adds the axis
        (
            regression(units=3, shape=[None, 3]),
            numbers(shape=[1]),
            ["broadcast"],
        ),
        (regression(), numbers(shape=[12]), ["broadcast"]),
        (regression(shape=[None, 12, 1]), numbers(shape=[12]), []),
        (regression(shape=[None, 4]), numbers(shape=[3]), []),  # an error
    ],
)
def test_label_mismatch(given, target, variants):
    assert found("label_mismatch", run([given], [], [target])) == variants


def test_labels_that_the_loss_leaves_out():
    config = {"class": "SparseCategoricalCrossentropy", "config": {}}
    config["config"]["ignore_class"] = -1
    recording = run([head()], [], [classes(min=-1)], loss=config)
    assert found("label_mismatch", recording) == []
    config["config"]["ignore_class"] = 255
    recording = run([head()], [], [classes(max=255)], loss={"out": [config]})
    assert found("label_mismatch", recording) == []
    recording = run([head()], [], [classes(max=254)], loss=config)
    assert found("label_mismatch", recording) == ["range"]


def test_weighted_labels_need_harm():
    fit = {"sample_weight": True}
    targets = [classes(min=-1)]
    recording = run([head()], [], targets, [0.1] * 10, fit=fit)
    assert found("label_mismatch", recording) == []
    recording = run([head()], [], targets, [2.3] * 10, fit=fit)
    assert found("label_mismatch", recording) == ["range"]
