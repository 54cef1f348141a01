"""One program on 4 devices of JAX, and on 2 processes with 2 devices each."""

import os

import keras
import pytest

from distribution.processes import HERE, free_port, rows_of, run_together

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="`keras.distribution` of JAX"
)
DATA, MODEL = "DataParallel", "ModelParallel 2 x 2"
# No process has a whole variable.
SPREAD = "ModelParallel 1 x 4"


def on_devices(ways, names):
    [output] = run_together(
        [[HERE / "on_jax.py", ways, names]],
        timeout=900,
        XLA_FLAGS=_flags(4),
    )
    return rows_of(output)


def on_processes(ways, names, folder):
    address = f"127.0.0.1:{free_port()}"
    outputs = run_together(
        [
            [HERE / "on_jax.py", ways, names, address, number, folder]
            for number in (0, 1)
        ],
        timeout=1800,
        XLA_FLAGS=_flags(2),
    )
    first, second = ([row[:3] for row in rows_of(x)] for x in outputs)
    assert first == second
    return first


def _flags(devices):
    count = f"--xla_force_host_platform_device_count={devices}"
    return f"{os.environ.get('XLA_FLAGS', '')} {count}".strip()


def _check_others(rows):
    """What two processes cannot do, and the files that they write."""
    others = {component: came for _, component, came in rows}
    assert "jax.jit" in others.pop("GradientTap")
    assert others.pop("written") == [
        "doctor.jsonl",
        "gradients.jsonl",
        "report.html",
    ]
    assert len(others) == 4
    for component, came in others.items():
        assert came.startswith("ValueError: `"), component
        assert "must be the same on all 2 processes" in came, component


def test_two_processes_share_the_variables(tmp_path):
    (way, name, came), *others = on_processes(SPREAD, "together", tmp_path)
    assert (way, name, came) == (SPREAD, "together", "right")
    _check_others(others)


@pytest.mark.long
def test_every_component_on_four_devices():
    rows = on_devices("all", "all")
    assert {way for way, *_ in rows} == {DATA, MODEL}
    for way, component, came, _ in rows:
        assert came == "right", (way, component)


@pytest.mark.long
def test_every_component_on_two_processes(tmp_path):
    rows = on_processes("all", "all", tmp_path)
    assert {way for way, *_ in rows} == {DATA, MODEL, SPREAD}
    for way, component, came in rows[:-6]:
        assert came == "right", (way, component)
    _check_others(rows[-6:])
