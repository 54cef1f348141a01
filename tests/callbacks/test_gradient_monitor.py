import csv
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import keras_concepts as kc
from keras_concepts.callbacks import GradientMonitor

LOSS = keras.losses.SparseCategoricalCrossentropy


def make(optimizer="adam", hidden=(8,), activation="relu", **arguments):
    model = keras.Sequential(
        [
            keras.Input((12,)),
            *[
                layers.Dense(units, activation, name=f"hidden_{i}")
                for i, units in enumerate(hidden)
            ],
            layers.Dense(3, name="head"),
        ]
    )
    model.compile(optimizer, LOSS(from_logits=True), **arguments)
    return model


def value(monitor, layer, quantity):
    return monitor.recording.select(layer, quantity).value


class TestLogs:
    def test_reach_the_callbacks_that_come_later(self, digits, tmp_path):
        stopper = keras.callbacks.EarlyStopping(
            monitor="gradient_norm", mode="max", patience=0, baseline=1e9
        )
        history = make().fit(
            *digits,
            epochs=5,
            verbose=0,
            callbacks=[
                GradientMonitor(),
                keras.callbacks.CSVLogger(tmp_path / "log.csv"),
                stopper,
            ],
        )
        keys = {
            "gradient_norm",
            "gradient_attenuation",
            "dead_units",
            "update_ratio",
        }
        assert keys < set(history.history)
        assert len(history.history["loss"]) < 5  # stopped early
        with open(tmp_path / "log.csv") as file:
            row = next(csv.DictReader(file))
        for key in keys:
            assert float(row[key]) == pytest.approx(history.history[key][0])

    def test_equal_the_recording(self, digits):
        monitor = GradientMonitor()
        model = make(hidden=(8, 8))
        history = model.fit(*digits, 16, verbose=0, callbacks=[monitor])
        logs = {key: values[0] for key, values in history.history.items()}
        first, last = "*/hidden_0/kernel", "*/head/kernel"
        assert logs["gradient_norm"] == pytest.approx(
            value(monitor, "", "gradient_norm").mean()
        )
        assert logs["gradient_attenuation"] == pytest.approx(
            np.median(
                value(monitor, first, "gradient_rms")
                / value(monitor, last, "gradient_rms")
            )
        )
        assert logs["update_ratio"] == pytest.approx(
            np.median(
                value(monitor, "*/kernel", "update_rms")
                / value(monitor, "*/kernel", "weight_rms")
            )
        )
        np.testing.assert_allclose(
            logs["loss"], value(monitor, "", "batch_loss").mean(), rtol=1e-5
        )

    def test_a_model_with_one_kernel_has_no_attenuation(self, digits):
        history = make(hidden=()).fit(
            *digits, verbose=0, callbacks=[GradientMonitor()]
        )
        assert "gradient_attenuation" not in history.history
        assert history.history["update_ratio"][0] > 0


class TestLearningRates:
    """Callbacks that change the learning rate work as without the monitor."""

    @pytest.mark.parametrize(
        "make_callback",
        [
            lambda: keras.callbacks.LearningRateScheduler(
                lambda epoch, rate: rate * 0.5
            ),
            lambda: keras.callbacks.ReduceLROnPlateau(
                monitor="loss", patience=1, min_delta=10.0
            ),
        ],
    )
    def test_callbacks(self, make_callback, digits):
        rates = []
        for monitors in ([], [GradientMonitor()]):
            keras.utils.set_random_seed(0)
            model = make()
            history = model.fit(
                *digits,
                epochs=4,
                verbose=0,
                callbacks=[*monitors, make_callback()],
            )
            rates.append(history.history["learning_rate"])
        assert rates[0] == rates[1]
        assert rates[0][-1] < rates[0][0]

    def test_schedule(self, digits):
        schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5)
        model = make(keras.optimizers.SGD(schedule))
        monitor = GradientMonitor()
        model.fit(*digits, 16, verbose=0, callbacks=[monitor])
        ratios = value(monitor, "*/head/bias", "update_rms") / value(
            monitor, "*/head/bias", "gradient_rms"
        )
        np.testing.assert_allclose(ratios, [1, 0.5, 0.25, 0.125], rtol=1e-5)


class TestWhatTheOptimizerDoes:
    def test_gradients_are_those_before_clipping(self, digits):
        monitor = GradientMonitor()
        model = make(keras.optimizers.SGD(1.0, global_clipnorm=1e-3))
        model.fit(*digits, verbose=0, callbacks=[monitor])
        assert np.all(value(monitor, "", "gradient_norm") > 0.05)
        squares = [
            v.shape[0]
            * (v.shape[1] if len(v.shape) > 1 else 1)
            * value(monitor, v.path, "update_rms") ** 2
            for v in model.trainable_variables
        ]
        np.testing.assert_allclose(np.sqrt(sum(squares)), 1e-3, rtol=1e-3)

    def test_accumulation_counts_the_real_updates(self, digits):
        monitor = GradientMonitor()
        model = make(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
        model.fit(*digits, 16, verbose=0, callbacks=[monitor])
        assert value(monitor, "", "applied").tolist() == [0, 1, 0, 1]
        updates = value(monitor, "*/head/kernel", "update_rms")
        assert (updates > 0).tolist() == [False, True, False, True]
        assert np.all(value(monitor, "*/head/kernel", "gradient_rms") > 0)

    def test_loss_scaling(self, digits):
        """Divides the scale out, and sees a step that overflowed."""
        x, y = digits[0].copy(), digits[1]
        x[16:32] = np.inf
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.0), initial_scale=1024.0
        )
        scaled, plain = GradientMonitor(), GradientMonitor()
        model = make(optimizer)
        history = model.fit(
            x, y, 16, shuffle=False, verbose=0, callbacks=[scaled]
        )
        assert value(scaled, "", "applied").tolist() == [1, 0, 1, 1]
        nonfinite = value(scaled, "*/hidden_0/kernel", "gradient_nonfinite")
        assert (nonfinite > 0).tolist() == [False, True, False, False]
        assert np.isfinite(history.history["gradient_norm"][0])
        model.compile(keras.optimizers.SGD(0.0), LOSS(from_logits=True))
        model.fit(*digits, 16, shuffle=False, verbose=0, callbacks=[plain])
        for quantity in ("gradient_norm", "batch_loss"):
            np.testing.assert_allclose(
                value(scaled, "", quantity)[[0, 2, 3]],
                value(plain, "", quantity)[[0, 2, 3]],
                rtol=1e-5,
            )

    def test_constant_loss_scale(self, digits):
        norms = []
        for scale in (None, 64.0):
            keras.utils.set_random_seed(0)
            monitor = GradientMonitor()
            model = make(keras.optimizers.SGD(0.1, loss_scale_factor=scale))
            model.fit(
                *digits, 16, shuffle=False, verbose=0, callbacks=[monitor]
            )
            norms.append(value(monitor, "", "gradient_norm"))
        np.testing.assert_allclose(*norms, rtol=1e-5)

    def test_non_finite_entries_are_counted(self, digits):
        x, y = digits[0].copy(), digits[1]
        x[0, 3] = np.nan
        monitor = GradientMonitor()
        model = make("sgd", hidden=())
        model.fit(x, y, 64, verbose=0, callbacks=[monitor])
        # One feature feeds three logits, which all turn NaN with it.
        assert value(monitor, "*/head/kernel", "gradient_nonfinite") == [36]
        assert np.isnan(value(monitor, "*/head/kernel", "gradient_rms"))
        assert np.isnan(value(monitor, "", "gradient_norm"))

    def test_gradients_whose_squares_underflow(self, digits):
        model = make(keras.optimizers.SGD(1e-3), hidden=())

        def tiny(y_true, y_pred):
            return keras.ops.mean(y_pred, axis=-1) * 1e-25

        model.compile(keras.optimizers.SGD(1e-3), tiny)
        monitor = GradientMonitor()
        model.fit(*digits, 64, verbose=0, callbacks=[monitor])
        np.testing.assert_allclose(
            value(monitor, "*/head/bias", "gradient_rms"), 1e-25 / 3, rtol=1e-5
        )


class TestDeadUnits:
    def test_counted_exactly(self, digits):
        model = make(hidden=(8, 6))
        kernel, bias = model.get_layer("hidden_0").get_weights()
        bias[[2, 5]] = -1e3
        model.get_layer("hidden_0").set_weights([kernel, bias])
        monitor = GradientMonitor()
        history = model.fit(*digits, 16, verbose=0, callbacks=[monitor])
        x = digits[0]
        alive = (x @ kernel + bias).max(axis=0) > 0
        assert value(monitor, "*/hidden_0", "units") == [8]
        dead = monitor.recording.select(
            "*/hidden_0", "zero_gradient_unit"
        ).index
        assert {2, 5} <= set(dead.tolist())
        assert not alive[dead].any()
        total = value(monitor, "*", "zero_gradient_units").sum()
        assert history.history["dead_units"] == [total]

    def test_a_penalty_does_not_hide_them(self, digits):
        model = keras.Sequential(
            [
                keras.Input((12,)),
                layers.Dense(
                    4,
                    "relu",
                    kernel_regularizer="l2",
                    bias_initializer=keras.initializers.Constant(-1e3),
                ),
                layers.Dense(3),
            ]
        )
        model.compile("sgd", LOSS(from_logits=True))
        monitor = GradientMonitor()
        model.fit(*digits, verbose=0, callbacks=[monitor])
        assert value(monitor, "*/dense", "zero_gradient_units") == [4]

    def test_recurrent_gates_are_no_units(self, digits):
        model = keras.Sequential(
            [keras.Input((12,)), layers.Reshape((6, 2)), layers.GRU(3)]
        )
        model.compile("sgd", LOSS(from_logits=True))
        monitor = GradientMonitor()
        model.fit(*digits, verbose=0, callbacks=[monitor])
        assert len(monitor.recording.select(quantity="units")) == 0


class TestSampling:
    def test_every(self, digits):
        monitor = GradientMonitor(every=3)
        make().fit(*digits, 8, epochs=2, verbose=0, callbacks=[monitor])
        steps = monitor.recording.select("", "batch_loss").step
        assert steps.tolist() == [0, 3, 6, 8, 11, 14]

    def test_max_samples_spread_over_the_epoch(self, digits):
        monitor = GradientMonitor(max_samples=3)
        make().fit(*digits, 8, epochs=2, verbose=0, callbacks=[monitor])
        steps = monitor.recording.select("", "batch_loss").step
        assert steps.tolist() == [0, 3, 6, 8, 11, 14]

    def test_several_steps_an_execution(self, digits):
        if keras.backend.backend() == "torch":
            pytest.skip("steps_per_execution must be 1 with torch")
        monitor = GradientMonitor(max_samples=None)
        plain = GradientMonitor(max_samples=None)
        for each, steps in ((monitor, 3), (plain, 1)):
            keras.utils.set_random_seed(0)
            model = make(steps_per_execution=steps)
            model.fit(
                *digits,
                batch_size=8,
                epochs=2,
                shuffle=False,
                verbose=0,
                callbacks=[each],
            )
        for quantity in ("batch_loss", "gradient_norm"):
            rows = monitor.recording.select("", quantity)
            expected = plain.recording.select("", quantity)
            assert rows.step.tolist() == expected.step.tolist()
            np.testing.assert_allclose(rows.value, expected.value, rtol=1e-5)


class TestModels:
    def test_built_by_its_first_step(self, digits):
        model = keras.Sequential([layers.Dense(4, "relu"), layers.Dense(3)])
        model.compile("adam", LOSS(from_logits=True))
        monitor = GradientMonitor()
        model.fit(*digits, 16, epochs=2, verbose=0, callbacks=[monitor])
        assert len(monitor.recording.select("*/kernel", "gradient_rms")) == 16

    def test_frozen_layers_are_left_out(self, digits):
        model = make(hidden=(8, 8))
        model.get_layer("hidden_0").trainable = False
        model.compile("adam", LOSS(from_logits=True))
        monitor = GradientMonitor()
        model.fit(*digits, verbose=0, callbacks=[monitor])
        assert not [p for p in monitor.recording.owners if "hidden_0" in p]
        assert [p for p in monitor.recording.owners if "hidden_1" in p]

    def test_sample_weights_several_outputs_and_validation(self, digits):
        x, y = digits
        inputs = keras.Input((12,))
        hidden = layers.Dense(6, "tanh")(inputs)
        model = keras.Model(
            inputs,
            {
                "a": layers.Dense(3, name="a")(hidden),
                "b": layers.Dense(1, name="b")(hidden),
            },
        )
        model.compile(
            "adam",
            {"a": LOSS(from_logits=True), "b": "mse"},
            metrics={"b": ["mae"]},
        )
        targets = {"a": y, "b": y.astype("float32")[:, None]}
        weights = {"a": np.ones(64), "b": np.full(64, 0.5)}
        monitor = GradientMonitor()
        history = model.fit(
            x,
            targets,
            sample_weight=weights,
            validation_data=(x, targets),
            verbose=0,
            callbacks=[monitor],
        )
        np.testing.assert_allclose(
            value(monitor, "", "batch_loss").mean(),
            history.history["loss"][0],
            rtol=1e-5,
        )


class TestReuse:
    def test_a_second_fit_starts_a_new_recording(self, digits):
        model, monitor = make(), GradientMonitor()
        model.fit(*digits, epochs=2, verbose=0, callbacks=[monitor])
        first = monitor.recording
        model.fit(*digits, epochs=1, verbose=0, callbacks=[monitor])
        assert len(first.select("", "batch_loss")) == 4
        assert monitor.recording.select("", "batch_loss").step.tolist() == [
            0,
            1,
        ]

    def test_a_recording_file_is_continued(self, digits, tmp_path):
        path = tmp_path / "runs" / "recording.jsonl"
        for _ in range(2):
            make().fit(
                *digits, verbose=0, callbacks=[GradientMonitor(record_to=path)]
            )
        recording = kc.Recording.load(path)
        assert recording.select("", "batch_loss").step.tolist() == [0, 1, 2, 3]
        assert recording.facts["backend"] == keras.backend.backend()


class TestFiles:
    def test_a_killed_training_leaves_its_epochs(self, digits, tmp_path):
        script = """
import os, sys, keras, numpy as np
from keras_concepts.callbacks import GradientMonitor

class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 2 and batch == 1:
            os.kill(os.getpid(), 9)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

model = keras.Sequential([keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(
    np.ones((64, 2)), np.ones((64, 1)), 16, epochs=5, verbose=0,
    callbacks=[GradientMonitor(record_to=sys.argv[1]), Kill()],
)
"""
        path = tmp_path / "run.jsonl"
        killed = subprocess.run([sys.executable, "-c", script, path])
        assert killed.returncode == -9
        recording = kc.Recording.load(path)
        assert recording.select("", "batch_loss").step.tolist() == list(
            range(8)
        )

    def test_tensorboard_reads_it_while_it_trains(self, digits, tmp_path):
        accumulator = pytest.importorskip(
            "tensorboard.backend.event_processing.event_accumulator"
        )
        seen = []

        class Look(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                events = accumulator.EventAccumulator(str(tmp_path))
                events.Reload()
                seen.append([e.value for e in events.Scalars("gradient_norm")])

        monitor = GradientMonitor(tensorboard=tmp_path)
        make().fit(
            *digits, 16, epochs=2, verbose=0, callbacks=[monitor, Look()]
        )
        norms = value(monitor, "", "gradient_norm")
        np.testing.assert_allclose(seen[0], norms[:4], rtol=1e-6)
        np.testing.assert_allclose(seen[1], norms, rtol=1e-6)


class TestErrors:
    @pytest.mark.parametrize("name", ["every", "max_samples"])
    def test_numbers(self, name):
        with pytest.raises(ValueError, match=f"`{name}` of `GradientMonitor`"):
            GradientMonitor(**{name: -1})
        with pytest.raises(TypeError, match="must be an integer"):
            GradientMonitor(**{name: 0.5})

    def test_no_optimizer(self, digits):
        model = make(optimizer=None)
        with pytest.raises(ValueError, match="compiled with an optimizer"):
            model.fit(*digits, verbose=0, callbacks=[GradientMonitor()])

    def test_not_compiled(self):
        monitor = GradientMonitor()
        monitor.set_model(keras.Sequential([layers.Dense(1)]))
        with pytest.raises(ValueError, match="compiled with an optimizer"):
            monitor.on_train_begin()

    def test_no_trainable_variable(self, digits):
        model = make()
        model.trainable = False
        model.compile("adam", LOSS(from_logits=True))
        with pytest.raises(ValueError, match="at least one trainable"):
            model.fit(*digits, verbose=0, callbacks=[GradientMonitor()])

    def test_unwritable_file(self, digits, tmp_path):
        model = make()
        before = model.get_weights()
        monitor = GradientMonitor(record_to=tmp_path)
        with pytest.raises(OSError, match="record_to"):
            model.fit(*digits, verbose=0, callbacks=[monitor])
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_few_steps_call_no_unit_dead():
    """A unit that dies is dead 32 steps later."""
    on_jax = keras.backend.backend() == "jax"  # where callbacks see no weights

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1 and not on_jax:
                bias = np.array([-1e3, 1.0], "float32")
                self.model.layers[0].bias.assign(bias)

    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(2, "relu", bias_initializer="ones"),
            keras.layers.Dense(1),
        ]
    )
    kernel = np.full((3, 2), 0.1, "float32")
    model.layers[0].set_weights([kernel, np.ones(2, "float32")])
    model.compile(keras.optimizers.SGD(1e-6), "mse")
    x = np.abs(np.random.default_rng(0).normal(size=(32, 3)))
    monitor = GradientMonitor()
    history = model.fit(
        x, x[:, :1], 4, epochs=12, verbose=0, callbacks=[Kill(), monitor]
    ).history["dead_units"]
    epochs = monitor.recording.select("", "gradient_norm").epoch
    assert np.bincount(epochs).tolist() == [8] + [4] * 11
    # It was alive in the first epoch's eight steps; then come four per epoch.
    assert history == ([0.0] * 12 if on_jax else [0.0] * 8 + [1.0] * 4)
