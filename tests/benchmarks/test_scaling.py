"""A simulated week: memory, file and time of a check are bounded."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks" / "scaling.py"

pytestmark = pytest.mark.skipif(
    not SCRIPT.exists(), reason="an installed package"
)


def simulated(folder, **arguments):
    arguments["path"] = str(folder / "run.jsonl")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--simulate", json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)


def test_a_simulation(tmp_path):
    found = simulated(tmp_path, epochs=12, variables=20)
    # 32 steps and a look of each variable, two logs and a check per epoch.
    rows = 12 * (20 * (5 * 32 + 3) + 3)
    assert found["rows that are kept, millions"] == pytest.approx(rows / 1e6)
    assert found["file at its largest, MB"] < 10e-6 * rows
    assert 0.0 < found["s a verdict"] < 1.0


def test_an_exponent():
    spec = importlib.util.spec_from_file_location("scaling", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sizes = [10, 100, 1000]
    for power in (0.0, 1.0, 2.0):
        values = [3.0 * size**power for size in sizes]
        assert module.exponent(sizes, values) == pytest.approx(power)


@pytest.mark.long
def test_a_week_of_many_variables(tmp_path):
    """10 million steps in 1,000 epochs: what a quarter of them takes is all."""
    few = simulated(tmp_path / "few", epochs=250, variables=500)
    week = simulated(tmp_path / "week", epochs=1000, variables=500)
    for name in ("memory, MB", "file at its largest, MB"):
        assert week[name] < 1.5 * few[name], name
    # Up to half of a file are rows that were left out and are read over.
    reading = [e["s to read"] / e["file at its end, MB"] for e in (few, week)]
    assert reading[1] < 1.5 * reading[0]
    rows = [e["rows that are kept, millions"] for e in (few, week)]
    assert rows[1] < 1.5 * rows[0]
    assert week["memory, MB"] < 500
    assert week["file at its largest, MB"] < 200
    assert week["s to read"] < 10
    # The logs of all epochs are there.
    assert week["s a verdict"] < 3 * few["s a verdict"] + 0.2


@pytest.mark.long
def test_the_quick_form_prints_exponents():
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in ("epochs", "variables", "steps", "layers", "width", "classes"):
        assert name in done.stdout
    assert done.stdout.count("exponent") == 6
