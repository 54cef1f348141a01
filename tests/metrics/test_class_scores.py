"""F-beta, precision and recall are scikit-learn's, for every form of input."""

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from keras_concepts.metrics import (
    BalancedAccuracy,
    BrierScore,
    CalibrationError,
    ClassificationReport,
    CohenKappa,
    ConfusionMatrix,
    F1Score,
    FBetaScore,
    MatthewsCorrelation,
    Precision,
    Recall,
)

AVERAGES = [None, "micro", "macro", "weighted"]
# Few sizes: JAX compiles every operation again for each shape.
SPLITS = [(8, 4), (4, 8), (4, 4, 4)]
# Fractions that float32 holds exactly.
WEIGHTS = st.integers(1, 64).map(lambda weight: weight / 16)

common = settings(max_examples=60)


def streamed(metric, y_true, y_pred, weights=None, split=(12,)):
    start = 0
    for size in split:
        part = slice(start, start + size)
        metric.update_state(
            y_true[part],
            y_pred[part],
            None if weights is None else weights[part],
        )
        start += size
    return keras.ops.convert_to_numpy(metric.result())


def make(score, average, **options):
    """Our metric and scikit-learn's function of the same score."""
    if score == "precision":
        metric = Precision(average=average, **options)
        return metric, oracle.precision_score
    if score == "recall":
        return Recall(average=average, **options), oracle.recall_score
    if "thresholds" in options:
        options["threshold"] = options.pop("thresholds")
    metric = FBetaScore(average, beta=float(score), **options)
    return metric, lambda *a, **k: oracle.fbeta_score(*a, beta=score, **k)


@st.composite
def multiclass(draw):
    classes = draw(st.sampled_from([2, 5]))
    # Labels and predictions leave classes out often enough.
    numbers = st.lists(st.integers(0, classes - 1), min_size=12, max_size=12)
    y_true = np.array(draw(numbers))
    predicted = np.array(draw(numbers))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    y_pred = random.random((12, classes)).astype("float32")
    y_pred[np.arange(12), predicted] += 1
    weights = draw(
        st.none() | st.lists(WEIGHTS, min_size=12, max_size=12).map(np.array)
    )
    return classes, y_true, predicted, y_pred, weights


@common
@given(
    multiclass(),
    st.sampled_from(["precision", "recall", 1.0, 0.5, 2.0]),
    st.sampled_from(AVERAGES),
    st.sampled_from(["(n,)", "(n, 1)", "one-hot", "float"]),
    st.sampled_from(["skip", "zero"]),
    st.sampled_from([0.0, 1.0, np.nan]),
    st.sampled_from(SPLITS),
)
def test_one_class_a_row(
    data, score, average, form, absent, zero_division, split
):
    classes, y_true, predicted, y_pred, weights = data
    metric, reference = make(
        score, average, absent=absent, zero_division=zero_division
    )
    given_labels = {
        "(n,)": y_true,
        "(n, 1)": y_true[:, None],
        "one-hot": np.eye(classes, dtype="int32")[y_true],
        "float": np.eye(classes, dtype="float32")[y_true],
    }[form]
    labels = range(classes)
    if absent == "skip" and average == "macro":
        labels = None
    expected = reference(
        y_true,
        predicted,
        labels=labels,
        average=average,
        sample_weight=weights,
        zero_division=zero_division,
    )
    found = streamed(metric, given_labels, y_pred, weights, split)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@common
@given(
    st.integers(0, 999),
    st.sampled_from(["precision", "recall", 1.0, 2.0]),
    st.sampled_from([*AVERAGES, "samples"]),
    st.sampled_from([0.5, 0.25, [0.25, 0.5, 0.75]]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 1.0, np.nan]),
    st.sampled_from(SPLITS),
)
def test_several_classes_a_row(
    seed, score, average, threshold, weighted, logits, zero_division, split
):
    random = np.random.default_rng(seed)
    y_true = random.random((12, 3)) < random.random(3)
    # No probability that rounding could bring to the other side.
    probabilities = (random.integers(0, 16, (12, 3)) + 0.5) / 16
    weights = random.integers(1, 9, 12) / 4 if weighted else None
    if score in ("precision", "recall") and isinstance(threshold, list):
        threshold = 0.5
    metric, reference = make(
        score,
        average,
        thresholds=threshold,
        from_logits=logits,
        zero_division=zero_division,
    )
    y_pred = probabilities
    if logits:
        y_pred = np.log(probabilities / (1 - probabilities))
    expected = reference(
        y_true,
        probabilities > threshold,
        average=average,
        sample_weight=weights,
        zero_division=zero_division,
    )
    found = streamed(metric, y_true, y_pred, weights, split)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@settings(max_examples=30)
@given(multiclass(), st.integers(-1, 4), st.sampled_from(AVERAGES))
def test_ignored_class(data, ignored, average):
    classes, y_true, predicted, y_pred, weights = data
    y_true = np.where(y_true == classes - 1, ignored, y_true)
    kept = y_true != ignored
    assume(kept.any())  # scikit-learn refuses empty input
    expected = oracle.f1_score(
        y_true[kept],
        predicted[kept],
        labels=range(classes),
        average=average,
        sample_weight=None if weights is None else weights[kept],
        zero_division=0,
    )
    metric = F1Score(average, ignore_class=ignored)
    found = streamed(metric, y_true, y_pred, weights, (8, 4))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("average", AVERAGES)
def test_class_ids_choose_and_order(average):
    random = np.random.default_rng(0)
    y_true, y_pred = random.integers(0, 4, 12), random.random((12, 4))
    expected = oracle.f1_score(
        y_true, y_pred.argmax(1), labels=[3, 1], average=average
    )
    found = streamed(F1Score(average, class_ids=[3, 1]), y_true, y_pred)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_class_ids_with_samples():
    random = np.random.default_rng(0)
    y_true, y_pred = random.random((12, 4)) > 0.4, random.random((12, 4))
    expected = oracle.f1_score(
        y_true, y_pred > 0.5, labels=[3, 1], average="samples", zero_division=0
    )
    metric = F1Score("samples", threshold=0.5, class_ids=[3, 1])
    np.testing.assert_allclose(
        streamed(metric, y_true, y_pred), expected, rtol=1e-5
    )


class TestTopK:
    random = np.random.default_rng(0)
    y_pred = random.permutation(12 * 5).reshape(12, 5) / 60
    several = random.random((12, 5)) > 0.5
    one = random.integers(0, 5, 12)

    def chosen(self, k):
        ranks = np.argsort(np.argsort(-self.y_pred, axis=1), axis=1)
        return ranks < k

    @pytest.mark.parametrize("average", [*AVERAGES, "samples"])
    @pytest.mark.parametrize("k", [1, 2])
    def test_several_classes_a_row(self, average, k):
        expected = oracle.f1_score(
            self.several, self.chosen(k), average=average, zero_division=0
        )
        found = streamed(F1Score(average, top_k=k), self.several, self.y_pred)
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_class_numbers(self):
        expected = oracle.recall_score(
            np.eye(5)[self.one], self.chosen(2), average="micro"
        )
        metric = Recall(top_k=2, average="micro")
        assert streamed(metric, self.one, self.y_pred) == pytest.approx(
            expected
        )

    def test_with_a_threshold(self):
        expected = oracle.f1_score(
            self.several, self.chosen(3) & (self.y_pred > 0.5), average="macro"
        )
        metric = F1Score("macro", threshold=0.5, top_k=3)
        assert streamed(metric, self.several, self.y_pred) == pytest.approx(
            expected
        )


class TestShapes:
    """Rows may lie along any axes."""

    random = np.random.default_rng(0)
    y_true = random.integers(0, 3, (4, 6))
    y_pred = random.random((4, 6, 3)).astype("float32")
    expected = oracle.f1_score(
        y_true.ravel(), y_pred.argmax(-1).ravel(), average="macro"
    )

    @pytest.mark.parametrize("form", ["(n, t)", "(n, t, 1)", "one-hot"])
    def test_sequences(self, form):
        labels = {
            "(n, t)": self.y_true,
            "(n, t, 1)": self.y_true[..., None],
            "one-hot": np.eye(3)[self.y_true],
        }[form]
        metric = F1Score("macro")
        metric.update_state(labels, self.y_pred)
        assert float(metric.result()) == pytest.approx(self.expected)

    @pytest.mark.parametrize("form", ["(n, t)", "(n, 1, t)", "one-hot"])
    def test_classes_first(self, form):
        labels = {
            "(n, t)": self.y_true,
            "(n, 1, t)": self.y_true[:, None],
            "one-hot": np.moveaxis(np.eye(3)[self.y_true], -1, 1),
        }[form]
        metric = F1Score("macro", axis=1)
        metric.update_state(labels, np.moveaxis(self.y_pred, -1, 1))
        assert float(metric.result()) == pytest.approx(self.expected)

    @pytest.mark.parametrize(
        "shape", [(), (4,), (4, 1), (4, 6), (1, 6), (4, 6, 1), (4, 1, 1)]
    )
    def test_weights(self, shape):
        weights = np.random.default_rng(1).integers(1, 9, shape) / 4
        full = np.broadcast_to(
            weights.reshape(shape + (1,) * (2 - len(shape)))
            if len(shape) < 3
            else weights[..., 0],
            (4, 6),
        )
        expected = oracle.f1_score(
            self.y_true.ravel(),
            self.y_pred.argmax(-1).ravel(),
            average="macro",
            sample_weight=full.ravel(),
        )
        metric = F1Score("macro")
        metric.update_state(self.y_true, self.y_pred, weights)
        assert float(metric.result()) == pytest.approx(expected)

    @pytest.mark.parametrize("form", ["(n,)", "(n, 1)"])
    @pytest.mark.parametrize("pred", ["(n,)", "(n, 1)"])
    def test_one_column(self, form, pred):
        random = np.random.default_rng(0)
        y_true, y_pred = random.integers(0, 2, 12), random.random(12)
        expected = oracle.f1_score(y_true, y_pred > 0.5)
        for metric in (F1Score("macro"), F1Score("macro", from_logits=True)):
            scores = y_pred - 0.5 if metric.from_logits else y_pred
            metric.update_state(
                y_true if form == "(n,)" else y_true[:, None],
                scores if pred == "(n,)" else scores[:, None],
            )
            assert float(metric.result()) == pytest.approx(expected)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
    def test_dtypes_of_predictions(self, dtype):
        if dtype == "float64":
            y_pred = self.y_pred.astype(dtype)
        else:
            y_pred = keras.ops.cast(self.y_pred, dtype)
        rounded = keras.ops.convert_to_numpy(keras.ops.cast(y_pred, "float32"))
        expected = oracle.f1_score(
            self.y_true.ravel(), rounded.argmax(-1).ravel(), average="macro"
        )
        metric = F1Score("macro")
        metric.update_state(self.y_true, y_pred)
        assert float(metric.result()) == pytest.approx(expected)

    def test_soft_labels_count_in_part(self):
        metric = F1Score()
        metric.update_state([[0.75, 0.25], [0.5, 0.5]], [[0.9, 0.1]] * 2)
        found = keras.ops.convert_to_numpy(metric.result())
        np.testing.assert_allclose(found, [2 * 1.25 / (1.25 + 2), 0])

    @pytest.mark.parametrize(
        ("true", "pred", "weights"),
        [
            ((4,), (5, 3), None),
            ((5, 2), (5, 3), None),
            ((5, 3, 1), (5, 3), None),
            ((4, 6), (4, 6), (4, 6)),
            ((4,), (4, 6, 3), None),
            ((4, 6), (4, 6, 3), (6,)),
            ((5,), (5, 3), (5, 3)),
            ((5,), (5, 3), (4,)),
            ((5,), (5, 3), (1, 5)),
        ],
    )
    def test_shapes_that_do_not_fit(self, true, pred, weights):
        weights = None if weights is None else np.ones(weights)
        with pytest.raises(ValueError, match="`F1Score`"):
            F1Score().update_state(
                np.zeros(true, "int32"), np.zeros(pred), weights
            )

    def test_labels_option(self):
        y_true, y_pred = np.zeros((5, 3)), np.zeros((5, 3))
        with pytest.raises(ValueError, match="labels='sparse'"):
            F1Score(labels="sparse").update_state(y_true, y_pred)
        with pytest.raises(ValueError, match="labels='dense'"):
            F1Score(labels="dense").update_state(y_true[:, 0], y_pred)

    def test_number_of_classes_is_fixed(self):
        metric = F1Score(num_classes=4)
        with pytest.raises(ValueError, match="num_classes=4"):
            metric.update_state(np.zeros(5), np.zeros((5, 3)))
        assert tuple(metric.result().shape) == (4,)
        with pytest.raises(ValueError, match="Call `update_state` first"):
            F1Score().result()


def test_first_of_equal_scores_is_predicted():
    metric = F1Score()
    y_pred = np.zeros((2, 300), "float32")
    y_pred[1, [70, 150, 299]] = 1e-12  # far below Keras' 1e-9
    metric.update_state(np.array([0, 70]), y_pred)
    found = keras.ops.convert_to_numpy(metric.result())
    assert found[0] == found[70] == found.sum() / 2 == 1


@pytest.mark.parametrize("classes", [127, 128, 129, 255, 256, 300, 5000])
def test_largest_score_among_many(classes):
    """The search by blocks finds every place, the last ones included."""
    places = np.unique(np.r_[0, 1, np.arange(0, classes, 37), classes - 1])
    y_pred = np.random.default_rng(0).random((len(places), classes))
    y_pred[np.arange(len(places)), places] = 2
    metric = F1Score("micro")
    metric.update_state(places, y_pred.astype("float32"))
    assert float(metric.result()) == 1


BY_CLASS = [
    BalancedAccuracy,
    ClassificationReport,
    CohenKappa,
    ConfusionMatrix,
    F1Score,
    MatthewsCorrelation,
]
OTHERS = [BrierScore, CalibrationError, lambda: Precision(class_id=0)]


class TestOtherClassesThanBefore:
    """Counts of four classes hold none of three, and no error is broadcast."""

    @staticmethod
    def batch(columns):
        numbers = np.arange(12) % max(columns, 2)
        if columns == 1:
            return numbers[:, None], np.full((12, 1), 0.25, "float32")
        return numbers, np.eye(columns, dtype="float32")[numbers]

    @staticmethod
    def words(columns):
        return "a single column" if columns == 1 else f"{columns} classes"

    @pytest.mark.parametrize("make", BY_CLASS)
    @pytest.mark.parametrize(
        ("first", "then"), [(5, 3), (3, 5), (4, 1), (1, 4), (2, 1), (1, 2)]
    )
    def test_of_metrics_that_count_classes(self, make, first, then):
        metric = make()
        metric.update_state(*self.batch(first))
        message = f"`{make.__name__}`.*{self.words(then)}.*{self.words(first)}"
        for _ in range(2):
            with pytest.raises(ValueError, match=message):
                metric.update_state(*self.batch(then))
            metric.reset_state()
        metric.update_state(*self.batch(first))

    @pytest.mark.parametrize("make", OTHERS)
    def test_of_metrics_that_do_not(self, make):
        metric, alone = make(), make()
        y_true, y_pred = self.batch(4)
        if isinstance(metric, Precision):
            y_true = y_pred
        metric.update_state(y_true, y_pred)
        fewer = y_pred[:, :3]
        labels = fewer if isinstance(metric, Precision) else y_true % 3
        with pytest.raises(ValueError, match=r"3 classes.*4 classes"):
            metric.update_state(labels, fewer)
        # Nothing of the other classes is left.
        metric.reset_state()
        for each in (metric, alone):
            each.update_state(labels, fewer)
        assert float(metric.result()) == float(alone.result())

    def test_one_metric_for_two_outputs(self):
        inputs = keras.Input((2,))
        outputs = {
            name: keras.layers.Dense(units, "softmax", name=name)(inputs)
            for name, units in (("a", 3), ("b", 4))
        }
        model = keras.Model(inputs, outputs)
        shared = F1Score("macro", name="f1")
        model.compile(
            "sgd",
            dict.fromkeys("ab", "sparse_categorical_crossentropy"),
            metrics={"a": [shared], "b": [shared]},
        )
        labels = np.zeros(4, "int32")
        with pytest.raises(ValueError, match=r"`F1Score`.*4 cl.*3 cl"):
            model.fit(np.zeros((4, 2)), {"a": labels, "b": labels}, verbose=0)

    def test_entries_may_come_in_any_number(self):
        """Of `Precision` as in Keras, each entry is a decision on its own."""
        metric = Precision()
        metric.update_state([[0, 1, 1]], [[0.9, 0.9, 0.9]])
        metric.update_state([[1]], [[0.9]])
        assert float(metric.result()) == pytest.approx(3 / 4)


@pytest.mark.parametrize("cls", [Precision, Recall])
@pytest.mark.parametrize("class_id", [3, 5, -1])
@pytest.mark.parametrize("average", ["binary", "macro"])
@pytest.mark.parametrize("top_k", [None, 1])
def test_class_id_that_is_no_class(cls, class_id, average, top_k):
    metric = cls(class_id=class_id, average=average, top_k=top_k)
    with pytest.raises(ValueError, match=rf"class_id.*{class_id}"):
        metric.update_state(np.eye(3, dtype="int32"), np.eye(3))
