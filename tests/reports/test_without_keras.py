"""A recording is drawn where neither Keras nor a backend is installed."""

import pathlib
import subprocess
import sys

import pytest

import keras_concepts

_SCRIPT = """
import sys

for name in ("keras", "tensorflow", "jax", "torch"):
    sys.modules[name] = None

from keras_concepts import quantities as q, reports
from keras_concepts.recording import Recording

extras = {{
    "jinja2", "matplotlib", "tensorboardX", "pandas", "mlflow", "wandb"
}}
late = extras & set(sys.modules)
if late:
    sys.exit(f"imported too early: {{late}}")

from keras_concepts.rules import diagnose

recording = Recording()
gradients = "GradientMonitor"
recording.append(
    0, "a/kernel", q.GRADIENT_RMS, [0, 1], [0.5, 0.25], monitor=gradients
)
for quantity in (q.ACTIVATION_STD, q.ERROR_RMS, q.STATE_ERROR_RMS):
    index = 0 if quantity.indexed_by else None
    recording.append(
        0, "m/lstm", quantity, 0, 0.125, index=index, monitor="SignalMonitor"
    )
for monitor in ("PenaltyReporter", "BatchNormShiftMonitor", "NonFiniteGuard"):
    reports.report_of(monitor).print(recording)
recording.append(0, "", q.PREDICTION_SPREAD, 1, 0.5, monitor="TrainingDoctor")
reports.print_findings(diagnose(recording))
reports.print_recording(recording)
for name, figure in reports.plot_recording(recording).items():
    figure.savefig({folder!r} + "/" + name + ".png")
reports.write_tensorboard(recording, {folder!r} + "/logs")
reports.write_report(recording, {folder!r} + "/report.html")
"""


def test_reports_need_no_keras(tmp_path):
    pytest.importorskip("tensorboardX")
    pytest.importorskip("jinja2")
    root = pathlib.Path(keras_concepts.__file__).parents[1]
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-c"),
            _SCRIPT.format(folder=str(tmp_path)),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "3.8e-01" in done.stdout
    assert "1.2e-01" in done.stdout
    assert "No steps have been checked yet." in done.stdout
    for picture in ("GradientMonitor.png", "TrainingDoctor.png"):
        assert (tmp_path / picture).stat().st_size > 1000
    assert len(list((tmp_path / "logs").iterdir())) == 1
    assert "</html>" in (tmp_path / "report.html").read_text(encoding="utf-8")
