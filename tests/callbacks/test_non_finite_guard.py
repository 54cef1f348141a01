"""A NaN is planted in each place, and the guard must name that place."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_concepts as kc
from keras_concepts.callbacks import NonFiniteGuard
from keras_concepts.instruments.non_finite import non_finite_tap

BACKEND = keras.backend.backend()


class Planted(layers.Layer):
    """NaN or infinity for rows whose last feature is 7."""

    def __init__(self, value=float("nan"), slope_only=False, **arguments):
        super().__init__(**arguments)
        self.value, self.slope_only = value, slope_only

    def call(self, inputs):
        planted = inputs[:, -1:] > 6.5
        if self.slope_only:
            # d sqrt(u)/du is infinite at 0, and 0 * inf is NaN.
            return inputs + ops.sqrt(ops.where(planted, 0.0, 1.0) * inputs**2)
        return ops.where(planted, self.value, inputs)


class Marked:
    """What `Planted` plants, in the loss."""

    def __call__(self, y, p):
        loss = ops.mean(ops.square(p - y[:, :1]), axis=-1)
        return ops.where(y[:, 1] > 6.5, float("inf"), loss)


def data(bad=None, batch=8, steps=4):
    """Rows of 6 numbers; row 0 of the bad batch ends in 7."""
    random = np.random.default_rng(0)
    x = random.uniform(0.1, 1, (batch * steps, 6)).astype("float32")
    y = np.zeros((len(x), 2), "float32")
    if bad is not None:
        x[bad * batch, -1] = y[bad * batch, 1] = 7.0
    return x, y


def model_of(*middle, loss=None, optimizer=None, **arguments):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            *middle,
            layers.Dense(4, "tanh", name="first"),
            layers.Dropout(0.2),
            layers.Dense(1, name="last"),
        ],
        name="m",
    )
    loss = loss or (lambda y, p: ops.square(p - y[:, :1]))
    # XLA takes a second to compile each; bits are compared with it below.
    arguments.setdefault("jit_compile", BACKEND == "jax")
    model.compile(optimizer or keras.optimizers.SGD(0.01), loss, **arguments)
    return model


def fit(model, xy, guard, epochs=1, **arguments):
    model.fit(
        *xy,
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[guard],
        **arguments,
    )
    return guard


def weights_of(model):
    return [
        ops.convert_to_numpy(v)
        for v in [*model.weights, *model.optimizer.variables]
    ]


def no_message(message):
    raise AssertionError(message)


def plant(kind):
    x, y = data(bad=2)
    if kind == "input":
        x[16, 1] = np.nan
        return model_of(), (x, y)
    if kind == "label":
        y[16, 0] = np.inf
        return model_of(), (x, y)
    if kind == "activation":
        return model_of(Planted(name="planted")), (x, y)
    if kind == "loss":
        return model_of(loss=Marked()), (x, y)
    if kind == "gradient":
        x[16, :3] = 0.0
        before = layers.Dense(6, "relu", name="before")
        before = [before, Planted(slope_only=True)]
        model = model_of(*before)
        kernel, bias = model.layers[0].get_weights()
        model.layers[0].set_weights([np.eye(*kernel.shape), 0 * bias])
        return model, (x, y)
    # An update out of the range of float32, of a finite gradient.
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [1], [1e-3, 3e38]
    )
    y[:, 0] = 50.0
    return model_of(optimizer=keras.optimizers.SGD(schedule)), (x, y)


EXPECTED = {
    "input": ("input", "x"),
    "label": ("input", "y"),
    "activation": ("activation", "m/planted"),
    "loss": ("loss", ""),
    "gradient": ("gradient", "m/before/bias"),
    "weight": ("weight", "m/"),
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_each_kind_is_named(kind):
    messages = []
    model, xy = plant(kind)
    guard = fit(model, xy, NonFiniteGuard(sink=messages.append), epochs=3)
    found = guard.found
    name, layer = EXPECTED[kind]
    assert found.kind == name
    assert found.layer == layer or (kind == "weight" and "m/" in found.layer)
    assert (found.step, found.epoch, found.batch) == (2, 0, 2)
    assert found.count >= 1
    assert messages == [str(found)]
    assert set(guard.recording.epoch) == {0}  # and stopped there
    rows = guard.recording.select(layer, f"non_finite_{name}")
    if kind != "weight":
        assert rows.step.tolist() == [2]
        assert rows.value.tolist() == [found.count]
    assert guard.recording.select("", "non_finite_batch").value.tolist() == [2]


@pytest.mark.parametrize("kind", ["activation", "gradient", "weight"])
@pytest.mark.optimized
def test_before_the_update(kind):
    """Weights and optimizer are those of a training that ended before."""
    model, xy = plant(kind)
    guard = NonFiniteGuard(before_update=True, sink=lambda message: None)
    fit(model, xy, guard, epochs=2)
    assert guard.found.step == 2
    shorter, _ = plant(kind)
    shorter.fit(
        *(each[:16] for each in xy), batch_size=8, shuffle=False, verbose=0
    )
    for a, b in zip(weights_of(shorter), weights_of(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_goes_on_if_it_shall():
    model, xy = plant("activation")
    guard = NonFiniteGuard(
        stop=False, before_update=True, sink=lambda message: None
    )
    fit(model, xy, guard, epochs=1)
    weights = model.get_weights()
    fit(model, xy, guard, epochs=2)
    assert guard.found.step == 2
    assert guard.recording.select("", "checked_steps").value.tolist() == [4, 4]
    # One of four steps was undone in each epoch, in the logs as well.
    assert int(model.optimizer.iterations) == 9
    assert np.isfinite(model.history.history["loss"]).all()
    for before, after in zip(weights, model.get_weights(), strict=True):
        assert np.isfinite(after).all()
        assert (before != after).any()


def test_fully_masked_row():
    """The real trap: one empty text."""
    random = np.random.default_rng(0)
    x = random.integers(1, 9, (24, 5))
    x[:, 3:] = 0
    x[17] = 0
    model = keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(9, 4, mask_zero=True),
            layers.GlobalAveragePooling1D(name="pool"),
            layers.Dense(1, "sigmoid"),
        ]
    )
    # PyTorch's binary cross-entropy raises by itself.
    model.compile("adam", "mse", jit_compile=BACKEND == "jax")
    guard = NonFiniteGuard(sink=lambda message: None)
    fit(model, (x, x[:, :1] % 2), guard)
    assert guard.found.kind == "activation"
    assert guard.found.layer.split("/")[-1] == "pool"
    assert (guard.found.step, guard.found.count) == (2, 4)


def test_code_between_layers():
    class Model(keras.Model):
        def __init__(self):
            super().__init__(name="mine")
            self.a, self.b = layers.Dense(4, name="a"), layers.Dense(1)

        def call(self, inputs):
            return self.b(ops.log(ops.abs(self.a(inputs)) * 0.0))

    model = Model()
    model.compile("sgd", "mse")
    guard = NonFiniteGuard(sink=lambda message: None)
    x, _ = data()
    fit(model, (x, x[:, :1]), guard)
    assert guard.found.kind == "activation"
    assert "made by the code before it" in guard.found.message
    assert "mine/dense" in guard.found.layer


def test_operation_in_a_functional_model():
    inputs = keras.Input((6,))
    hidden = ops.log(layers.Dense(4, "relu")(inputs) * 0.0)
    model = keras.Model(inputs, layers.Dense(1)(hidden))
    model.compile("sgd", "mse")
    x, _ = data()
    guard = NonFiniteGuard(sink=lambda message: None)
    fit(model, (x, x[:, :1]), guard)
    assert guard.found.layer == "log"


class TestLossScaling:
    def scaled(self, scale, *middle, **arguments):
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(1e-3), initial_scale=scale
        )
        return model_of(*middle, optimizer=optimizer, **arguments)

    def test_skipped_steps_are_no_alarm(self):
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            model = self.scaled(2.0**30)
        finally:
            keras.config.set_dtype_policy(policy)
        guard = NonFiniteGuard(sink=no_message)
        fit(model, data(), guard, epochs=2)
        assert guard.found is None
        skipped = guard.recording.select("", "skipped_steps").value
        assert skipped[0] > 1

    def test_a_true_nan_is(self):
        guard = NonFiniteGuard(sink=lambda message: None)
        fit(self.scaled(16.0, Planted(name="planted")), data(bad=1), guard)
        assert (guard.found.step, guard.found.layer) == (1, "m/planted")

    def test_skips_without_an_end_are(self):
        model, (x, y) = plant("gradient")
        x[:, :3], x[:, -1] = 0.0, 7.0
        model.compile(
            keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0)),
            model.loss,
            jit_compile=BACKEND == "jax",
        )
        guard = NonFiniteGuard(sink=lambda message: None)
        fit(model, (x, y), guard, epochs=12)
        assert (guard.found.step, guard.found.kind) == (39, "gradient")
        assert "40 steps in a row" in guard.found.message


class TestUse:
    def test_two_fits_and_a_file(self, tmp_path):
        path = tmp_path / "new" / "guard.jsonl"
        model = model_of(Planted(name="planted"))
        guard = NonFiniteGuard(sink=lambda message: None, record_to=path)
        fit(model, data(bad=1), guard)
        assert guard.found.step == 1
        fit(model_of(), data(), guard)
        assert guard.found is None
        rows = kc.Recording.load(path)
        assert rows.select("m/planted").step.tolist() == [1]
        assert rows.select("", "checked_steps").step.tolist()[-1] > 4

    @pytest.mark.filterwarnings("ignore:Your input ran out of data")
    def test_epochs_of_unknown_length(self):
        x, y = data(bad=3)
        batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 32, 8)]
        model = model_of(Planted(name="planted"))
        guard = NonFiniteGuard(sink=lambda message: None)
        model.fit(
            (batch for batch in batches),
            shuffle=False,
            verbose=0,
            callbacks=[guard],
        )
        assert (guard.found.step, guard.found.batch) == (3, 3)

    def test_a_look_in_the_middle_of_an_epoch(self):
        """Two steps late at most, not at the end."""
        model = model_of(Planted(name="planted"))
        guard = NonFiniteGuard(check_every=2, sink=lambda message: None)
        fit(model, data(bad=2, steps=12), guard)
        assert guard.found.step == 2
        assert guard.recording.select("", "checked_steps").value.tolist() == [4]

    def test_several_steps_an_execution(self):
        if BACKEND == "torch":
            pytest.skip("steps_per_execution must be 1 with torch")
        model = model_of(Planted(name="planted"), steps_per_execution=2)
        guard = NonFiniteGuard(sink=lambda message: None)
        fit(model, data(bad=3), guard)
        assert (guard.found.step, guard.found.layer) == (3, "m/planted")

    def test_gradient_accumulation(self):
        optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=2)
        model = model_of(Planted(name="planted"), optimizer=optimizer)
        guard = NonFiniteGuard(sink=lambda message: None)
        fit(model, data(bad=2), guard)
        assert (guard.found.step, guard.found.layer) == (2, "m/planted")

    def test_model_without_a_shape(self):
        model = keras.Sequential([layers.Dense(4), Planted(), layers.Dense(1)])
        model.compile("sgd", "mse")
        x, _ = data()
        x[8:, -1] = np.nan
        guard = NonFiniteGuard(sink=lambda message: None)
        fit(model, (x, x[:, :1] * 0 + 1), guard)
        assert (guard.found.step, guard.found.kind) == (1, "input")

    def test_an_exception_leaves_nothing_patched(self):
        def explode(y, p):
            raise RuntimeError("boom")

        model = model_of(loss=explode)
        with pytest.raises(RuntimeError, match="boom"):
            fit(model, data(), NonFiniteGuard())
        for each in [model, model.optimizer, *model._flatten_layers()]:
            for value in vars(each).values():
                module = str(getattr(value, "__module__", ""))
                assert "keras_concepts" not in module

    @pytest.mark.parametrize("check_every", [1, 3])
    def test_a_message_that_raises_leaves_nothing_patched(self, check_every):
        def sink(message):
            raise KeyboardInterrupt

        model = model_of(Planted())
        guard = NonFiniteGuard(sink=sink, check_every=check_every)
        with pytest.raises(KeyboardInterrupt) as kept:
            fit(model, data(bad=0), guard)
        assert "make_train_function" not in vars(model)
        assert type(model.train_function).__name__ != "ObservedTrainFunction"
        del kept  # until here it kept the frames of `fit`

    def test_summary_names_the_fault(self, capsys):
        guard = fit(*plant("loss"), NonFiniteGuard())
        printed = capsys.readouterr().out
        assert printed.count("\n") == 1
        assert "batch 3): " in printed
        guard.summary()
        printed = capsys.readouterr().out
        assert "at step 2 (epoch 1, batch 3): the loss" in printed

    @pytest.mark.parametrize("verbose", ["auto", 1, 2])
    def test_the_message_has_lines_of_its_own(self, verbose, capsys):
        model, rows = plant("loss")
        guard = NonFiniteGuard(check_every=1)
        model.fit(*rows, batch_size=4, verbose=verbose, callbacks=[guard])
        printed = capsys.readouterr().out.splitlines()
        [line] = [line for line in printed if "NonFiniteGuard: " in line]
        assert line.startswith("NonFiniteGuard: first non-finite value")

    def test_large_and_finite_is_no_alarm(self):
        """Squares beyond the range of float32."""
        model = model_of(loss=lambda y, p: 1e25 * ops.square(p))
        model.optimizer.learning_rate = 0.0
        guard = NonFiniteGuard(sink=no_message)
        fit(model, data(), guard)
        assert guard.found is None


def healthy(kind):
    keras.utils.set_random_seed(0)
    shapes = {"mlp": (6,), "conv": (8, 8, 1), "gru": (5,)}
    bodies = {
        "mlp": lambda: [
            layers.Dense(16, "relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
        ],
        "conv": lambda: [
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.BatchNormalization(),
            layers.Flatten(),
        ],
        "gru": lambda: [layers.Embedding(9, 4, mask_zero=True), layers.GRU(4)],
    }
    dtype = "int32" if kind == "gru" else "float32"
    model = keras.Sequential(
        [
            keras.Input(shapes[kind], dtype=dtype),
            *bodies[kind](),
            layers.Dense(3),
        ]
    )
    random = np.random.default_rng(0)
    x = random.uniform(1, 8, (40, *shapes[kind])).astype(dtype)
    return model, (x, np.arange(40) % 3)


@pytest.mark.parametrize("kind", ["mlp", "conv", "gru"])
@pytest.mark.parametrize(
    "jit_compile", [True, False] if BACKEND == "tensorflow" else ["auto"]
)
@pytest.mark.optimized
def test_healthy_training_is_the_same_to_the_bit(kind, jit_compile):
    runs = {}
    for name, guard in (
        ("plain", None),
        ("watched", NonFiniteGuard(sink=no_message)),
        ("kept", NonFiniteGuard(before_update=True, sink=no_message)),
    ):
        if name == "kept" and (kind != "mlp" or jit_compile is False):
            continue
        model, xy = healthy(kind)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, jit_compile=jit_compile)
        history = model.fit(
            *xy,
            batch_size=8,
            epochs=2,
            verbose=0,
            callbacks=[guard] if guard else [],
        )
        runs[name] = [
            *weights_of(model),
            *(ops.convert_to_numpy(v) for v in model.variables),
            np.array(history.history["loss"]),
        ]
    for values in runs.values():
        for a, b in zip(runs["plain"], values, strict=True):
            np.testing.assert_array_equal(a, b)


def test_layers_that_bear_no_second_pass(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("not again")

    monkeypatch.setattr(non_finite_tap, "nonfinite_layers", refuse)
    messages = []
    guard = fit(*plant("activation"), NonFiniteGuard(sink=messages.append))
    assert (guard.found.step, guard.found.kind) == (2, "loss")
    assert "layers could not be checked" in messages[0]
    assert "outputs are finite" not in messages[0]


def test_check_every():
    with pytest.raises(ValueError, match="check_every"):
        NonFiniteGuard(check_every=0)
