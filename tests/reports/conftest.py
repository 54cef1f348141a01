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
