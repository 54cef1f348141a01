"""Examples and recipes as their users run them."""

import contextlib
import io
import os
import pathlib
import runpy
import subprocess
import sys
import warnings
from unittest import mock

import keras
import numpy as np

ROOT = pathlib.Path(__file__).parents[1]


def run(script, *arguments, cwd):
    """What the script prints.

    With JAX it runs in a process of its own, as for its users. What it forgets
    to import is the same on all backends, so with the others it runs in this
    process, which saves the seconds that one takes to start.
    """
    run = in_new_process if keras.backend.backend() == "jax" else in_this_one
    return run(script, [*map(str, arguments)], cwd)


def in_new_process(script, arguments, cwd):
    environment = os.environ | {
        "COLUMNS": "80",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",  # torch's threads wait for each other's cores
    }
    paths = [str(ROOT), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_this_one(script, arguments, cwd):
    keras.utils.clear_session(free_memory=False)
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(io.StringIO()) as output,
        mock.patch.dict(os.environ, COLUMNS="80"),
        mock.patch.object(sys, "argv", [script.name, *arguments]),
        mock.patch.object(sys, "path", [str(script.parent), *sys.path]),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        runpy.run_path(str(script), run_name="__main__")
    sys.modules.pop("text_data", None)  # only found beside its script
    return output.getvalue()


def assert_drawn(path):
    from matplotlib import image

    pixels = image.imread(path)[..., :3]
    assert min(pixels.shape[:2]) >= 400
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    assert 0.02 < np.mean(pixels.min(axis=2) < 0.9) < 0.98
