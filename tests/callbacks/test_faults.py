"""What raises in `fit`, at each place: nothing stays, the next `fit` is equal.

Also while a user keeps the exception, and with it the frames of `fit`.
"""

import contextlib
import functools
import sys
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import keras_concepts as kc
from keras_concepts._shadow import _shared
from watched_fits import X, Y, all_monitors, quiet_doctor

FIT = keras.Model.fit
APPLY = keras.optimizers.Optimizer.apply
STATELESS_APPLY = keras.optimizers.Optimizer.stateless_apply


class BoomError(Exception):
    pass


class Fuse:
    """Raises once, if it is lit."""

    def __init__(self, error=BoomError):
        self.error = error
        self.is_lit = True

    def burn(self):
        if self.is_lit:
            self.is_lit = False
            raise self.error("boom")


class Bomb(keras.callbacks.Callback):
    """Raises in one hook, once."""

    def __init__(self, hook, fuse):
        super().__init__()

        def explode(*args, **kwargs):
            fuse.burn()

        setattr(self, hook, explode)


class Metric(keras.metrics.Metric):
    """Raises in its result or reset, where `fit` itself asks for them."""

    def __init__(self, fuse, place):
        super().__init__(name="own")
        self.fuse, self.place = fuse, place

    def update_state(self, y_true, y_pred, sample_weight=None):
        pass

    def result(self):
        if self.place == "result":
            self.fuse.burn()
        return 1.0

    def reset_state(self):
        if self.place == "reset":
            self.fuse.burn()


class Model(keras.Sequential):
    """Raises in a step of its own, of training or of validation."""

    fuse: Fuse
    place = ""

    def train_step(self, *args):
        if self.place == "train":
            self.fuse.burn()
        return super().train_step(*args)

    def test_step(self, *args):
        if self.place == "test":
            self.fuse.burn()
        return super().test_step(*args)


class Rows(keras.utils.PyDataset):
    """Raises where a batch is asked for, or an epoch begins or ends."""

    def __init__(self, fuse, place, **kwargs):
        super().__init__(**kwargs)
        self.fuse, self.place = fuse, place

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if self.place == index:
            self.fuse.burn()
        return X[8 * index : 8 * index + 8], Y[8 * index : 8 * index + 8]

    def on_epoch_begin(self):
        if self.place == "begin":
            self.fuse.burn()

    def on_epoch_end(self):
        if self.place == "end":
            self.fuse.burn()


def network(kind=keras.Sequential, before=(), **compiled):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model = kind(
        [
            keras.Input((4,)),
            *before,
            layers.Dense(3, "relu", kernel_regularizer="l2", name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(1, name="head"),
        ],
        name="net",
    )
    model.compile(
        keras.optimizers.Adam(0.01), "mse", **{"run_eagerly": True} | compiled
    )
    return model


def fit(model, callbacks, x=X, y=Y, **arguments):
    given = {"validation_data": (X, Y), "validation_batch_size": 16}
    if y is not None:
        given["batch_size"] = 8
    return model.fit(
        *(x, y),
        verbose=0,
        shuffle=False,
        callbacks=callbacks,
        **given | arguments,
    )


def patches(model):
    """Attributes of a model and its parts that are ours."""
    parts = [model, model.optimizer, *model.metrics, *model._flatten_layers()]
    parts.append(model._compile_loss)
    return [
        name
        for part in parts
        if part is not None
        for name, value in vars(part).items()
        if _is_ours(value)
    ]


def _is_ours(value):
    if isinstance(value, functools.partial):
        return _is_ours(value.func)
    own = getattr(value, "__self__", value)
    modules = {
        getattr(value, "__module__", None),
        type(value).__module__,
        type(own).__module__,
    }
    code = getattr(value, "__code__", None)
    file = "" if code is None else code.co_filename
    return "keras_concepts/" in file or any(
        str(each).startswith("keras_concepts.") for each in modules
    )


def assert_nothing_is_left(model):
    assert patches(model) == []
    assert not _shared
    assert keras.Model.fit is FIT
    assert keras.optimizers.Optimizer.apply is APPLY
    assert keras.optimizers.Optimizer.stateless_apply is STATELESS_APPLY


def state(model):
    values = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(value) for value in values]


def assert_equal(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


KEPT = []  # exceptions, as `sys.last_value` would


@pytest.fixture(autouse=True)
def nobody_keeps_exceptions():
    yield
    KEPT.clear()


HOOKS = [
    f"on_{what}_{when}"
    for what in ("train", "epoch", "train_batch", "test", "test_batch")
    for when in ("begin", "end")
]
# Where each `fit` after an exception is compiled, not all of them.
FEW = HOOKS if keras.backend.backend() == "torch" else HOOKS[1::2]


def compare(broken_fit, watched, plain, attached, path=None):
    """Breaks a `fit` of each model, and trains them again.

    Args:
        broken_fit: Called with a model and the callbacks; raises.
        watched: Model, to be watched.
        plain: Model like it, to be compared with.
        attached: How to watch: "callbacks" or "watch".
        path: File for the recordings.
    """
    can_go_on = True
    for model in (plain, watched):
        keras.utils.set_random_seed(1)
        watching, own = contextlib.nullcontext(), []
        if model is watched and attached == "watch":
            watching = kc.watch(path, lambda finding: None, time_budget=None)
        elif model is watched:
            own = [*all_monitors(path), quiet_doctor(record_to=path)]
        with watching:
            with pytest.raises(BaseException, match="boom") as error:
                broken_fit(model, own)
            KEPT.append(error.value)
            assert KEPT[-1].__traceback__ is not None
            # What `watch` leaves, to go on with it, goes when its block ends.
            assert set(patches(model)) <= {"_keras_concepts_unfinished"}
            assert patches(model) == [] or attached == "watch"
            if not can_go_on:
                continue
            try:
                fit(model, own)
            except (TypeError, ValueError):
                # After a step that failed, Keras cannot train a model on JAX,
                # nor on TensorFlow if it was the first: also without monitors.
                can_go_on = model is watched
                if can_go_on:
                    raise
    assert_nothing_is_left(watched)
    if can_go_on:
        assert_equal(state(plain), state(watched))
        assert all(len(monitor.recording) for monitor in own)


@pytest.mark.parametrize(
    ("attached", "place", "hooks"),
    [
        ("callbacks", "after", FEW),
        pytest.param("callbacks", "after", HOOKS, marks=pytest.mark.long),
        ("watch", "before", ["on_train_batch_end", "on_test_end"]),
        pytest.param("callbacks", "before", HOOKS, marks=pytest.mark.long),
        pytest.param("watch", "before", HOOKS, marks=pytest.mark.long),
        pytest.param("watch", "after", HOOKS, marks=pytest.mark.long),
    ],
)
@pytest.mark.optimized
def test_an_exception_in_a_hook(attached, place, hooks, tmp_path):
    """One after the other on one model, as in a notebook."""
    watched, plain = network(), network()
    error = KeyboardInterrupt if place == "before" else BoomError
    for hook in hooks:

        def broken_fit(model, own, hook=hook):
            bomb = Bomb(hook, Fuse(error))
            fit(model, [bomb, *own] if place == "before" else [*own, bomb])

        path = tmp_path / "run.jsonl"
        compare(broken_fit, watched, plain, attached, path)


@pytest.mark.parametrize("place", ["begin", 0, 2, "end"])
@pytest.mark.optimized
def test_an_exception_in_the_data(place):
    def broken_fit(model, own):
        fit(model, own, Rows(Fuse(), place), None)

    compare(broken_fit, network(), network(), "callbacks")


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.optimized
def test_an_exception_in_the_validation_data(place):
    def broken_fit(model, own):
        data = Rows(Fuse(), place)
        fit(model, own, validation_data=data, validation_batch_size=None)

    compare(broken_fit, network(), network(), "callbacks")


@pytest.mark.parametrize("place", ["train", "test"])
@pytest.mark.optimized
def test_an_exception_in_a_step(place):
    def broken_fit(model, own):
        model.fuse, model.place = Fuse(), place
        fit(model, own)

    models = [network(Model, run_eagerly=False) for _ in range(2)]
    compare(broken_fit, *models, "callbacks")


@pytest.mark.parametrize("place", ["result", "reset"])
@pytest.mark.optimized
def test_an_exception_in_a_metric(place):
    fuse = Fuse()
    fuse.is_lit = False

    def light(logs):  # Keras has built the metrics by then
        fuse.is_lit = True

    def broken_fit(model, own):
        fit(model, [keras.callbacks.LambdaCallback(on_train_begin=light), *own])

    models = [network(metrics=[Metric(fuse, place)]) for _ in range(2)]
    compare(broken_fit, *models, "callbacks")


class Looked(layers.Layer):
    """Raises where a monitor calls the model beside the training."""

    fuse: Fuse

    def call(self, x):
        frame = sys._getframe()
        while frame is not None:
            if frame.f_code.co_name in ("_look", "_measure"):
                self.fuse.burn()
            frame = frame.f_back
        return x


@pytest.mark.parametrize("error", [BoomError, KeyboardInterrupt])
@pytest.mark.optimized
def test_an_exception_in_a_look(error):
    """Ctrl-C ends `fit`; anything else costs the doctor what it looked at."""
    layer = Looked()
    layer.fuse = Fuse(error)
    layer.fuse.is_lit = False
    watched = network(before=[layer])
    doctor = quiet_doctor()
    fit(watched, [])
    layer.fuse.is_lit = True
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt) as kept:
            fit(watched, [doctor])
        KEPT.append(kept.value)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(watched, [doctor])
        [said] = [text for text in doctor.unchecked if "boom" in text]
        assert said.startswith("could not use its probe (BoomError: ")
    assert_nothing_is_left(watched)
    fit(watched, [doctor])
    plain = network(before=[Looked()])
    for _ in range(3 if error is BoomError else 2):
        fit(plain, [])
    assert_equal(state(plain), state(watched))
