import itertools

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.rules import Rule


def _record(
    gradients,
    *,
    steps_per_epoch=10,
    nonfinite=True,
    whole_model=None,
    prefix="model/",
    monitor="GradientMonitor",
    run=0,
    first_step=0,
):
    """A recording of `{path: RMS gradient at each step}`, epoch after epoch."""
    recording = Recording(monitor=monitor)
    recording.run = run
    count = len(next(iter(gradients.values())))
    for start in range(0, count, steps_per_epoch):
        steps = np.arange(start, min(start + steps_per_epoch, count))
        epoch = start // steps_per_epoch
        at = steps + first_step
        for quantity, values in (whole_model or {}).items():
            recording.append(epoch, "", quantity, at, values[steps])
        for path, values in gradients.items():
            rms = np.asarray(values, float)[steps]
            recording.append(epoch, prefix + path, q.GRADIENT_RMS, at, rms)
            if nonfinite:
                recording.append(
                    epoch,
                    prefix + path,
                    q.GRADIENT_NONFINITE,
                    at,
                    np.where(np.isfinite(rms), 0, 7),
                )
    return recording


@pytest.fixture
def record():
    return _record


@pytest.fixture
def decades():
    """Three layers with gradients of 1e-6, 1e-3 and 1 in 20 steps."""
    return _record(
        {
            "a/kernel": np.full(20, 1e-6),
            "b/kernel": np.full(20, 1e-3),
            "c/kernel": np.full(20, 1.0),
        }
    )


_USUAL_SIGNALS = {
    q.ACTIVATION_MEAN: 0.25,
    q.ACTIVATION_STD: 0.5,
    q.ACTIVATION_RMS: 0.56,
    q.ZERO_SHARE: 0.0,
    q.UNITS: 64,
    q.ZERO_ACTIVATION_UNITS: 0,
    q.SATURATED_UNITS: 0,
}


def _record_signals(
    layers,
    *,
    measured=3,
    errors=True,
    first_step=0,
    every=1,
    run=0,
    prefix="model/",
    monitor="SignalMonitor",
):
    """As a `SignalMonitor` records `{layer: {quantity: value or values}}`.

    Before training and after each `every`-th epoch of 10 steps.
    """
    recording = Recording(monitor=monitor)
    recording.run = run
    usual = _USUAL_SIGNALS | ({q.ERROR_RMS: 0.1} if errors else {})
    for i in range(measured):
        step = first_step + 10 * every * i
        epoch = every * i - 1 if i else -1
        if errors:
            recording.append(epoch, "", q.PROBE_LOSS, step, 0.5)
        *_, last = layers.values()
        for layer, quantities in layers.items():
            rows = usual | quantities
            if errors:
                with np.errstate(all="ignore"):
                    share = (
                        np.float64(rows[q.ERROR_RMS])
                        / (usual | last)[q.ERROR_RMS]
                    )
                rows[q.ERROR_ATTENUATION] = share
            for quantity, value in rows.items():
                indexed = q.described(quantity).indexed_by
                index = np.arange(np.size(value)) if indexed else None
                recording.append(
                    epoch, prefix + layer, quantity, step, value, index=index
                )
    return recording


@pytest.fixture
def record_signals():
    return _record_signals


def _record_penalties(rows, epochs=3, *, run=0, first_step=0):
    """Of `{(owner, quantity): value}`, halved from epoch to epoch."""
    recording = Recording(monitor="PenaltyReporter")
    recording.run = run
    whole = {q.DATA_LOSS: 1.0, q.PENALTY: 0.0, q.ADDED_LOSS: 0.0}
    whole |= {quantity: v for (owner, quantity), v in rows.items() if not owner}
    loss = sum(whole.values())
    share = whole[q.PENALTY] / loss
    for epoch in range(epochs):
        step = first_step + 10 * epoch + 9
        everything = {("", name): value for name, value in whole.items()}
        everything |= rows | {("", q.EPOCH_LOSS): loss}
        for (owner, quantity), value in everything.items():
            recording.append(epoch, owner, quantity, step, value * 0.5**epoch)
        recording.append(epoch, "", q.PENALTY_SHARE, step, share)
    return recording


@pytest.fixture
def record_penalties():
    return _record_penalties


def _record_shifts(layers, epochs=3, *, run=0, first_step=0, losses=None):
    """Of `{layer: (mean shift, log variance ratio) of each channel}`.

    A layer in inference mode is `None`. The shifts halve with each epoch.
    """
    recording = Recording(monitor="BatchNormShiftMonitor")
    recording.run = run
    for epoch in range(epochs):
        step = first_step + 10 * epoch + 9
        worst = np.nan
        for layer, shifts in layers.items():
            owner = f"model/{layer}"
            calls = 0 if shifts is None else 1
            recording.append(epoch, owner, q.CALLS, step, calls)
            if shifts is None:
                recording.append(epoch, owner, q.FROZEN, step, 1.0)
                continue
            mean, variance = 0.5**epoch * np.asarray(shifts, float)
            channels = np.arange(len(mean))
            for quantity, values in (
                (q.MEAN_SHIFT, mean),
                (q.LOG_VARIANCE_RATIO, variance),
            ):
                recording.append(
                    epoch, owner, quantity, step, values, index=channels
                )
            shift = np.median(np.abs(mean))
            worst = np.fmax(worst, shift)
            for quantity, value in (
                (q.BATCH_NORM_SHIFT, shift),
                (q.BATCH_NORM_VARIANCE, np.median(np.abs(variance))),
                (q.INITIAL_SHARE, 0.9**epoch),
            ):
                recording.append(epoch, owner, quantity, step, value)
        recording.append(epoch, "", q.BATCH_NORM_SHIFT, step, worst)
        if losses is not None:
            for quantity, value in zip(
                (q.TRAINING_LOSS, q.INFERENCE_LOSS, q.INFERENCE_GAP),
                (*losses, losses[1] - losses[0]),
                strict=True,
            ):
                recording.append(epoch, "", quantity, step, value)
    return recording


@pytest.fixture
def record_shifts():
    return _record_shifts


def _record_checks(losses, *, run=0, first_step=0, fault=None):
    """Of the last loss of each epoch, and `(step, owner, quantity, count)`."""
    recording = Recording(monitor="NonFiniteGuard")
    recording.run = run
    if fault is not None:
        step, owner, quantity, count = fault
        epoch, batch = divmod(step - first_step, 10)
        recording.append(epoch, owner, quantity, step, count)
        recording.append(epoch, "", q.NON_FINITE_BATCH, step, batch)
    for epoch, loss in enumerate(losses):
        step = first_step + 10 * epoch + 9
        recording.append(epoch, "", q.BATCH_LOSS, step, loss)
        recording.append(epoch, "", q.CHECKED_STEPS, step, 10)
        recording.append(epoch, "", q.SKIPPED_STEPS, step, 0)
    return recording


@pytest.fixture
def record_checks():
    return _record_checks


def _record_course(
    losses, *, steps=10, run=0, first_step=0, spread=(), facts=None
):
    """As a `TrainingDoctor` records a run of `steps` steps an epoch.

    `losses` are pairs of training and validation loss, or `None` for no logs;
    `spread` is that of the predictions before training and after each epoch.
    """
    recording = Recording(monitor="TrainingDoctor")
    recording.run = run
    if run == 0:
        recording.record_facts({"epochs": len(losses)} | (facts or {}))
    for epoch in range(-1, len(losses)):
        step = first_step + steps * (epoch + 1)
        for value in spread[epoch + 1 : epoch + 2]:
            recording.append(epoch, "", q.PREDICTION_SPREAD, step, value)
        if epoch >= 0 and losses[epoch] is not None:
            for key, value in zip(
                ("loss", "val_loss"), losses[epoch], strict=False
            ):
                recording.append(epoch, key, q.LOG, step, value, monitor=q.FIT)
        recording.append(epoch, "", q.CHECKED, step, 1)
    return recording


@pytest.fixture
def record_course():
    return _record_course


@pytest.fixture
def judged_by(monkeypatch):
    """Puts rules in the place of the real ones.

    Each is a dict of what `_rule` takes; its evidence is found from the first
    to the last of `steps`.
    """

    def put(*rules):
        made = [_rule(**each) for each in rules]
        monkeypatch.setattr("keras_concepts.rules.judge.RULES", made)

    return put


def _rule(
    name,
    evidence=None,
    steps=(0, np.inf),
    *,
    severity="warning",
    why="It matters.",
    page="",
    needs="",
    meant=True,
):
    def function(t):
        if evidence is not None and steps[0] <= t.position[1] <= steps[1]:
            yield evidence

    return Rule(
        *(name, function, severity, why, page, needs),
        is_known=lambda t: not needs,
        is_meant=lambda t: meant,
    )


def _joined(*recordings):
    """One recording with the rows of all, as a file holds them."""
    recording = Recording()
    for each in recordings:
        for s in each:
            recording.run = s.run
            recording.append(
                s.epoch,
                s.owner,
                s.quantity,
                s.steps,
                s.values,
                index=s.index,
                monitor=s.monitor,
            )
    return recording


@pytest.fixture
def joined():
    return _joined


def _of_run(run, scale):
    """What six monitors record of a run of two epochs of ten steps."""
    first = 20 * run
    gradients = {
        "a/kernel": np.full(20, 1e-4 * scale),
        "lstm/lstm_cell/kernel": np.full(20, 1e-2 * scale),
        "out/kernel": np.full(20, 1.0 * scale),
    }
    lags = 0.01 * 0.5 ** np.arange(12)
    signals = {
        "a": {q.ERROR_RMS: 1e-4 * scale},
        "lstm": {
            q.ERROR_RMS: 1e-2,
            q.STATE_ERROR_RMS: lags,
            q.MEMORY_HORIZON: 7,
            q.FORGET_GATE_MEAN: 0.73,
        },
        "out": {q.ERROR_RMS: 1.0},
    }
    penalties = {
        ("", q.PENALTY): 0.5 * scale,
        ("model/a/kernel", q.L1): 0.25 * scale,
        ("model/out/kernel", q.L2): 0.25 * scale,
    }
    shifts = {"bn": ([0.5 * scale, -3.0 * scale], [0.1, 2.0]), "frozen": None}
    options = {"run": run, "first_step": first}
    loss = {q.BATCH_LOSS: np.full(20, 9.0), q.GRADIENT_NORM: np.ones(20)}
    fault = (first + 13, "model/out/kernel", q.NON_FINITE_GRADIENT, 3)
    return [
        _record(gradients, whole_model=loss, **options),
        _record_signals(signals, **options),
        _record_penalties(penalties, 2, **options),
        _record_shifts(shifts, 2, losses=(0.5, 0.75), **options),
        _record_checks(
            [9.0, 8.0], fault=fault if run else None, run=run, first_step=first
        ),
        _record_course(
            [None, None], spread=[scale, 0.5, 0.0], run=run, first_step=first
        ),
    ]


@pytest.fixture
def everything():
    """A file with all six monitors and two runs, in an unusual order.

    Rows of the monitors alternate, the last channel or lag comes first, and so
    does the second run.
    """
    recording = Recording()
    for run, scale in ((1, 1.0), (0, 10.0)):
        recording.run = run
        rows = itertools.zip_longest(*_of_run(run, scale))
        for s in filter(None, itertools.chain.from_iterable(rows)):
            recording.append(
                s.epoch,
                s.owner,
                s.quantity,
                s.steps[::-1],
                s.values[::-1],
                index=s.index[::-1],
                monitor=s.monitor,
            )
    return recording
