"""The table of `docs/distributed_training.md`, for TensorFlow."""

import os
import pathlib
import socket
import subprocess
import sys

import keras
import pytest

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="of tf.distribute"
)
SCRIPT = pathlib.Path(__file__).with_name("on_tensorflow.py")
TABLE = {
    "metrics": "right",
    "gradient_monitor": "right",
    "gradient_tap": "refused",
    "penalty_reporter": "right",
    "batch_norm_shift_monitor_synchronized": "right",
    "signal_monitor": "right",
    "non_finite_guard": "right",
    "non_finite_guard_before_update": "right",
    "batch_norm_shift_monitor": "share",
    "monitored_batch_normalization_synchronized": "right",
    "activation_probe": "right",
    "weights": "right",
    "training_doctor": "right",
    "watch": "right",
    "preflight": "right",
    "mc_predict": "right",
    "recalibrate_batch_norm": "right",
    "files": "right",
}


def _started(*arguments):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        # Workers find each other by TF_CONFIG, which the script sets.
        env={k: v for k, v in os.environ.items() if k != "TF_CONFIG"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _tables(processes):
    """What each process has printed, as a dict."""
    try:
        outputs = [each.communicate(timeout=600) for each in processes]
    finally:
        for each in processes:
            each.kill()
    tables = []
    for process, (text, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
        rows = [line.split(": ", 1) for line in text.splitlines()]
        tables.append(dict(row for row in rows if row[0] in TABLE))
        if "wrong" in text:
            sys.stderr.write(errors[-5000:])
    return tables


@pytest.mark.parametrize(
    "replicas", [2, pytest.param(4, marks=pytest.mark.long)]
)
def test_mirrored(replicas, tmp_path):
    assert _tables([_started("mirrored", replicas, tmp_path)]) == [TABLE]


@pytest.mark.long
def test_two_workers(tmp_path):
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    tables = _tables(
        [_started("worker", number, tmp_path, *ports) for number in range(2)]
    )
    # Each machine counts its own shares.
    assert tables == [{**TABLE, "activation_probe": "share"}] * 2
