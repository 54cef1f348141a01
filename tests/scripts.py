"""Examples and recipes as their users run them."""

import os
import pathlib
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]


def run(script, *arguments, cwd):
    environment = os.environ | {
        "COLUMNS": "80",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",  # torch's threads wait for each other's cores
    }
    paths = [str(ROOT), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_drawn(path):
    from matplotlib import image

    pixels = image.imread(path)[..., :3]
    assert min(pixels.shape[:2]) >= 400
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    assert 0.02 < np.mean(pixels.min(axis=2) < 0.9) < 0.98
