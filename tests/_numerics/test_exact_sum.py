"""Totals stay exact where float32 and int32 do not."""

import keras
import numpy as np
import pytest

from keras_concepts import _backend
from keras_concepts._numerics.exact_sum import ExactSum
from keras_concepts._numerics.words import total_of
from keras_concepts.metrics import BrierScore, F1Score

pytestmark = pytest.mark.optimized


@pytest.fixture(autouse=True, params=["float64", "words"])
def state(request, monkeypatch):
    """Each way to keep totals that a backend has."""
    if request.param == "float64":
        if not _backend.has_float64():
            pytest.skip("without float64")
    elif keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow always has float64")
    else:
        monkeypatch.setattr(_backend, "has_float64", lambda: False)


class Total(keras.Metric):
    def __init__(self):
        super().__init__(name="total")
        self.total = ExactSum(self, "total", (2,))

    def update_state(self, sums):
        self.total.add([(0, keras.ops.convert_to_tensor(sums)[None])])

    def words(self):
        words = keras.ops.convert_to_numpy(self.total.words).astype("float64")
        return words.sum(axis=0)


def compiled(metric):
    """`update_state` as one compiled function, run many times."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(metric.update_state, jit_compile=True)
    if keras.backend.backend() == "jax":
        import jax

        step = jax.jit(metric.stateless_update_state)

        def update(*arguments):
            state = step([v.value for v in metric.variables], *arguments)
            for variable, new in zip(metric.variables, state, strict=True):
                variable.assign(new)

        return update
    return metric.update_state


@pytest.mark.parametrize("compile_it", [False, True])
@pytest.mark.parametrize(
    ("amounts", "times"),
    [
        ((1.0, 3.0), 2_000),
        ((1e-9, 0.1), 2_000),
        ((2.0**25, 2.0**25 + 4), 200),
        ((16_777_216.0, 16_777_215.0), 500),
    ],
)
def test_floats(amounts, times, compile_it):
    metric = Total()
    add = compiled(metric) if compile_it else metric.update_state
    amounts = np.array(amounts, "float32")
    tensor = keras.ops.convert_to_tensor(amounts)
    for _ in range(times):
        add(tensor)
    expected = amounts.astype("float64") * times
    np.testing.assert_allclose(metric.words(), expected, rtol=1e-12)


@pytest.mark.parametrize("compile_it", [False, True])
def test_integers_beyond_2_to_the_31(compile_it):
    metric = Total()
    add = compiled(metric) if compile_it else metric.update_state
    amounts = keras.ops.convert_to_tensor([2_000_000_011, 1], dtype="int32")
    for _ in range(300):
        add(amounts)
    np.testing.assert_array_equal(metric.words(), [300 * 2_000_000_011, 300])


def test_large_and_small_mixed():
    """A total of 2**39 still counts every single one."""
    metric = Total()
    metric.update_state(np.array([2.0**39, 0.0], "float32"))
    for _ in range(1000):
        metric.update_state(np.array([1.0, 1.0], "float32"))
    np.testing.assert_array_equal(metric.words(), [2**39 + 1000, 1000])


@pytest.mark.parametrize("compile_it", [False, True])
def test_negative_and_small(compile_it):
    """Nothing is lost below 0, and on the way through it."""
    metric = Total()
    add = compiled(metric) if compile_it else metric.update_state
    expected = np.zeros(2)
    for factor in (-1, -3e6, 0.7, 3e6, 1e-9, -7e4, 65_536):
        amounts = np.array([0.02 / 128, 0.1], "float32") * np.float32(factor)
        add(keras.ops.convert_to_tensor(amounts))
        expected += amounts
        np.testing.assert_allclose(metric.words(), expected, rtol=1e-9)


def test_negative_weights():
    metric = BrierScore()
    scores = np.array([[0.9, 0.1]], "float32")
    metric.update_state(np.array([0]), scores, np.array([-1 / 128], "float32"))
    assert float(metric.result()) == pytest.approx(0.02, rel=1e-5)


def test_words_of_replicas_add_up():
    metrics = [Total() for _ in range(3)]
    for number, metric in enumerate(metrics):
        for _ in range(100):
            metric.update_state(np.array([65_000.5 + number, 0.25], "float32"))
    merged = Total()
    merged.variables[0].assign(sum(m.variables[0].value for m in metrics))
    expected = [100 * (3 * 65_000.5 + 3), 75]
    np.testing.assert_array_equal(merged.words(), expected)
    merged.update_state(np.array([0.5, 1.0], "float32"))
    np.testing.assert_array_equal(
        merged.words(), [expected[0] + 0.5, expected[1] + 1]
    )
    words = keras.ops.convert_to_numpy(merged.total.words)
    if len(words) == 3:
        high, low, _ = words
        assert (low < 2**16).all()
        assert (high == merged.words() // 2**16 * 2**16).all()


def test_reset():
    metric = Total()
    metric.update_state(np.array([1e6, 0.1], "float32"))
    metric.reset_state()
    assert not metric.words().any()


def test_value_in_float64():
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64")
    metric = Total()
    metric.update_state(np.array([2.0**39, 1.0], "float32"))
    metric.update_state(np.array([1.0, 2.0**-20], "float32"))
    found = keras.ops.convert_to_numpy(total_of(metric.total.words, "float64"))
    assert found.tolist() == [2**39 + 1, 1 + 2**-20]


class TestSumsOfABatch:
    """Within one batch too, nothing is lost."""

    random = np.random.default_rng(0)

    def exactly(self, sums):
        if not isinstance(sums, tuple):
            return keras.ops.convert_to_numpy(sums).astype("float64")
        return sum(
            keras.ops.convert_to_numpy(part).astype("float64") for part in sums
        )

    @pytest.mark.parametrize("rows", [1, 1000, 1 << 18])
    @pytest.mark.parametrize("scale", [1e-9, 0.1, 2.0**25])
    def test_segments(self, rows, scale):
        # Of one size, so that rounding would always go one way; and one entry
        # that dwarfs the others.
        values = np.full(rows, scale, "float32")
        values[0] *= 1000
        segments = self.random.integers(0, 3, rows).astype("int32")
        expected = [
            values[segments == s].sum(dtype="float64") for s in range(3)
        ]
        found = _backend.segment_sums(
            keras.ops.convert_to_tensor(values),
            keras.ops.convert_to_tensor(segments),
            3,
        )
        np.testing.assert_allclose(self.exactly(found), expected, rtol=1e-9)

    @pytest.mark.parametrize("rows", [1, 1 << 16])
    def test_columns(self, rows):
        values = (self.random.random((rows, 3)) * [1e-9, 1, 1e9]).astype(
            "float32"
        )
        found = _backend.column_sums(keras.ops.convert_to_tensor(values))
        expected = values.sum(axis=0, dtype="float64")
        np.testing.assert_allclose(self.exactly(found), expected, rtol=1e-9)

    def test_small_weights_beside_large_ones(self):
        segments = np.arange(1000, dtype="int32") % 2
        values = np.where(segments, 2.0**25, 1e-9).astype("float32")
        found = _backend.segment_sums(
            keras.ops.convert_to_tensor(values),
            keras.ops.convert_to_tensor(segments),
            2,
        )
        expected = [500 * float(values[0]), 500 * 2.0**25]
        np.testing.assert_allclose(self.exactly(found), expected, rtol=1e-9)

    def test_integers(self):
        values = keras.ops.ones((1000,), "int32")
        segments = np.arange(1000, dtype="int32") % 5
        found = _backend.segment_sums(
            values, keras.ops.convert_to_tensor(segments), 5
        )
        np.testing.assert_array_equal(self.exactly(found), [200] * 5)
        assert keras.backend.standardize_dtype(found.dtype) == "int32"

    def test_no_rows(self):
        for dtype in ("int32", "float32"):
            found = _backend.segment_sums(
                keras.ops.zeros((0,), dtype), keras.ops.zeros((0,), "int32"), 2
            )
            assert self.exactly(found).tolist() == [0, 0]


@pytest.mark.parametrize("compile_it", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_few_rows_of_many_classes(compile_it, weighted):
    """Only the totals that change are touched, repeated ones once."""
    random = np.random.default_rng(0)
    metric = F1Score(num_classes=20_000)
    update = compiled(metric) if compile_it else metric.update_state
    expected = np.zeros(20_000)
    for _ in range(5):
        labels = random.choice([0, 7, 7, 19_999, 3], 8).astype("int32")
        weights = np.where(labels == 7, 0.1, 2.0**25).astype("float32")
        scores = np.zeros((8, 20_000), "float32")
        found = labels != 3
        scores[np.arange(8), np.where(found, labels, 0)] = 1
        batch = [labels, scores, weights][: 2 + weighted]
        update(*map(keras.ops.convert_to_tensor, batch))
        each = weights.astype("float64") if weighted else np.ones(8)
        np.add.at(expected, labels[found], each[found])
    found = keras.ops.convert_to_numpy(metric.true_positives)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_24_million_rows():
    rows = 1 << 20
    y_true = np.zeros(rows, "int32")
    y_true[: rows // 10] = 1
    y_pred = np.zeros((rows, 2), "float32")
    y_pred[:, 0] = 1
    y_pred[: rows // 20] = [0, 1]
    metric = F1Score()
    for _ in range(24):
        metric.update_state(y_true, y_pred)
    hits = np.array([rows - rows // 10, rows // 20]) * 24
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(metric.true_positives), hits
    )
    misses = 24 * (rows // 10 - rows // 20)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(metric.result()),
        2 * hits / (2 * hits + misses),
        rtol=1e-6,
    )
