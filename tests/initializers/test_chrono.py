"""Chrono against the paper's formulas in NumPy, and inside Keras' layers."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_concepts as kc
from keras_concepts.initializers import Chrono

UNITS = 12  # 48 and 36 are both divisible by 3 and by 4


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def bias_of(layer, inputs=(2, 5, 3)):
    layer(np.zeros(inputs, "float32"))
    return ops.convert_to_numpy(layer.cell.bias)


def lstm(initializer, **arguments):
    return layers.LSTM(
        UNITS,
        bias_initializer=initializer,
        unit_forget_bias=False,
        **arguments,
    )


class TestLSTM:
    def test_gates(self):
        i, f, c, o = np.split(bias_of(lstm(Chrono(50))), 4)
        times = 1 / (1 - sigmoid(f))
        assert (times >= 2).all()
        assert (times <= 50.01).all()
        assert np.ptp(times) > 5
        np.testing.assert_array_equal(i, -f)
        np.testing.assert_array_equal(np.concatenate([c, o]), 0)

    def test_a_unit_forgets_in_the_time_it_drew(self):
        """With no input and no recurrent weights, the cell state decays."""
        cell = lstm(Chrono(50), recurrent_initializer="zeros").cell
        cell.build((1, 3))
        state = [np.zeros((1, UNITS)), np.ones((1, UNITS))]
        for _ in range(20):
            _, state = cell(np.zeros((1, 3), "float32"), state)
        f = ops.convert_to_numpy(cell.bias)[UNITS : 2 * UNITS]
        np.testing.assert_allclose(
            ops.convert_to_numpy(state[1])[0], sigmoid(f) ** 20, rtol=1e-5
        )

    def test_forget_bias_of_keras_is_refused(self):
        layer = layers.LSTM(16, bias_initializer=Chrono(9, cell="lstm"))
        with pytest.raises(ValueError, match="unit_forget_bias=False"):
            layer(np.zeros((2, 5, 3), "float32"))

    def test_forget_bias_of_keras_is_refused_inside_a_trace(self):
        """There the bias gets its value when its layer is left."""

        class Block(layers.Layer):
            def __init__(self):
                super().__init__()
                self.memory = layers.LSTM(16, bias_initializer=Chrono(9))

            def call(self, inputs):
                return self.memory(inputs)

        # Keras quotes the error in a warning and goes on to another.
        with pytest.raises((ValueError, UserWarning), match="_bias=False"):
            Block()(keras.Input((5, 3)))

    def test_convolutional(self):
        layer = layers.ConvLSTM1D(
            3, 3, bias_initializer=Chrono(50), unit_forget_bias=False
        )
        i, f, _, _ = np.split(bias_of(layer, (2, 4, 8, 2)), 4)
        np.testing.assert_array_equal(i, -f)
        assert (f > 0).all()


class TestGRU:
    @pytest.mark.parametrize("reset_after", [True, False])
    def test_gates(self, reset_after):
        layer = layers.GRU(
            UNITS, bias_initializer=Chrono(50), reset_after=reset_after
        )
        bias = bias_of(layer)
        if reset_after:
            bias, recurrent = bias
            np.testing.assert_array_equal(recurrent, 0)
        z, r, h = np.split(bias, 3)
        times = 1 / (1 - sigmoid(z))
        assert (times >= 2).all()
        assert (times <= 50.01).all()
        assert np.ptp(times) > 5
        np.testing.assert_array_equal(np.concatenate([r, h]), 0)

    @pytest.mark.parametrize("reset_after", [True, False])
    def test_a_unit_forgets_in_the_time_it_drew(self, reset_after):
        cell = layers.GRUCell(
            UNITS,
            bias_initializer=Chrono(50),
            recurrent_initializer="zeros",
            reset_after=reset_after,
        )
        cell.build((1, 3))
        state = np.ones((1, UNITS), "float32")
        for _ in range(20):
            state, _ = cell(np.zeros((1, 3), "float32"), state)
        z = ops.convert_to_numpy(cell.bias).reshape(-1)[:UNITS]
        np.testing.assert_allclose(
            ops.convert_to_numpy(state)[0], sigmoid(z) ** 20, rtol=1e-5
        )


class TestDraw:
    def test_lags_are_uniform(self):
        bias = Chrono(101, seed=0, cell="gru")((3 * 20_000,))
        lags = np.exp(ops.convert_to_numpy(bias)[:20_000].astype(np.float64))
        assert lags.min() == pytest.approx(1, abs=0.1)
        assert lags.max() == pytest.approx(100, abs=0.1)
        # Four standard errors: 99 / sqrt(12 * 20000), and counts of 2000.
        assert lags.mean() == pytest.approx(50.5, abs=0.81)
        counts, _ = np.histogram(lags, 10, (1, 100))
        np.testing.assert_allclose(counts, 2000, atol=170)

    def test_shortest_memory(self):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(Chrono(2, cell="lstm")((8,))), 0
        )

    def test_seeds_are_as_in_keras(self):
        def drawn(initializer):
            return ops.convert_to_numpy(initializer((2, 9))).tolist()

        fixed, unseeded = Chrono(9, seed=3), Chrono(9)
        assert drawn(fixed) == drawn(fixed) == drawn(Chrono(9, seed=3))
        assert drawn(unseeded) == drawn(unseeded) != drawn(Chrono(9))
        moving = Chrono(9, seed=keras.random.SeedGenerator(3))
        assert drawn(moving) != drawn(moving)
        again = Chrono.from_config(moving.get_config())
        assert isinstance(again._lags.seed, keras.random.SeedGenerator)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", None])
    def test_dtype(self, dtype):
        bias = Chrono(500)((2, 9), dtype)
        found = keras.backend.standardize_dtype(bias.dtype)
        assert found == (dtype or "float32")


class TestWhose:
    def test_shape_alone(self):
        """Outside a layer, the shape decides, or the user must."""
        assert float(Chrono(9)((20,))[0]) < 0 < float(Chrono(9)((15,))[0])
        assert float(Chrono(9)((2, 12))[0, 0]) > 0
        for shape in ((24,), (7,)):
            with pytest.raises(ValueError, match='cell="lstm"'):
                Chrono(9)(shape)
        assert float(Chrono(9, cell="lstm")((24,))[0]) < 0
        assert float(Chrono(9, cell="gru")((24,))[0]) > 0

    @pytest.mark.parametrize(
        ("cell", "shape"),
        [("lstm", (2, 12)), ("lstm", (9,)), ("gru", (8,)), ("gru", (4, 12))],
    )
    def test_what_is_no_bias(self, cell, shape):
        with pytest.raises(ValueError, match="whole bias"):
            Chrono(9, cell=cell)(shape)

    def test_kernel_is_no_bias(self):
        layer = layers.LSTM(
            4, kernel_initializer=Chrono(9), unit_forget_bias=False
        )
        with pytest.raises(ValueError, match="as `bias_initializer`"):
            layer.build((None, 5, 3))

    def test_made_inside_another_layer(self):
        class Block(layers.Layer):
            def __init__(self):
                super().__init__()
                self.down = layers.GRU(
                    8, bias_initializer=Chrono(50), return_sequences=True
                )
                self.up = layers.LSTM(
                    8,
                    bias_initializer=Chrono(50, cell="lstm"),
                    unit_forget_bias=False,
                )

            def call(self, inputs):
                return self.up(self.down(inputs))

        block = Block()
        block(keras.Input((5, 3)))
        z = ops.convert_to_numpy(block.down.cell.bias)[0]
        i, f, _, _ = np.split(ops.convert_to_numpy(block.up.cell.bias), 4)
        assert (z[:8] > 0).all()
        assert (f > 0).all()
        np.testing.assert_array_equal(i, -f)

    def test_no_gates(self):
        """Also where the size would fit an LSTM."""
        layer = layers.SimpleRNN(4, bias_initializer=Chrono(9))
        with pytest.raises(ValueError, match="of a SimpleRNN, which has none"):
            layer.build((None, 5, 3))

    @pytest.mark.parametrize("max_lag", [1.5, float("nan")])
    def test_too_short(self, max_lag):
        with pytest.raises(ValueError, match="at least 2"):
            Chrono(max_lag)

    def test_unknown_cell(self):
        with pytest.raises(ValueError, match="'rnn'"):
            Chrono(9, cell="rnn")


def test_stacked_both_ways_and_saved(tmp_path):
    """Learns, and what is loaded is what was saved."""
    keep = {"bias_initializer": Chrono(20), "unit_forget_bias": False}
    model = keras.Sequential(
        [
            keras.Input((4, 3)),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True, **keep)),
            layers.GRU(3, bias_initializer=Chrono(9)),
            layers.Dense(1),
        ]
    )
    both = model.layers[0]
    for layer in (both.forward_layer, both.backward_layer):
        i, f, _, _ = np.split(ops.convert_to_numpy(layer.cell.bias), 4)
        np.testing.assert_array_equal(i, -f)
        assert (f > 0).all()
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 4, 3)).astype("float32")
    model.fit(x, x[:, 0, :1], verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), again.predict(x, verbose=0)
    )
    initializer = again.layers[0].forward_layer.cell.bias_initializer
    assert initializer.get_config() == Chrono(20).get_config()


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_what_the_doctor_advises(kind):
    from keras_concepts.rules import memory

    code = memory._with_open_gates(kind, 40)
    made = eval(code, {"keras": keras, "kc": kc, "units": 2})
    assert type(made).__name__ == kind
    assert made(np.zeros((1, 3, 1), "float32")).shape == (1, 2)
