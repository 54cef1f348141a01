"""Labels that are to be ignored, in every form."""

import keras
import numpy as np
import pytest

from keras_concepts._labels.rows import read_rows
from keras_concepts._labels.targets import binary_targets, categorical_targets
from keras_concepts.losses import CrossEntropy
from keras_concepts.metrics import F1Score


def counted_rows(y_true, classes, ignore_class):
    scores = np.zeros((len(y_true), classes), "float32")
    rows = read_rows(
        "Thing",
        y_true,
        scores,
        None,
        None,
        labels="auto",
        axis=-1,
        ignore_class=ignore_class,
        one_class=True,
    )
    return keras.ops.convert_to_numpy(rows.weights)[:, 0].tolist()


def counted_targets(read, y_true, classes, ignore_class):
    y_pred = keras.ops.zeros((len(y_true), classes))
    labels = keras.ops.convert_to_tensor(y_true)
    found = read("Thing", labels, y_pred, -1, ignore_class)
    return keras.ops.convert_to_numpy(found.counted)[:, 0].tolist()


@pytest.mark.parametrize("ignore_class", [-1, 255])
def test_class_numbers(ignore_class):
    numbers = np.array([0, ignore_class, 2])
    expected = [1, 0, 1]
    assert counted_rows(numbers, 3, ignore_class) == expected
    assert (
        counted_targets(categorical_targets, numbers, 3, ignore_class)
        == expected
    )


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float64"])
def test_answers_of_every_dtype(dtype):
    """-1 is in no bool or uint8, and 255 is not -1."""
    answers = np.array([0, 1, 1]).astype(dtype)
    cases = ((-1, [1, 1, 1]), (float("nan"), [1, 1, 1]), (1, [1, 0, 0]))
    for ignore_class, expected in cases:
        assert counted_rows(answers, 1, ignore_class) == expected
        assert (
            counted_targets(binary_targets, answers, 1, ignore_class)
            == expected
        )
    assert counted_rows(np.array([255], "uint8"), 300, -1) == [1]


def test_distributions():
    """A metric leaves out the rows of a class; a loss has no such rows."""
    one_hot = np.eye(3)[[0, 1, 2]]
    assert counted_rows(one_hot, 3, 1) == [1, 0, 1]
    with pytest.raises(ValueError, match="one of the 3 classes"):
        counted_rows(one_hot, 3, -1)
    with pytest.raises(ValueError, match="needs class numbers"):
        counted_targets(categorical_targets, one_hot, 3, 1)


SMALL = ["int8", "uint8", "int16", "float16", "bfloat16"]


def small(numbers, dtype):
    """Class numbers in a dtype that NumPy may not know."""
    return keras.ops.cast(np.array(numbers, "int32"), dtype)


@pytest.mark.parametrize("dtype", SMALL)
@pytest.mark.parametrize("classes", [300, 70_000])
def test_more_classes_than_a_dtype_holds(dtype, classes):
    numbers = [0, 3, 44]
    random = np.random.default_rng(0)
    y_pred = random.normal(size=(3, classes)).astype("float32")
    loss = CrossEntropy(from_logits=True)
    rows = y_pred.astype("float64")
    expected = np.log(np.exp(rows).sum(axis=1)) - rows[range(3), numbers]
    found = loss(small(numbers, dtype), y_pred)
    assert float(found) == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize("dtype", SMALL)
@pytest.mark.parametrize("ignore_class", [256, 257, -129, 99_999, 2**40])
def test_ignored_number_that_a_dtype_does_not_hold(dtype, ignore_class):
    labels = small([0, 1, 100], dtype)
    assert counted_rows(labels, 300, ignore_class) == [1, 1, 1]
    found = counted_targets(categorical_targets, labels, 300, ignore_class)
    assert found == [1, 1, 1]
    answers = small([0, 1, 1], dtype)
    found = counted_targets(binary_targets, answers, 1, ignore_class)
    assert found == [1, 1, 1]


def test_neighbours_in_half_precision():
    """It cannot represent 257, but it can represent 256."""
    labels = small([256, 0], "bfloat16")
    assert counted_rows(labels, 300, 257) == [1, 1]
    assert counted_targets(categorical_targets, labels, 300, 257) == [1, 1]


@pytest.mark.parametrize("dtype", ["int8", "int16", "float16"])
def test_small_labels_in_a_compiled_step(dtype):
    """There no error can be raised, so a wrong number would be one."""
    numbers = np.array([0, 3, 44, 3])
    x = np.eye(300, dtype="float32")[[0, 3, 3, 44]]
    model = keras.Sequential([keras.Input((300,)), keras.layers.Identity()])
    model.compile(
        loss=CrossEntropy(),
        metrics=[F1Score("micro", ignore_class=256)],
        jit_compile=keras.backend.backend() == "jax",
    )
    found = model.evaluate(x, numbers.astype(dtype), verbose=0)
    expected = model.evaluate(x, numbers.astype("int32"), verbose=0)
    assert found == expected
    assert found[1] == 0.5
