import keras
import numpy as np
import pytest
from keras import layers, losses, ops

from keras_concepts.instruments.data.constant_loss import (
    constant_losses,
    objective_constant_loss,
)
from keras_concepts.instruments.data.labels import label_form
from keras_concepts.instruments.data.perfect_loss import perfect_loss
from keras_concepts.instruments.heads import heads_of
from keras_concepts.losses import CrossEntropy, FocalCrossEntropy

RANDOM = np.random.default_rng(0)
CLASSES = RANDOM.choice(3, 500, p=[0.6, 0.3, 0.1])
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
ANSWERS = (RANDOM.random((500, 1)) < 0.2).astype("float32")
NUMBERS = RANDOM.gamma(2.0, size=(500, 1)).astype("float32")
WEIGHTS = RANDOM.random(500).astype("float32") * 2


def found(loss, y, units, weights=None, batch_size=None, shape=(4,), of=None):
    model = keras.Sequential([keras.Input(shape), layers.Dense(units)])
    model.compile("sgd", loss)
    [head] = heads_of(model, y=y)
    form = label_form(y, head.facts)
    return constant_losses(
        head.loss, head.facts, y, form, weights, batch_size, of
    )


def computed(*args, **options):
    return found(*args, **options)[:2]


def entropy(p, axis=-1):
    p = np.asarray(p, "float64")
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(axis)


def shares(weights=None):
    return np.average(np.eye(3)[CLASSES], axis=0, weights=weights)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize(
    ("kind", "y"),
    [
        (losses.SparseCategoricalCrossentropy, CLASSES),
        (losses.SparseCategoricalCrossentropy, CLASSES[:, None]),
        (losses.CategoricalCrossentropy, ONE_HOT),
        (CrossEntropy, CLASSES),
        (CrossEntropy, ONE_HOT),
    ],
)
def test_classes(kind, y, from_logits):
    constant, uniform = computed(kind(from_logits=from_logits), y, 3)
    assert constant == pytest.approx(entropy(shares()), rel=1e-4)
    assert uniform == pytest.approx(np.log(3), rel=1e-4)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("columns", [1, 3])
def test_answers(from_logits, columns):
    y = ANSWERS if columns == 1 else (ONE_HOT + ANSWERS > 0).astype("int32")
    p = y.mean(axis=0)
    loss = losses.BinaryCrossentropy(from_logits=from_logits)
    constant, uniform = computed(loss, y, columns)
    expected = entropy(np.stack([p, 1 - p], -1)).mean()
    assert constant == pytest.approx(expected, rel=1e-4)
    assert uniform == pytest.approx(np.log(2), rel=1e-4)
    if columns == 1:
        assert computed(loss, y[:, 0], 1)[0] == constant


def test_numbers():
    y = NUMBERS
    assert computed("mse", y, 1) == (pytest.approx(y.var(), rel=1e-4), None)
    spread = np.abs(y - np.median(y)).mean()
    assert computed("mae", y, 1)[0] == pytest.approx(spread, rel=1e-4)
    assert computed("mse", y[:, 0], 1)[0] == computed("mse", y, 1)[0]
    table = np.concatenate([y, 100 * y], axis=1)
    expected = table.var(axis=0).mean()
    assert computed("mse", table, 2)[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["msle", "mape", "huber", "log_cosh"])
def test_the_best_number_by_trying(name):
    loss = losses.get(name)
    tried = [
        float(ops.mean(loss(NUMBERS, np.full_like(NUMBERS, c))))
        for c in np.linspace(0.01, 6, 200)
    ]
    assert computed(name, NUMBERS, 1)[0] <= min(tried) * 1.05
    assert computed(name, NUMBERS, 1)[0] >= min(tried) * 0.95


def test_sequences():
    y = CLASSES.reshape(50, 10)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    constant, uniform = computed(loss, y, 3, shape=(None, 4))
    assert constant == pytest.approx(entropy(shares()), rel=1e-4)
    assert uniform == pytest.approx(np.log(3), rel=1e-4)
    weights = WEIGHTS.reshape(50, 10)
    weighted = computed(loss, y, 3, weights, shape=(None, 4))[0]
    expected = entropy(shares(WEIGHTS)) * WEIGHTS.mean()
    assert weighted == pytest.approx(expected, rel=1e-4)


def test_weights_divide_as_in_keras():
    y, w = CLASSES, WEIGHTS
    expected = entropy(shares(w)) * w.mean()
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    assert computed(loss, y, 3, w)[0] == pytest.approx(expected, rel=1e-4)
    loss = losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )
    expected = entropy(shares(w))
    assert computed(loss, y, 3, w)[0] == pytest.approx(expected, rel=1e-4)
    exact = NUMBERS[:, 0].astype("float64")
    mean = np.average(exact, weights=w)
    expected = (w * (exact - mean) ** 2).mean()
    assert computed("mse", NUMBERS, 1, w)[0] == pytest.approx(
        expected, rel=1e-4
    )
    order = np.argsort(exact)
    half = np.cumsum(w[order]).searchsorted(w.sum() / 2)
    expected = (w * np.abs(exact - exact[order][half])).mean()
    assert computed("mae", NUMBERS, 1, w)[0] == pytest.approx(
        expected, rel=1e-3
    )


def test_a_sum_is_that_of_a_batch():
    loss = losses.MeanSquaredError(reduction="sum")
    constant, _ = computed(loss, NUMBERS, 1, batch_size=32)
    assert constant == pytest.approx(32 * NUMBERS.var(), rel=1e-4)
    assert computed(loss, NUMBERS, 1) == (None, None)


def test_label_smoothing():
    loss = losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3)
    smooth = shares() * 0.7 + 0.1
    constant, _ = computed(loss, ONE_HOT, 3)
    assert constant == pytest.approx(entropy(smooth), rel=1e-4)


def test_ignored_labels():
    y = np.concatenate([CLASSES, np.full(250, -1)])
    loss = CrossEntropy(from_logits=True, ignore_class=-1)
    assert computed(loss, y, 3)[0] == pytest.approx(entropy(shares()), rel=1e-4)


@pytest.mark.parametrize("name", ["hinge", "squared_hinge"])
def test_hinges(name):
    rare = ANSWERS.mean()
    constant, _ = computed(name, ANSWERS, 1)
    if name == "hinge":
        assert constant == pytest.approx(2 * rare, rel=1e-4)
    else:  # the mean of labels of -1 and 1
        assert constant == pytest.approx(4 * rare * (1 - rare), rel=1e-4)


def test_all_labels_of_a_class_count():
    y = np.sort(RANDOM.choice(3, 30_000, p=[0.6, 0.3, 0.1]))
    constant, _ = computed(
        losses.SparseCategoricalCrossentropy(from_logits=True), y, 3
    )
    expected = entropy(np.bincount(y) / len(y))
    assert constant == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("share", [0.03, 0.001])
def test_rare_answers_are_all_counted(share):
    y = (np.random.default_rng(1).random(20_000) < share).astype("int32")
    loss = losses.BinaryCrossentropy(from_logits=True)
    expected = entropy([y.mean(), 1 - y.mean()])
    assert computed(loss, y, 1)[0] == pytest.approx(expected, rel=1e-3)


WORDS = 1 / np.arange(1, 5001)  # Zipf's law
WORDS /= WORDS.sum()


@pytest.mark.parametrize("units", [500, 5000])  # a row per class; closed form
@pytest.mark.parametrize("from_logits", [False, True])
def test_words(units, from_logits):
    p = WORDS[:units] / WORDS[:units].sum()
    y = np.random.default_rng(0).choice(units, (700, 32), p=p)
    loss = losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    constant, uniform = computed(loss, y, units, shape=(32, 4))
    expected = entropy(np.bincount(y.ravel()) / y.size)
    assert constant == pytest.approx(expected, rel=1e-4)
    assert uniform == pytest.approx(np.log(units), rel=1e-4)
    weights = np.random.default_rng(0).random(700) * 2
    sums = np.bincount(y.ravel(), np.repeat(weights, 32), units)
    expected = entropy(sums / sums.sum()) * weights.mean()
    weighted = computed(loss, y, units, weights, shape=(32, 4))[0]
    assert weighted == pytest.approx(expected, rel=1e-4)


def test_many_classes_of_a_loss_without_a_closed_form_are_unknown():
    y = np.arange(5000)
    loss = FocalCrossEntropy(from_logits=True)
    assert computed(loss, y, 5000) == (None, None)


@pytest.mark.parametrize("rows", [50, 500])
def test_words_of_which_few_were_seen(rows):
    y = np.random.default_rng(0).choice(5000, (rows, 16), p=WORDS)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    seen = found(loss, y, 5000, shape=(16, 4))
    part = found(loss, y, 5000, shape=(16, 4), of=np.inf)
    assert seen.error == 0.0 < part.error
    assert seen.best < part.best - 2 * part.error
    assert part.best == pytest.approx(entropy(WORDS), abs=2 * part.error)
    half = found(loss, y, 5000, shape=(16, 4), of=2 * rows)
    assert seen.best < half.best < part.best


@pytest.mark.parametrize("name", ["mse", "mae"])
def test_numbers_of_which_few_were_seen(name):
    draws = np.random.default_rng(0).normal(size=(200, 300, 1))
    errors = [found(name, y, 1, of=np.inf) for y in draws[:20]]
    spread = np.std(
        [np.var(y) if name == "mse" else np.abs(y).mean() for y in draws]
    )
    assert np.mean([each.error for each in errors]) == pytest.approx(
        spread, rel=0.2
    )


def test_answers_of_which_few_were_seen():
    loss = losses.BinaryCrossentropy(from_logits=True)
    p = ANSWERS.mean()
    slope = np.log((1 - p) / p) * np.sqrt(p * (1 - p) / len(ANSWERS))
    part = found(loss, ANSWERS, 1, of=np.inf)
    assert part.error == pytest.approx(slope, rel=1e-3)


def fails(y_true, y_pred):
    raise RuntimeError


def own(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def test_losses_of_somebodys_own():
    assert computed(fails, NUMBERS, 1) == (None, None)
    spread = np.abs(NUMBERS - np.median(NUMBERS)).mean()
    assert computed(own, NUMBERS, 1)[0] == pytest.approx(spread, rel=1e-4)
    focal = FocalCrossEntropy(from_logits=True)
    constant, uniform = computed(focal, CLASSES, 3)
    assert 0 < constant <= uniform


def test_labels_that_do_not_fit():
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    assert computed(loss, CLASSES + 5, 3)[0] is None
    assert computed(loss, np.array(["a", "b"]), 3) == (None, None)
    assert computed(loss, CLASSES[:0], 3) == (None, None)
    assert computed("mse", np.array([np.nan, np.nan]), 1)[0] is None


def test_the_objective():
    heads = [{"loss_weight": None}, {"loss_weight": 0.5}]
    targets = [{"constant_loss": 2.0}, {"constant_loss": 3.0}]
    assert objective_constant_loss(heads, targets) == 3.5
    targets[1]["constant_loss"] = None
    assert objective_constant_loss(heads, targets) is None
    assert objective_constant_loss(heads, []) is None


def perfect(loss, y, units, shape=(4,)):
    model = keras.Sequential([keras.Input(shape), layers.Dense(units)])
    model.compile("sgd", loss)
    [head] = heads_of(model, y=y)
    return perfect_loss(head.loss, head.facts, y, label_form(y, head.facts))


@pytest.mark.parametrize("from_logits", [False, True])
def test_perfect_loss_of_probabilities_is_their_entropy(from_logits):
    y = RANDOM.uniform(0.05, 0.95, (300, 2)).astype("float32")
    expected = entropy(np.stack([y, 1 - y], -1)).mean()
    loss = losses.BinaryCrossentropy(from_logits=from_logits)
    assert perfect(loss, y, 2) == pytest.approx(expected, rel=1e-4)


def test_perfect_loss_of_smoothed_labels():
    smooth = ONE_HOT * 0.9 + 0.1 / 3
    loss = losses.CategoricalCrossentropy(label_smoothing=0.1, from_logits=True)
    expected = entropy(smooth).mean()
    assert perfect(loss, ONE_HOT, 3) == pytest.approx(expected, rel=1e-4)


def test_perfect_loss_of_counts():
    y = RANDOM.poisson(5.0, (300, 1)).astype("float32")
    expected = (y - y * np.log(y + 1e-7)).mean()
    assert perfect("poisson", y, 1) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "y", "units"),
    [
        ("mse", NUMBERS, 1),
        ("binary_crossentropy", ANSWERS, 1),
        ("sparse_categorical_crossentropy", CLASSES, 3),
        ("categorical_crossentropy", ONE_HOT, 3),
        (lambda y, y_pred: ops.mean(ops.abs(y - y_pred)), NUMBERS, 1),
    ],
)
def test_perfect_loss_of_others_is_zero(loss, y, units):
    assert perfect(loss, y, units) == 0.0
