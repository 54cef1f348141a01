"""The parts of the loss add up, batch for batch, and their pulls are right."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_concepts as kc
from autodiff import gradients
from keras_concepts.callbacks import GradientMonitor, PenaltyReporter
from keras_concepts.regularizers import L1, L1L2, L2, GroupLasso
from older_keras import as_regularizer

LOSS = keras.losses.SparseCategoricalCrossentropy
BATCH = 24  # the last of 64 rows are a batch of 16


@as_regularizer
def squared(x):
    return 0.02 * ops.sum(ops.square(x) * ops.abs(x))


class Added(layers.Layer):
    """Adds two losses of its own."""

    def call(self, x):
        self.add_loss([0.01 * ops.mean(ops.square(x)), 0.5 * ops.mean(x)])
        return x


def compiled(model, optimizer="sgd", **arguments):
    model.compile(optimizer, LOSS(from_logits=True), **arguments)
    return model


def make(regularizer, optimizer="sgd", **dense):
    return compiled(
        keras.Sequential(
            [
                keras.Input((12,)),
                layers.Dense(
                    5, "tanh", name="a", kernel_regularizer=regularizer, **dense
                ),
                layers.Dense(3, name="b"),
            ]
        ),
        optimizer,
    )


def value(reporter, layer, quantity):
    return reporter.recording.select(layer, quantity).value


def watch(model, x, y, epochs=2, batch_size=BATCH, **arguments):
    """Trains a model; asserts that the parts add up to what Keras logged."""
    reporter = PenaltyReporter()
    logs = model.fit(
        x,
        y,
        batch_size=batch_size,
        epochs=epochs,
        verbose=0,
        callbacks=[reporter],
        **arguments,
    ).history
    assert_adds_up(reporter, logs)
    return reporter, logs


def assert_adds_up(reporter, logs):
    rows = reporter.recording
    # What is recorded by layer adds up to what is recorded of the model,
    by_layer = {
        "penalty": [
            "l1",
            "l2",
            "group_lasso",
            "other_penalty",
            "activity_penalty",
        ],
        "added_loss": ["added_loss"],
    }
    parts = {}
    for whole, quantities in by_layer.items():
        parts[whole] = np.zeros(len(logs["loss"]))
        for series in rows:
            if series.owner and series.quantity in quantities:
                parts[whole][series.epoch] += series.values[0]
        np.testing.assert_allclose(
            value(reporter, "", whole), parts[whole], rtol=1e-6
        )
    # and that to what Keras logged. None of them is the rest of the others.
    assert "other_loss" not in rows.quantities
    total = value(reporter, "", "data_loss") + sum(parts.values())
    np.testing.assert_allclose(total, logs["loss"], rtol=1e-5)
    np.testing.assert_allclose(
        value(reporter, "", "epoch_loss"), logs["loss"], 1e-5
    )
    assert logs["penalty"] == value(reporter, "", "penalty").tolist()
    assert (
        logs["penalty_share"] == value(reporter, "", "penalty_share").tolist()
    )


class TestPartsAddUp:
    def test_regularizers(self, digits):
        """All kinds in one model."""
        kinds = [
            (L1(0.02), ["l1"]),
            (L2(0.02), ["l2"]),
            (L1L2(0.02, 0.01), ["l1", "l2"]),
            (GroupLasso(0.02), ["group_lasso"]),
            (keras.regularizers.L1(0.02), ["l1"]),
            (keras.regularizers.L2(0.02), ["l2"]),
            (keras.regularizers.L1L2(0.02, 0.01), ["l1", "l2"]),
            (keras.regularizers.OrthogonalRegularizer(0.1), ["other_penalty"]),
            (squared, ["other_penalty"]),
        ]
        stack = [
            layers.Dense(5, "tanh", name=f"d{i}", kernel_regularizer=each)
            for i, (each, _) in enumerate(kinds)
        ]
        model = keras.Sequential([keras.Input((12,)), *stack, layers.Dense(3)])
        start = sum(
            float(each(ops.convert_to_tensor(layer.get_weights()[0])))
            for layer, (each, _) in zip(stack, kinds, strict=True)
        )
        reporter, logs = watch(compiled(model), *digits, epochs=3)
        for i, (_, terms) in enumerate(kinds):
            found = reporter.recording.select(f"*/d{i}/kernel")
            pulls = ["penalty_gradient_norm", "data_gradient_norm"]
            assert found.quantities == [*terms, *pulls]
            assert np.all(found.value > 0)
        assert logs["penalty"][0] == pytest.approx(start, rel=0.1)

    def test_one_batch_against_numpy(self, digits):
        model = make(L1L2(0.02, 0.01), bias_regularizer="l2")
        kernel, bias = model.get_layer("a").get_weights()
        data = model.evaluate(*digits, batch_size=64, verbose=0)
        l1, l2 = 0.02 * np.abs(kernel).sum(), 0.01 * (kernel**2).sum()
        reporter = PenaltyReporter()
        model.fit(*digits, 64, verbose=0, callbacks=[reporter])
        np.testing.assert_allclose(
            value(reporter, "*/a/kernel", "l1"), l1, 1e-5
        )
        np.testing.assert_allclose(
            value(reporter, "*/a/kernel", "l2"), l2, 1e-5
        )
        assert value(reporter, "*/a/bias", "l2") == 0.01 * (bias**2).sum()
        np.testing.assert_allclose(
            value(reporter, "", "epoch_loss"), data, 1e-5
        )
        np.testing.assert_allclose(
            value(reporter, "", "penalty_share"), (l1 + l2) / data, 1e-5
        )

    def test_activity_and_added_losses(self, digits):
        inputs = keras.Input((12,))
        shared = layers.Dense(
            12, "relu", activity_regularizer=L2(0.02), name="shared"
        )
        hidden = Added(name="added")(shared(shared(inputs)))
        hidden = layers.ActivityRegularization(l1=0.01, name="flat")(hidden)
        model = compiled(keras.Model(inputs, layers.Dense(3)(hidden)))
        reporter, _ = watch(model, *digits)
        rows = reporter.recording.select(epoch=0)
        activity = rows.select(quantity="activity_penalty")
        assert activity.owners == ["shared", "flat"]
        assert np.all(activity.value > 0)
        assert rows.select(quantity="added_loss").owners == ["", "added"]

    @pytest.mark.skipif(
        keras.backend.backend() != "jax", reason="Keras does so on JAX alone"
    )
    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_a_loss_that_keras_drops(self, jit_compile, digits):
        """A layer that keeps an old `id` removes the loss with that `id`."""

        class Stale(set):
            stale = False

            def __contains__(self, key):
                return self.stale or super().__contains__(key)

            def clear(self):
                self.stale = False
                super().clear()

        class Provoked(Added):
            def __init__(self, name):
                super().__init__(name=name)
                vars(self)["_loss_ids"] = Stale()

            def __call__(self, *args, **kwargs):
                self._loss_ids.stale = len(self._loss_ids) > 0
                return super().__call__(*args, **kwargs)

        model = compiled(
            keras.Sequential(
                [
                    keras.Input((12,)),
                    layers.Dense(5, activity_regularizer="l2", name="first"),
                    Provoked(name="second"),
                    layers.Dense(3),
                ]
            ),
            jit_compile=jit_compile,
        )
        reporter, _ = watch(model, *digits, batch_size=32)
        penalty = value(reporter, "*first", "activity_penalty")
        if jit_compile:  # traced once, when there was no old `id`
            assert penalty[1] > 0
        else:
            assert penalty[0] > 0
            assert penalty[1] == 0

    def test_frozen_nested_and_shared_layers(self, digits):
        inputs = keras.Input((12,))
        frozen = layers.Dense(12, kernel_regularizer="l1", name="frozen")
        twice = layers.Dense(12, "tanh", kernel_regularizer=L1(0.01), name="x")
        inner = keras.Sequential([twice, frozen, layers.Dropout(0.3), twice])
        namesake = layers.Dense(3, kernel_regularizer=L2(0.01), name="x")
        other = keras.Sequential([namesake])
        frozen.trainable = False
        model = compiled(keras.Model(inputs, other(inner(inputs))), "adam")
        reporter, _ = watch(model, *digits)
        terms = [
            (series.owner, series.quantity)
            for series in reporter.recording.select(epoch=0)
            if series.quantity in ("l1", "l2", "other_penalty") and series.owner
        ]
        assert [quantity for _, quantity in terms] == ["l1", "l2"]
        assert len({layer for layer, _ in terms}) == 2
        assert not any("frozen" in layer for layer, _ in terms)

    def test_two_outputs_with_loss_weights(self, digits):
        x, y = digits
        inputs = keras.Input((12,))
        hidden = layers.Dense(6, "tanh", kernel_regularizer="l2")(inputs)
        outputs = {
            "a": layers.Dense(3, name="a")(hidden),
            "b": layers.Dense(1, name="b")(hidden),
        }
        model = keras.Model(inputs, outputs)
        model.compile(
            "sgd",
            {"a": LOSS(from_logits=True), "b": "mse"},
            loss_weights={"a": 1.0, "b": 0.25},
        )
        targets = {"a": y, "b": y.astype("float32")[:, None]}
        # Keras' means by output are not weighted by the size of the batches.
        reporter, logs = watch(
            model, x, targets, batch_size=32, validation_data=(x, targets)
        )
        a, b = (value(reporter, name, "data_loss") for name in "ab")
        np.testing.assert_allclose(a, logs["a_loss"], rtol=1e-5)
        np.testing.assert_allclose(b, 0.25 * np.array(logs["b_loss"]), 1e-5)
        np.testing.assert_allclose(
            a + b, value(reporter, "", "data_loss"), 1e-5
        )

    def test_mixed_precision_with_loss_scaling(self, digits):
        with Policy("mixed_float16"):
            model = keras.Sequential(
                [
                    keras.Input((12,)),
                    layers.Dense(
                        8, "tanh", kernel_regularizer=L1L2(0.01, 0.01)
                    ),
                    layers.Dense(3, dtype="float32", bias_regularizer="l2"),
                ]
            )
            _ = compiled(model, "adam")
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        watch(model, *digits)

    def test_embeddings(self):
        words = np.arange(192).reshape(64, 3) % 7
        model = compiled(
            keras.Sequential(
                [
                    layers.Embedding(
                        9, 4, name="e", embeddings_regularizer=L2(0.1)
                    ),
                    layers.Flatten(),
                    layers.Dense(3),
                ]
            )
        )
        reporter, _ = watch(model, words, words[:, 0] % 3)
        rest = value(reporter, "*/e/embeddings", "data_gradient_norm")
        assert np.all(rest > 0)

    def test_sample_weights_accumulation_and_unbuilt_models(self, digits):
        model = keras.Sequential(
            [layers.Dense(4, "relu", kernel_regularizer="l1"), layers.Dense(3)]
        )
        _ = compiled(
            model, keras.optimizers.Adam(gradient_accumulation_steps=2)
        )
        watch(model, *digits, sample_weight=np.linspace(0, 2, 64))

    def test_no_penalty_at_all(self, digits):
        reporter, logs = watch(make(None), *digits)
        assert logs["penalty"] == logs["penalty_share"] == [0.0, 0.0]
        assert reporter.recording.owners == ["loss", ""]  # logged, and the run

    def test_only_added_losses(self, digits):
        model = keras.Sequential([keras.Input((12,)), layers.Dense(3), Added()])
        model.compile("sgd")
        reporter = PenaltyReporter()
        model.fit(digits[0], verbose=0, callbacks=[reporter])
        np.testing.assert_allclose(
            value(reporter, "", "added_loss"),
            value(reporter, "", "epoch_loss"),
            rtol=1e-5,
        )
        assert abs(value(reporter, "", "data_loss")) < 1e-6

    def test_a_loss_of_the_models_own(self, digits):
        class Own(keras.Model):
            def __init__(self, partly):
                super().__init__()
                self.partly = partly
                self.dense = layers.Dense(3, kernel_regularizer=L2(0.1))

            def call(self, x):
                return self.dense(x)

            def compute_loss(
                self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs
            ):
                if self.partly:
                    loss = super().compute_loss(x, y, y_pred, sample_weight)
                    return loss + 0.5
                return ops.mean(ops.square(y_pred)) + sum(self.losses)

        for partly in (True, False):
            reporter = PenaltyReporter()
            model = compiled(Own(partly))
            model.fit(*digits, 64, verbose=0, callbacks=[reporter])
            other = value(reporter, "", "other_loss")
            np.testing.assert_allclose(other, [0.5] * partly, rtol=1e-4)
            whole = sum(
                value(reporter, "", quantity).sum()
                for quantity in ("data_loss", "penalty", "other_loss")
            )
            np.testing.assert_allclose(
                whole, value(reporter, "", "epoch_loss"), rtol=1e-5
            )
            assert value(reporter, "", "data_loss") > 0

    def test_sampled_steps(self, digits):
        sampled, tap = PenaltyReporter(every=2), GradientMonitor(every=2)
        make(L2(0.01)).fit(
            *digits, 16, verbose=0, callbacks=[sampled, tap], shuffle=False
        )
        np.testing.assert_allclose(
            value(sampled, "", "epoch_loss"),
            value(tap, "", "batch_loss").mean(),
            1e-6,
        )
        assert sampled.recording.select("", "penalty").step.tolist() == [2]

    def test_several_steps_an_execution(self, digits):
        if keras.backend.backend() == "torch":
            pytest.skip("steps_per_execution must be 1 with torch")
        model = make(L2(0.01))
        model.compile("sgd", LOSS(from_logits=True), steps_per_execution=2)
        watch(model, *digits)

    def test_more_steps_than_the_device_holds(self, digits):
        reporter = PenaltyReporter()
        x, y = np.tile(digits[0], (5, 1)), np.tile(digits[1], 5)
        logs = make(L1(0.02)).fit(x, y, 1, verbose=0, callbacks=[reporter])
        assert_adds_up(reporter, logs.history)
        assert reporter.recording.select("", "penalty").step.tolist() == [319]


class Policy:
    """A dtype policy for the length of a with-block."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.name)

    def __exit__(self, *exception):
        keras.config.set_dtype_policy(self.before)


class TestPulls:
    @pytest.mark.parametrize(
        "regularizer",
        [
            L1L2(0.02, 0.01),
            GroupLasso(0.02),
            keras.regularizers.L1(0.02),
            squared,
        ],
        ids=lambda regularizer: getattr(regularizer, "__name__", None),
    )
    def test_gradients_against_autodiff(self, regularizer, digits):
        """Total and data alone; scaled and clipped; some weights are zero."""
        x, y = digits
        found = {}
        for name, each in (("total", regularizer), ("data", None)):
            keras.utils.set_random_seed(0)
            optimizer = keras.optimizers.LossScaleOptimizer(
                keras.optimizers.SGD(0.0, global_clipnorm=1e-3)
            )
            model = make(each, optimizer)
            kernel, bias = model.get_layer("a").get_weights()
            kernel[::2] = 0.0
            model.get_layer("a").set_weights([kernel, bias])
            found[name] = gradients(model, x, y)[1][0]
            if each is not None:
                reporter = PenaltyReporter()
                model.fit(x, y, 64, verbose=0, callbacks=[reporter])
        for quantity, expected in (
            ("penalty_gradient_norm", found["total"] - found["data"]),
            ("data_gradient_norm", found["data"]),
        ):
            np.testing.assert_allclose(
                value(reporter, "*/a/kernel", quantity),
                np.linalg.norm(expected.astype(np.float64)),
                rtol=1e-5,
            )

    @pytest.mark.parametrize("scaled", [False, True])
    def test_weight_decay(self, scaled, digits):
        """Without a gradient, decay is all that an update does."""
        schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
        optimizer = keras.optimizers.SGD(schedule, weight_decay=0.1)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        model = make(None)
        model.compile(optimizer, lambda y, p: 0.0 * ops.mean(p, axis=-1))
        kernel = model.get_layer("a").get_weights()[0]
        reporter = PenaltyReporter()
        model.fit(*digits, 32, verbose=0, callbacks=[reporter])
        norm = np.linalg.norm(kernel)
        pulls = [0.05 * norm, 0.025 * 0.95 * norm]
        np.testing.assert_allclose(
            value(reporter, "*/a/kernel", "decay_pull"), np.mean(pulls), 1e-5
        )
        left = np.linalg.norm(model.get_layer("a").get_weights()[0])
        np.testing.assert_allclose(left, norm - sum(pulls), rtol=1e-5)
        decayed = reporter.recording.select(quantity="decay_pull").owners
        assert [path.split("/")[-1] for path in decayed] == ["kernel"] * 2

    def test_weight_decay_under_accumulation(self, digits):
        optimizer = keras.optimizers.AdamW(
            0.1, weight_decay=0.1, gradient_accumulation_steps=4
        )
        model = make(None, optimizer)
        norm = np.linalg.norm(model.get_layer("a").get_weights()[0])
        reporter = PenaltyReporter()
        model.fit(*digits, 16, verbose=0, callbacks=[reporter])
        np.testing.assert_allclose(
            value(reporter, "*/a/kernel", "decay_pull"), 0.01 * norm, 1e-5
        )


class TestChangesNothing:
    def train(self, digits, callbacks, optimizer, **arguments):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        inputs = keras.Input((12,))
        hidden = layers.Dense(
            16,
            "relu",
            kernel_regularizer=keras.regularizers.L1L2(1e-3, 1e-2),
        )(inputs)
        # One layer adds all losses: on JAX, Keras drops one of those of several
        # now and then, see `test_a_loss_that_keras_drops`.
        hidden = Added(activity_regularizer="l2")(hidden)
        hidden = layers.BatchNormalization()(hidden)
        hidden = layers.Dropout(0.3)(hidden)
        hidden = layers.Dense(8, "tanh", kernel_regularizer=squared)(hidden)
        model = keras.Model(inputs, layers.Dense(3)(hidden))
        _ = compiled(model, optimizer(), metrics=["accuracy"], **arguments)
        # TensorFlow takes seconds to compile what no reporter sees.
        jit = arguments.get("jit_compile") is True
        evaluated = None if jit else digits
        logs = model.fit(
            *digits,
            batch_size=BATCH,
            epochs=2,
            verbose=0,
            validation_data=evaluated,
            validation_batch_size=64,
            callbacks=callbacks,
        ).history
        return model, logs

    @pytest.mark.parametrize(
        ("jit_compile", "optimizer"),
        [
            ("auto", lambda: keras.optimizers.AdamW(global_clipnorm=0.1)),
            (False, lambda: keras.optimizers.AdamW(global_clipnorm=0.1)),
            (
                True,
                lambda: keras.optimizers.LossScaleOptimizer(
                    keras.optimizers.SGD(0.05, momentum=0.9)
                ),
            ),
        ],
        ids=["default", "no_jit", "jit_loss_scaled"],
    )
    @pytest.mark.optimized
    def test_bits(self, optimizer, jit_compile, digits):
        arguments = {"jit_compile": jit_compile}
        if keras.backend.backend() == "torch" and jit_compile is True:
            arguments = {}  # torch.compile takes a minute
        plain, logs = self.train(digits, [], optimizer, **arguments)
        monitors = [PenaltyReporter()]
        if jit_compile == "auto":
            monitors = [GradientMonitor(), PenaltyReporter(max_samples=2)]
        watched, watched_logs = self.train(
            digits, monitors, optimizer, **arguments
        )
        for a, b in zip(
            [*plain.variables, *plain.optimizer.variables],
            [*watched.variables, *watched.optimizer.variables],
            strict=True,
        ):
            np.testing.assert_array_equal(
                ops.convert_to_numpy(a), ops.convert_to_numpy(b), a.path
            )
        for key, values in logs.items():
            assert watched_logs[key] == values, key

    def test_an_exception_leaves_nothing_patched(self, digits):
        model, _ = self.train(digits, [], lambda: "adam")
        before = self.attributes(model)

        class Bomb(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                raise RuntimeError("boom")

        def explode(y_true, y_pred):
            raise RuntimeError("boom")

        with pytest.raises(RuntimeError, match="boom"):
            model.fit(*digits, verbose=0, callbacks=[PenaltyReporter(), Bomb()])
        model.fit(*digits, verbose=0)
        assert self.attributes(model) == before
        model.compile("adam", explode)
        before = self.attributes(model)
        with pytest.raises(RuntimeError, match="boom"):
            model.fit(*digits, verbose=0, callbacks=[PenaltyReporter()])
        assert self.attributes(model) == before

    def attributes(self, model):
        return [
            sorted(
                name
                for name, value in vars(each).items()
                if "keras_concepts" in str(getattr(value, "__module__", ""))
                or name in ("add_loss", "call", "update_state", "apply")
            )
            for each in [
                model,
                model.optimizer,
                model._compile_loss,
                *model.metrics,
                *model._flatten_layers(),
            ]
        ]


class TestReuse:
    def test_two_fits_and_a_file(self, digits, tmp_path):
        path = tmp_path / "runs" / "penalties.jsonl"
        model = make(L2(0.01))
        reporter = PenaltyReporter(record_to=path)
        for epochs in (2, 1):
            model.fit(
                *digits, BATCH, epochs=epochs, verbose=0, callbacks=[reporter]
            )
        assert set(reporter.recording.epoch) == {2}  # counted on in the file
        rows = kc.Recording.load(path).select("", "epoch_loss")
        assert rows.step.tolist() == [2, 5, 8]
        assert rows.epoch.tolist() == [0, 1, 2]

    def test_logs_reach_later_callbacks(self, digits):
        stopper = keras.callbacks.EarlyStopping(
            monitor="penalty", mode="max", patience=0, baseline=1.0
        )
        logs = make(L2(0.01)).fit(
            *digits,
            epochs=5,
            verbose=0,
            callbacks=[PenaltyReporter(), stopper],
        )
        assert len(logs.history["penalty"]) == 2
