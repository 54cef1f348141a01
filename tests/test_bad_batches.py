"""Every metric and loss, fed with what no batch should hold.

It answers with an error of its own, with NaN, or with the right number.
"""

import functools
import warnings

import keras
import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

import hostile
import keras_concepts as kc
import specimens
from test_contract import LOSSES, METRICS, label, numbers

BACKEND = keras.backend.backend()
NAN, INF = hostile.NAN, hostile.INF
CLASSES = 4
random = np.random.default_rng(0)
LABELS = random.integers(0, CLASSES, 8)
ONE_HOT = np.eye(CLASSES, dtype="int32")[LABELS]
SCORES = random.dirichlet(np.ones(CLASSES), 8).astype("float32")
WEIGHTS = random.uniform(0.5, 2.0, 8).astype("float32")
# That compare scores with probabilities.
PROBABILITIES = (kc.metrics.BrierScore, kc.metrics.CalibrationError)


def make(cls):
    """With default arguments, but such as 4 classes need."""
    needed = {
        kc.metrics.Precision: {"average": "macro"},
        kc.metrics.Recall: {"average": None},
        kc.metrics.BestThresholdFBeta: {"class_id": 1, "bins": 64},
    }
    return cls(**needed.get(cls, {}))


def values(result):
    """All numbers of a result in one array."""
    found = numbers(result)
    if isinstance(found, dict):
        found = [found[key] for key in sorted(found)]  # as JAX has them
    return np.ravel(np.asarray(found, "float64"))


def measured(component, *batch):
    if isinstance(component, keras.Loss):
        return values(component(*batch))
    component.update_state(*batch)
    return values(component.result())


def answer(cls, *batch, component=None):
    """The numbers, or `None` for an error that says what was wrong.

    A batch that is refused leaves nothing behind.
    """
    component = component or make(cls)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return measured(component, *batch)
        except (ValueError, TypeError) as error:
            ours = hostile.is_ours(error, f"`{cls.__name__}`")
            assert ours, error  # noqa: PT017
            return None


def is_no_number(found):
    return found is None or not np.isfinite(found).any()


# The others have no reading of their own; all are tried in the long form.
FEW = [kc.metrics.F1Score, kc.losses.CrossEntropy]
REST = [c for c in METRICS + LOSSES if c not in FEW]
EACH = [*FEW, *(pytest.param(c, marks=pytest.mark.long) for c in REST)]


@pytest.mark.parametrize("cls", EACH, ids=label)
class TestWhatHoldsTheNumbers:
    def test_is_no_matter(self, cls):
        plain = answer(cls, LABELS, SCORES, WEIGHTS)
        for name, held in hostile.holders(LABELS).items():
            found = answer(cls, held, SCORES, WEIGHTS)
            np.testing.assert_array_equal(found, plain, err_msg=name)
        for name, held in hostile.holders(SCORES).items():
            found = answer(cls, LABELS, held, WEIGHTS)
            np.testing.assert_allclose(found, plain, 1e-6, err_msg=name)
        for name, held in hostile.holders(WEIGHTS).items():
            found = answer(cls, LABELS, SCORES, held)
            np.testing.assert_allclose(found, plain, 1e-6, err_msg=name)
        for name, held in hostile.holders(ONE_HOT).items():
            found = answer(cls, held, SCORES, WEIGHTS)
            np.testing.assert_allclose(found, plain, 1e-6, err_msg=name)

    def test_must_hold_numbers(self, cls):
        for array in (LABELS, ONE_HOT):
            for name, held in hostile.no_numbers(array).items():
                assert answer(cls, held, SCORES) is None, name
        for name, held in hostile.no_numbers(SCORES).items():
            assert answer(cls, LABELS, held) is None, name
        for name, held in hostile.no_numbers(WEIGHTS).items():
            if held is not None:
                assert answer(cls, LABELS, SCORES, held) is None, name

    def test_of_another_shape_is_refused(self, cls):
        shapes = [(), (0,), (7,), (1, 8), (8, 3), (8, 0), (8, 4, 1), (2, 4, 4)]
        for shape in shapes:
            odd = np.zeros(shape, "float32")
            assert answer(cls, odd, SCORES) is None, shape
            if shape not in ((8, 0), (8, 3)):
                assert answer(cls, LABELS, odd) is None, shape
            if shape != ():
                assert answer(cls, LABELS, SCORES, odd) is None, shape
        assert is_no_number(answer(cls, LABELS, SCORES[:, :0]))


def with_first(array, value):
    """A float copy of which an entry of the first row, in column 1, differs."""
    array = np.array(array, "float32")
    array[(0, 1)[: array.ndim]] = value
    return array


# By name: what is wrong, and in which of labels, scores and weights.
SPOILED = {
    "class -1": (with_first(LABELS, -1), SCORES, WEIGHTS),
    "class 4 of 4": (with_first(LABELS, 4), SCORES, WEIGHTS),
    "class 2**31": (with_first(LABELS, 2.0**31), SCORES, WEIGHTS),
    "class 1e30": (with_first(LABELS, 1e30), SCORES, WEIGHTS),
    "class 0.5": (with_first(LABELS, 0.5), SCORES, WEIGHTS),
    "class NaN": (with_first(LABELS, NAN), SCORES, WEIGHTS),
    "class inf": (with_first(LABELS, INF), SCORES, WEIGHTS),
    "share -1": (with_first(ONE_HOT, -1), SCORES, WEIGHTS),
    "share 2": (with_first(ONE_HOT, 2), SCORES, WEIGHTS),
    "share NaN": (with_first(ONE_HOT, NAN), SCORES, WEIGHTS),
    "share inf": (with_first(ONE_HOT, INF), SCORES, WEIGHTS),
    "score NaN": (LABELS, with_first(SCORES, NAN), WEIGHTS),
    "weight NaN": (LABELS, SCORES, with_first(WEIGHTS, NAN)),
    "weight inf": (LABELS, SCORES, with_first(WEIGHTS, INF)),
    "weight -inf": (LABELS, SCORES, with_first(WEIGHTS, -INF)),
}
NO_PROBABILITIES = {
    "percents": (LABELS, SCORES * 100, WEIGHTS),
    "negative": (LABELS, -SCORES, WEIGHTS),
    "one above 1": (LABELS, with_first(SCORES, 7.0), WEIGHTS),
    "infinite": (LABELS, with_first(SCORES, INF), WEIGHTS),
}
# Weights that leave the range of float32, which only metrics must tell.
LOST_WEIGHTS = {
    "huge": (LABELS, SCORES, WEIGHTS * np.float32(1e38)),
    "tiny": (LABELS, SCORES, WEIGHTS * np.float32(1e-38)),
}


def spoiled(cls):
    cases = dict(SPOILED)
    if issubclass(cls, PROBABILITIES):
        cases |= NO_PROBABILITIES
    if cls in METRICS:
        cases |= LOST_WEIGHTS
    return cases


@pytest.mark.parametrize("cls", METRICS + LOSSES, ids=label)
class TestImpossibleValues:
    def test_give_no_number(self, cls):
        for name, batch in spoiled(cls).items():
            assert is_no_number(answer(cls, *batch)), name

    def test_do_not_matter_where_they_do_not_count(self, cls):
        rest = answer(cls, LABELS[1:], SCORES[1:], WEIGHTS[1:])
        for name, (y_true, y_pred, weights) in spoiled(cls).items():
            if "weight" in name or name in (*NO_PROBABILITIES, *LOST_WEIGHTS):
                continue
            found = answer(cls, y_true, y_pred, with_first(weights, 0.0))
            if cls in LOSSES:  # a mean over all rows, those of weight 0 too
                clean = answer(cls, LABELS, SCORES, with_first(WEIGHTS, 0.0))
                np.testing.assert_allclose(found, clean, 1e-5, err_msg=name)
            else:
                np.testing.assert_allclose(found, rest, 1e-5, err_msg=name)

    def test_a_refused_batch_leaves_no_trace(self, cls):
        if cls not in (kc.metrics.F1Score, kc.metrics.CalibrationError):
            return  # whose reading the others share
        component = make(cls)
        before = measured(component, LABELS, SCORES, WEIGHTS)
        for name, batch in SPOILED.items():
            if answer(cls, *batch, component=component) is None:
                after = values(component.result())
                np.testing.assert_array_equal(after, before, err_msg=name)
            else:
                component = make(cls)
                before = measured(component, LABELS, SCORES, WEIGHTS)


@functools.cache
def compiled(cls, counted):
    """The result of one batch, computed in a compiled function."""
    component = make(cls)
    if cls in LOSSES:

        def function(*batch):
            return component(*batch)

    else:
        component.update_state(LABELS, SCORES)
        component.reset_state()
        del counted

        def function(*batch):
            state = [variable.value for variable in component.variables]
            state = component.stateless_update_state(state, *batch)
            return component.stateless_result(state)

    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function)


@pytest.mark.skipif(BACKEND == "torch", reason="compiles nothing")
@pytest.mark.parametrize("cls", METRICS + LOSSES, ids=label)
def test_compiled_code_gives_nan(cls):
    """Where no error can be raised and no value is read."""
    function = compiled(cls, True)
    plain = values(function(*map(tensor, (LABELS, SCORES, WEIGHTS))))
    np.testing.assert_allclose(
        plain, answer(cls, LABELS, SCORES, WEIGHTS), 1e-5, 1e-7
    )
    for name, batch in spoiled(cls).items():
        if not name.startswith("share"):
            found = values(function(*map(tensor, batch)))
            assert not np.isfinite(found).any(), (name, found)


def tensor(array):
    return keras.ops.convert_to_tensor(array, "float32")


def expected_scores(labels, chosen, scores, weights):
    """What scikit-learn gives for a batch, by the names of our classes."""
    classes = range(scores.shape[1])
    given = {"sample_weight": weights}
    averaged = {"labels": classes, "average": "macro", "zero_division": 0}
    one_hot = np.eye(len(classes))[labels]
    return {
        "F1Score": sk.f1_score(labels, chosen, **given, **averaged),
        "Precision": sk.precision_score(labels, chosen, **given, **averaged),
        "MatthewsCorrelation": sk.matthews_corrcoef(labels, chosen, **given),
        "ConfusionMatrix": sk.confusion_matrix(
            labels, chosen, labels=classes, **given
        ),
        "BrierScore": np.average(
            ((scores - one_hot) ** 2).sum(axis=1), weights=weights
        ),
    }


def expected_losses(labels, scores, weights):
    rows = np.arange(len(labels))
    scores = scores / scores.sum(axis=1, keepdims=True)
    losses = -np.log(np.maximum(scores[rows, labels], 1e-30))
    return {"CrossEntropy": np.mean(weights * losses)}


@st.composite
def batches(draw, rows=None, classes=None):
    rows = rows or draw(st.integers(1, 12))
    classes = classes or draw(st.integers(2, 5))
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = seed.integers(0, classes, rows)
    concentration = draw(st.sampled_from([0.01, 1.0, 100.0]))
    scores = seed.dirichlet(np.full(classes, concentration), rows)
    scores = np.maximum(scores.astype("float16"), 6e-8).astype("float64")
    scale = draw(st.sampled_from([1e-24, 1.0, 1e24]))
    weights = seed.choice([0.0, 0.5, 1.0, 3.0], rows)
    weights[0] = 1.0
    return {
        "labels": labels,
        "scores": scores,
        "weights": weights * scale,
        "scale": scale,
        "one_hot": draw(st.booleans()),
        "score_dtype": draw(st.sampled_from(["float16", "float32", "float64"])),
        "weight_dtype": draw(st.sampled_from(["float32", "float64"])),
    }


def check_against_scikit_learn(batch):
    labels, scores = batch["labels"], batch["scores"]
    weights = batch["weights"]
    y_true = np.eye(scores.shape[1])[labels] if batch["one_hot"] else labels
    y_pred = scores.astype(batch["score_dtype"])
    given = weights.astype(batch["weight_dtype"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = expected_scores(
            labels,
            y_pred.argmax(axis=1),
            scores,
            weights / batch["scale"],
        )
    for name, wanted in expected.items():
        options = {"F1Score": ("macro",)}.get(name, ())
        named = {"average": "macro"} if name == "Precision" else {}
        metric = getattr(kc.metrics, name)(*options, **named)
        metric.update_state(y_true, y_pred, given)
        found = np.asarray(numbers(metric.result()))
        if name == "ConfusionMatrix":
            found = found / batch["scale"]
        np.testing.assert_allclose(found, wanted, 1e-4, 2e-6, err_msg=name)
    losses = expected_losses(labels, scores, weights / batch["scale"])
    for name, wanted in losses.items():
        found = numbers(getattr(kc.losses, name)()(y_true, y_pred, given))
        np.testing.assert_allclose(found / batch["scale"], wanted, 1e-3, 1e-5)


# Of one shape, since JAX compiles for each.
@settings(max_examples=15)
@given(batches(8, 4))
def test_numbers_are_those_of_scikit_learn(batch):
    check_against_scikit_learn(batch)


@pytest.mark.long
@settings(max_examples=2000)
@given(batches())
def test_numbers_of_many_batches(batch):
    check_against_scikit_learn(batch)


ENTRIES = [0.0, 1.0, 0.5, -1.0, 2.0, 3.0, 4.0, 1e-40, 1e30, -1e30, NAN, INF]


@st.composite
def anything(draw):
    """Labels, scores and weights of any small shape, values and dtype."""

    def array():
        rank = draw(st.integers(0, 3))
        shape = [draw(st.sampled_from([3, 3, 4, 0, 1, 2])) for _ in range(rank)]
        seed = np.random.default_rng(draw(st.integers(0, 999)))
        pool = draw(st.lists(st.sampled_from(ENTRIES), min_size=1, max_size=3))
        dtype = draw(st.sampled_from(["float32", "float16", "int32", "bool"]))
        with np.errstate(invalid="ignore", over="ignore"):
            return seed.choice(pool, shape).astype(dtype)

    likely = [
        (LABELS, SCORES),
        (ONE_HOT, SCORES),
        (LABELS[:3], SCORES[:3]),
    ]
    y_true, y_pred = draw(st.sampled_from(likely))
    which = draw(st.sampled_from(["y_true", "y_pred", "weights", "all"]))
    weights = None
    if which in ("y_true", "all"):
        y_true = array()
    if which in ("y_pred", "all"):
        y_pred = array()
    if which in ("weights", "all"):
        weights = array()
    return y_true, y_pred, weights


def check_anything(classes, batch):
    """An error of ours, NaN, or a number that can be."""
    for cls in classes:
        for component in (make(cls), cls(**specimens.ARGUMENTS[cls])):
            found = answer(cls, *batch, component=component)
            weights = batch[2]
            if found is None or (weights is not None and (weights < 0).any()):
                continue
            if cls in METRICS and cls is not kc.metrics.ConfusionMatrix:
                known = found[~np.isnan(found)]
                # Sigmoids of several classes: an error of 1 for each.
                most = SCORES.shape[1] if cls is kc.metrics.BrierScore else 2
                assert ((known >= -1.0001) & (known <= most + 1e-4)).all(), cls


def test_predictions_of_no_class_are_refused():
    for cls in METRICS + LOSSES:
        for rows in (3, 0):
            scores = np.zeros((rows, 0), "float32")
            assert answer(cls, np.zeros(rows, "float32"), scores) is None, cls
            assert answer(cls, scores, scores) is None, cls


OTHERS = [pytest.param(x, marks=pytest.mark.long) for x in [(2, 0), (0, 2, 2)]]


@pytest.mark.parametrize("rows", [(0,), *OTHERS])
def test_no_rows_at_all(rows):
    """An error of ours, or what the component gives of nothing."""
    scores = np.zeros((*rows, CLASSES), "float32")
    for cls in METRICS + LOSSES:
        for component in (make(cls), cls(**specimens.ARGUMENTS[cls])):
            for labels in (scores, np.zeros(rows, "float32")):
                for weights in (None, np.zeros(rows, "float32")):
                    batch = labels, scores, weights
                    _ = answer(cls, *batch, component=component)


@pytest.mark.filterwarnings("ignore:invalid value|overflow")
@settings(max_examples=10)
@given(batch=anything())
def test_anything(batch):
    check_anything(FEW, batch)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:invalid value|overflow")
@pytest.mark.parametrize("cls", METRICS + LOSSES, ids=label)
@settings(max_examples=1000)
@given(batch=anything())
def test_anything_often(cls, batch):
    check_anything([cls], batch)
