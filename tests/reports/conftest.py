import numpy as np
import pytest

from keras_concepts.recording import Recording


def _record(
    gradients,
    *,
    steps_per_epoch=10,
    nonfinite=True,
    whole_model=None,
    prefix="model/",
):
    """A recording of `{path: RMS gradient at each step}`, epoch after epoch."""
    recording = Recording()
    count = len(next(iter(gradients.values())))
    for start in range(0, count, steps_per_epoch):
        steps = np.arange(start, min(start + steps_per_epoch, count))
        epoch = start // steps_per_epoch
        for quantity, values in (whole_model or {}).items():
            recording.append(epoch, "", quantity, steps, values[steps])
        for path, values in gradients.items():
            rms = np.asarray(values, float)[steps]
            recording.append(epoch, prefix + path, "gradient_rms", steps, rms)
            if nonfinite:
                recording.append(
                    epoch,
                    prefix + path,
                    "gradient_nonfinite",
                    steps,
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


def _record_signals(
    layers, *, measured=3, errors=True, start=0, every=1, prefix="model/"
):
    """As a `SignalMonitor` records `{layer: {quantity: value or values}}`.

    Before the training and after each `every`-th epoch of 10 steps.
    """
    recording = Recording()
    usual = {
        "activation_mean": 0.25,
        "activation_std": 0.5,
        "activation_rms": 0.56,
        "zero_share": 0.0,
    }
    usual |= {"error_rms": 0.1} if errors else {}
    usual |= {"units": 64, "dead_units": 0, "dead_unit": []}
    usual |= {"saturated_units": 0}
    for i in range(measured):
        step = start + 10 * every * i
        epoch = max(0, every * i - 1)
        if errors:
            recording.append(epoch, "", "loss", step, 0.5)
        *_, last = layers.values()
        for layer, quantities in layers.items():
            rows = usual | quantities
            if errors:
                with np.errstate(all="ignore"):
                    share = (
                        np.float64(rows["error_rms"])
                        / (usual | last)["error_rms"]
                    )
                rows["error_attenuation"] = share
            for quantity, value in rows.items():
                values = np.atleast_1d(value)
                steps = np.full(len(values), step)
                recording.append(epoch, prefix + layer, quantity, steps, values)
    return recording


@pytest.fixture
def record_signals():
    return _record_signals
