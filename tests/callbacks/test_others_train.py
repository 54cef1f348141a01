"""What other callbacks do to the model in `fit`: the monitors go on.

Each measured number is compared with what a plain run shows of its weights.
"""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts import quantities as q
from keras_concepts.callbacks import (
    GradientMonitor,
    NonFiniteGuard,
    PenaltyReporter,
    SignalMonitor,
)
from watched_fits import X, Y, quiet_doctor, user_warnings

BACKEND = keras.backend.backend()
EPOCHS, STEPS = 3, 4


def network(name="net"):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, "relu", kernel_regularizer="l2", name="hidden"),
            layers.Dense(1, name="head"),
        ],
        name=name,
    )
    model.compile(keras.optimizers.SGD(0.05), "mse", run_eagerly=True)
    return model


def fit(model, callbacks, **arguments):
    given = {"batch_size": 8, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
    return model.fit(X, Y, callbacks=callbacks, **given | arguments)


class Act(keras.callbacks.Callback):
    """Does something to the model, once, in the second call of a hook."""

    def __init__(self, hook, act):
        super().__init__()
        self.calls = 0

        def called(*args, **kwargs):
            self.calls += 1
            if self.calls == 2:
                act(self.model)

        setattr(self, hook, called)


class Weights(keras.callbacks.Callback):
    """Of each step the RMS of a kernel before it, as seen from outside."""

    def __init__(self):
        super().__init__()
        self.rms = []

    def on_train_batch_begin(self, batch, logs=None):
        kernel = keras.ops.convert_to_numpy(self.model.layers[-1].kernel.value)
        self.rms.append(float(np.sqrt(np.mean(np.square(kernel)))))


def train_on_batch(model):
    model.train_on_batch(X[:8], Y[:8])


def fit_again(model):
    fit(model, [], epochs=1)


def fit_again_watched(model):
    monitor = GradientMonitor()
    fit(model, [monitor], epochs=1)
    assert len(monitor.recording.select("", q.GRADIENT_NORM)) == STEPS


def fit_another(model):
    monitor = GradientMonitor()
    fit(network("other"), [monitor], epochs=1)
    assert monitor.recording.facts["model"] == "other"


def make_train_function(model):
    model.make_train_function(force=True)


def make_train_function_anew(model):
    model.train_function = None
    model.make_train_function()


def compile_again(model):
    model.compile(keras.optimizers.Adam(0.01), "mae", run_eagerly=True)
    model.make_train_function()


def replace_optimizer(model):
    model.optimizer = keras.optimizers.Adam(0.01)
    model.optimizer.build(model.trainable_variables)


def evaluate(model):
    model.evaluate(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("hook", "act"),
    [
        ("on_train_batch_begin", train_on_batch),
        ("on_epoch_begin", fit_again),
        ("on_train_batch_end", fit_again_watched),
        ("on_train_batch_begin", fit_another),
        ("on_train_batch_end", make_train_function),
        ("on_epoch_end", compile_again),
        ("on_train_batch_end", replace_optimizer),
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (
                ("on_epoch_end", train_on_batch),
                ("on_train_batch_end", fit_again),
                ("on_epoch_end", fit_again_watched),
                ("on_epoch_begin", make_train_function_anew),
                ("on_train_batch_begin", compile_again),
                ("on_epoch_end", replace_optimizer),
                ("on_train_batch_end", evaluate),
            )
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else each.__name__,
)
@pytest.mark.optimized
def test_monitors_go_on(hook, act):
    plain, watched = network(), None
    seen = Weights()
    try:
        fit(plain, [Act(hook, act), seen])
    except Exception as error:  # with or without monitors
        pytest.skip(f"Keras cannot: {type(error).__name__}")
    watched = network()
    gradients, penalties = GradientMonitor(), PenaltyReporter()
    signals, guard = SignalMonitor((X, Y)), NonFiniteGuard()
    doctor = quiet_doctor()
    monitors = [gradients, signals, penalties, guard, doctor]
    fit(watched, [*monitors, Act(hook, act)])
    for a, b in zip(plain.variables, watched.variables, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
        )
    steps = list(range(EPOCHS * STEPS))
    for monitor in (gradients, doctor):
        rows = monitor.recording.select("net/head/kernel", q.WEIGHT_RMS)
        assert rows.step.tolist() == steps
        np.testing.assert_allclose(rows.value, seen.rms, rtol=1e-6)
        losses = monitor.recording.select("", q.BATCH_LOSS).value
        assert np.isfinite(losses).all()
    checked = guard.recording.select("", q.CHECKED_STEPS)
    assert checked.value.tolist() == [STEPS] * EPOCHS
    ends = [STEPS * (1 + epoch) for epoch in range(EPOCHS)]
    probed = signals.recording.select("", q.PROBE_LOSS).step.tolist()
    assert probed == [0, *ends]
    # Two, in an epoch whose steps were run by two train functions.
    reported = penalties.recording.select("", q.PENALTY).step.tolist()
    assert reported[-EPOCHS:] == [end - 1 for end in ends]
    assert not [text for text in doctor.unchecked if "did not see" in text]


def test_a_train_function_of_somebodys_own_is_said(capsys):
    """Replacing the monitor's train function detaches the monitor."""

    def replace(model):
        function = vars(model)["train_function"]
        model.train_function = lambda *data: function._original(*data)

    monitor = GradientMonitor()
    model = network()
    with user_warnings() as texts:
        fit(model, [monitor, Act("on_train_batch_begin", replace)])
    [text] = texts
    assert "did not see the last 3 steps of epoch 1" in text
    rows = monitor.recording.select("", q.GRADIENT_NORM)
    assert [int(sum(rows.epoch == epoch)) for epoch in range(EPOCHS)] == [
        1,
        4,
        4,
    ]
    [said] = monitor.recording.facts["missed by GradientMonitor"]
    assert "numbered too low" in said
    monitor.summary()
    assert "did not see the last 3" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("second", ["same", "other"])
def test_one_monitor_in_two_models(second, tmp_path):
    """One after the other: each `fit` is a run of its own."""
    path = tmp_path / "run.jsonl"
    monitor = GradientMonitor(record_to=path)
    first = network("first")
    fit(first, [monitor], epochs=1)
    one = monitor.recording
    fit(first if second == "same" else network("second"), [monitor], epochs=1)
    two = monitor.recording
    assert one is not two
    for number, recording in enumerate((one, two)):
        steps = recording.select("", q.GRADIENT_NORM).step
        assert steps.tolist() == [STEPS * number + i for i in range(STEPS)]
    names = {run.facts["model"] for run in type(one).load(path).runs}
    assert names == ({"first"} if second == "same" else {"first", "second"})


def test_one_monitor_in_a_fit_inside_a_fit():
    monitor = GradientMonitor()
    outer, inner = network(), network("inner")

    def fit_inside(model):
        fit(inner, [monitor], epochs=1)

    with user_warnings() as texts:
        fit(outer, [monitor, Act("on_epoch_end", fit_inside)])
    [text] = texts
    assert "will not see the rest of the outer" in text
    assert monitor.recording.facts["model"] == "inner"
    assert len(monitor.recording.select("", q.GRADIENT_NORM)) == STEPS


def test_warnings_may_be_errors():
    """Also those that the project itself ignores, as with `python -W error`."""
    model = network()
    fit(model, [], epochs=1)
    monitors = [
        GradientMonitor(),
        SignalMonitor((X, Y)),
        PenaltyReporter(),
        NonFiniteGuard(),
        quiet_doctor(),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for initial in (0, 1):
            fit(model, monitors, initial_epoch=initial, epochs=initial + 1)
    said = monitors[-1].unchecked
    assert not [text for text in said if "could not" in text]
