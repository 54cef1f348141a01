import keras
import numpy as np
import pytest
from keras import layers

import keras_concepts as kc
from batch_norms import moments
from keras_concepts.layers import ActivationProbe

PROBE = ActivationProbe
X = np.random.default_rng(0).normal(size=(25, 12)).astype("float32")
Y = X[:, :3].argmax(axis=1)


def numpy(variables):
    return [keras.ops.convert_to_numpy(v).copy() for v in variables]


def assert_seen(probe, batches, masks=None, rtol=1e-5):
    """The statistics are those of all rows of the batches, in float64."""
    found = probe.statistics()
    units = batches[0].shape[-1]
    rows = np.concatenate(
        [
            b.reshape(-1, units) if masks is None else b[m]
            for b, m in zip(batches, masks or batches, strict=True)
        ]
    ).astype("float64")
    n, mean, variance = moments(rows)
    np.testing.assert_array_equal(found.entries, n)
    np.testing.assert_allclose(found.mean, mean, rtol=rtol, atol=1e-7)
    np.testing.assert_allclose(found.std, np.sqrt(variance), rtol=rtol)
    rms = np.sqrt((rows**2).mean(axis=0))
    np.testing.assert_allclose(found.rms, rms, rtol=rtol)
    np.testing.assert_allclose(found.zero_share, (rows == 0).mean(axis=0))
    np.testing.assert_array_equal(found.dead, (rows == 0).all(axis=0))


class TestStatistics:
    def batches(self, shape=(7, 4), count=5, offset=0.0):
        random = np.random.default_rng(1)
        x = random.normal(size=(count, *shape)) * [1.0, 2.0, 0.1, 5.0]
        x = np.maximum(x + offset, 0.0).astype("float32")
        x[..., 3] = 0.0
        return list(x)

    @pytest.mark.parametrize("shape", [(7, 4), (3, 5, 4), (2, 3, 3, 4)])
    def test_all_batches_together(self, shape):
        probe, batches = PROBE(), self.batches(shape)
        batches[-1] = batches[-1][:1]  # an unequal last batch
        for x in batches:
            y = probe(x, training=True)
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(y), x)
        assert_seen(probe, batches)
        assert probe.statistics().dead.tolist() == [False, False, False, True]

    def test_small_n_divides_by_n(self):
        probe = PROBE()
        probe(np.array([[1.0], [4.0], [4.0]], "float32"), training=True)
        assert float(probe.statistics().std[0]) == pytest.approx(2**0.5)

    @pytest.mark.parametrize("offset", [1e3, 1e5])
    def test_large_offset(self, offset):
        probe, batches = PROBE(), self.batches((64, 4), 20, offset)
        for x in batches:
            probe(x, training=True)
        assert_seen(probe, batches, rtol=1e-5)

    def test_a_mean_that_wanders(self):
        """The first batch is far from the last."""
        random = np.random.default_rng(2)
        batches = [
            (random.normal(size=(32, 2)) + 50.0 * i).astype("float32")
            for i in range(20)
        ]
        probe = PROBE()
        for x in batches:
            probe(x, training=True)
        assert_seen(probe, batches)

    def test_padding_is_left_out(self):
        random = np.random.default_rng(3)
        batches = [random.normal(size=(4, 6, 2)).astype("float32")] * 3
        masks = [random.integers(0, 2, (4, 6)).astype(bool) for _ in batches]
        masks[0][:] = False  # nothing in the first batch counts
        probe = PROBE()
        for x, mask in zip(batches, masks, strict=True):
            x = np.where(mask[..., None], x, np.nan)
            probe(x, training=True, mask=mask)
        assert_seen(probe, batches, masks)

    def test_inference_does_not_count(self):
        probe = PROBE()
        probe(X)
        probe(X, training=False)
        found = probe.statistics()
        assert not found.entries.any()
        assert not found.dead.any()
        assert np.isnan(found.mean).all()
        assert np.isnan(found.zero_share).all()

    def test_reset(self):
        probe = PROBE()
        probe(X + 100.0, training=True)
        probe.reset()
        probe(X, training=True)
        assert_seen(probe, [X])

    def test_a_unit_that_dies_late_is_not_dead(self):
        probe = PROBE("relu")
        alive = np.zeros((8, 1), "float32")
        alive[3] = 0.5
        for x in (alive, 0 * alive, 0 * alive):
            probe(x, training=True)
        found = probe.statistics()
        assert found.zero_share.item() == 23 / 24
        assert not found.dead.item()
        assert found.saturated.item()

    def test_needs_units(self):
        with pytest.raises(ValueError, match="known number of units"):
            PROBE()(X[0], training=True)
        with pytest.raises(ValueError, match="has not been called"):
            PROBE().statistics()
        with pytest.raises(ValueError, match="`activation`"):
            PROBE("cube")


@pytest.mark.parametrize(
    "activation", ["elu", "relu", "sigmoid", "softplus", "softsign", "tanh"]
)
def test_saturation_is_by_the_derivative(activation):
    """Against central differences of Keras' own activation."""
    z = np.linspace(-9.0, 9.0, 37)[:, None] + 0.013
    function = getattr(keras.activations, activation)

    def output(x):
        y = function(keras.ops.convert_to_tensor(x.astype("float32")))
        return keras.ops.convert_to_numpy(y).astype("float64")

    h = 1e-2
    slope = np.abs(output(z + h) - output(z - h)) / (2 * h)
    probe = PROBE(activation)
    probe(output(z).astype("float32"), training=True)
    steepest = 0.25 if activation == "sigmoid" else 1.0
    found = probe.statistics()
    assert found.flat_share.item() == np.mean(slope / steepest < 0.05)


def test_a_saturated_unit():
    z = np.stack([np.full(20, 8.0), np.linspace(-1, 1, 20)], axis=1)
    probe = PROBE("tanh")
    probe(np.tanh(z).astype("float32"), training=True)
    assert probe.statistics().saturated.tolist() == [True, False]


def network(probe):
    """The same with probes and without, in all kinds of places."""

    def probed(activation=None):
        return [PROBE(activation)] if probe else []

    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Reshape((4, 3, 1)),
            layers.Conv2D(4, 2, use_bias=False),
            *probed(),
            layers.BatchNormalization(),
            *probed(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(0.3),
            *probed(),
            layers.Dense(16, "relu", kernel_regularizer="l2"),
            *probed("relu"),
            layers.Dense(8, "tanh"),
            *probed("tanh"),
            layers.Dense(3, dtype="float32"),
        ]
    )


def train(probe, **arguments):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model = network(probe)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, **arguments)
    history = model.fit(X[:24], Y[:24], 8, epochs=2, verbose=0)
    return model, history.history


class TestInTraining:
    def check(self, **arguments):
        plain, logs = train(False, **arguments)
        watched, watched_logs = train(True, **arguments)
        assert logs == watched_logs
        kept = [x for x in watched.layers if not isinstance(x, PROBE)]
        for a, b in zip(plain.layers, kept, strict=True):
            for v, w in zip(
                numpy(a.variables), numpy(b.variables), strict=True
            ):
                np.testing.assert_array_equal(v, w)
        return watched

    @pytest.mark.optimized
    def test_changes_no_bit(self):
        """And counts training batches, not those of an evaluation."""
        watched = self.check()
        watched.evaluate(X[:8], Y[:8], verbose=0)
        assert (watched.layers[-2].statistics().entries == 48).all()
        assert watched.layers[2].statistics().entries[0] == 48 * 6

    @pytest.mark.optimized
    def test_changes_no_bit_without_jit(self):
        if keras.backend.backend() == "jax":
            pytest.skip("JAX without jit is slow, and the same operations")
        self.check(jit_compile=False)

    def test_mixed_precision(self):
        """The output is the input, of whatever type that is."""
        probe = PROBE("relu", dtype="mixed_float16")
        x = np.full((3000, 2), 40.0)  # the sum is above 65504
        for dtype in ("float32", "float16"):
            y = probe(keras.ops.convert_to_tensor(x, dtype))
            assert keras.backend.standardize_dtype(y.dtype) == dtype
        y = probe(keras.ops.convert_to_tensor(x, "float16"), training=True)
        assert probe.state.dtype == "float32"
        assert probe.statistics().mean.tolist() == [40.0, 40.0]

    def test_masks_reach_it_in_fit(self):
        tokens = np.array([[3, 1, 0, 0], [2, 0, 0, 0], [1, 1, 1, 0]])
        model = keras.Sequential(
            [
                keras.Input((4,), dtype="int32"),
                layers.Embedding(4, 2, mask_zero=True),
                PROBE(),
                layers.LSTM(2),
                layers.Dense(1),
            ]
        )
        model.compile(keras.optimizers.SGD(0.0), "mse")
        model.fit(tokens, np.zeros((3, 1)), epochs=2, verbose=0)
        table = numpy(model.layers[0].weights)[0]
        rows = table[tokens[tokens > 0]]
        found = model.layers[1].statistics()
        assert found.entries.tolist() == [12.0, 12.0]
        np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-5)

    def test_is_saved(self, tmp_path):
        model = keras.Sequential([keras.Input((12,)), PROBE("tanh")])
        model(X, training=True)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        for a, b in zip(
            model.layers[0].statistics(),
            again.layers[0].statistics(),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


def predictions(model, x):
    outputs = model.predict(x, verbose=0)
    return [np.asarray(y) for y in keras.tree.flatten(outputs)]


class TestStripProbes:
    def check(self, model, x):
        stripped = kc.strip_probes(model)
        for a, b in zip(
            predictions(model, x), predictions(stripped, x), strict=True
        ):
            np.testing.assert_array_equal(a, b)
        assert not any(
            isinstance(layer, PROBE) for layer in stripped._flatten_layers()
        )
        kept = {id(v) for v in stripped.variables}
        assert kept < {id(v) for v in model.variables}
        return stripped

    def test_sequential(self):
        model = network(True)
        model.compile("sgd", "mse")
        stripped = self.check(model, X)
        assert isinstance(stripped, keras.Sequential)
        assert stripped.name == model.name
        assert not stripped.compiled

    def test_keeps_frozen_layers_frozen(self):
        model = network(True)
        model.layers[0].trainable = False
        assert not kc.strip_probes(model).layers[0].trainable

    def test_functional(self):
        """Nested, shared, of several inputs and outputs, with operations."""
        a, b = keras.Input((12,), name="a"), keras.Input((12,), name="b")
        shared = layers.Dense(5, "relu")
        probe = PROBE("relu")
        inner = keras.Sequential([keras.Input((5,)), PROBE(), layers.Dense(4)])
        z = keras.Input((5,))
        branch = keras.Model(z, PROBE()(layers.Dense(4)(z)) + 1.0)
        hidden = [probe(shared(a)), probe(shared(b))]
        left, right = inner(hidden[0]), inner(hidden[1])
        outputs = {
            "one": PROBE()(left * right),
            "two": layers.Dense(1)(branch(hidden[0])),
        }
        model = keras.Model([a, b], outputs)
        model.compile("sgd", {"one": lambda y, p: p, "two": "mse"})
        stripped = self.check(model, [X, X + 1])
        assert set(stripped.output) == {"one", "two"}
        assert sum(x is shared for x in stripped.layers) == 1
        nested = [x for x in stripped.layers if isinstance(x, keras.Sequential)]
        assert len(nested) == 1
        assert len(nested[0].layers) == 1

    def test_without_probes(self):
        model = network(False)
        assert kc.strip_probes(model) is model

    def test_subclassed(self):
        class Mine(keras.Model):
            def __init__(self):
                super().__init__()
                self.probe = PROBE()

            def call(self, x):
                return self.probe(x)

        model = Mine()
        with pytest.raises(ValueError, match="set_weights"):
            kc.strip_probes(model)
        outer = keras.Sequential([keras.Input((12,)), model])
        with pytest.raises(ValueError, match="a Mine with a probe"):
            kc.strip_probes(outer)

    def test_not_built(self):
        with pytest.raises(ValueError, match="Build it"):
            kc.strip_probes(keras.Sequential([PROBE()]))
