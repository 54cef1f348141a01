"""A recording is drawn where neither Keras nor a backend is installed."""

import pathlib
import subprocess
import sys

import pytest

import keras_concepts

_SCRIPT = """
import sys, types

# `keras_concepts/__init__.py` imports the callbacks and with them Keras: stand
# in for it, so that only the reports and the recording are imported.
package = types.ModuleType("keras_concepts")
package.__path__ = [{package!r}]
sys.modules["keras_concepts"] = package
for name in ("keras", "tensorflow", "jax", "torch"):
    sys.modules[name] = None

from keras_concepts import reports
from keras_concepts.recording import Recording

late = {{"matplotlib", "tensorboardX", "pandas"}} & set(sys.modules)
if late:
    sys.exit(f"imported too early: {{late}}")

recording = Recording()
recording.append(0, "a/kernel", "gradient_rms", [0, 1], [0.5, 0.25])
for quantity in ("activation_std", "error_rms", "state_error_rms"):
    recording.append(0, "m/lstm", quantity, [0], [0.125])
reports.print_gradients(recording)
reports.print_signals(recording)
reports.plot_gradients(recording).savefig({folder!r} + "/figure.png")
reports.plot_signals(recording).savefig({folder!r} + "/signals.png")
reports.write_tensorboard(recording, {folder!r} + "/logs")
"""


def test_reports_need_no_keras(tmp_path):
    pytest.importorskip("tensorboardX")
    folder = str(pathlib.Path(keras_concepts.__file__).parent)
    script = _SCRIPT.format(package=folder, folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "3.8e-01" in done.stdout
    assert "1.2e-01" in done.stdout
    for picture in ("figure.png", "signals.png"):
        assert (tmp_path / picture).stat().st_size > 1000
    assert len(list((tmp_path / "logs").iterdir())) == 1
