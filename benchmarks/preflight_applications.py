"""Is `preflight` silent on every model of `keras.applications`?

    KERAS_BACKEND=jax python benchmarks/preflight_applications.py [--models ...]

Weights are random, inputs are sane: standard normal numbers after the usual
preprocessing, and ten classes. Any finding is a false alarm. Images are small
where the model takes them, since only time depends on their size.
"""

import argparse
import inspect
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import keras_concepts as kc

ROWS, CLASSES = 32, 10
# Sides of images, the first that a model takes: it halves them five times.
SIDES = (32, 64, 96, 128, 224, 331)


def applications() -> dict[str, Callable[..., Any]]:
    """Every function that builds a model, by its name."""
    found = {}
    for name, function in vars(keras.applications).items():
        if inspect.isfunction(function) and name[0].isupper():
            found[name] = function
    return found


def built(function: Callable[..., Any]) -> tuple[Any, int]:
    """A model with random weights, and the side of its images."""
    known = inspect.signature(function).parameters
    # Inputs are scaled, as after a user's own preprocessing.
    options = {"include_preprocessing": False}
    options = {key: x for key, x in options.items() if key in known}
    problem: Exception | None = None
    for side in SIDES:
        try:
            keras.utils.set_random_seed(0)
            model = function(
                weights=None,
                input_shape=(side, side, 3),
                classes=CLASSES,
                **options,
            )
        except ValueError as error:  # too small
            problem = error
            continue
        model.compile("adam", "sparse_categorical_crossentropy")
        return model, side
    raise RuntimeError(f"No size of images suits the model: {problem}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=sorted(applications()))
    chosen = parser.parse_args().models
    random = np.random.default_rng(0)
    print(keras.backend.backend(), flush=True)
    alarms = 0
    for name, function in applications().items():
        if chosen and name not in chosen:
            continue
        keras.backend.clear_session()
        try:
            model, side = built(function)
        except Exception as error:  # the backend cannot build it: said here
            text = str(error).strip().split("\n")[0][:80]
            print(f"{name:20} not built: {text}", flush=True)
            continue
        x = random.normal(size=(ROWS, side, side, 3)).astype("float32")
        y = np.arange(ROWS) % CLASSES
        begin = time.monotonic()
        report = kc.preflight(model, x, y)
        seconds = time.monotonic() - begin
        alarms += len(report)
        verdict = [f"{f.rule} {f.variant} {f.owner}" for f in report]
        print(
            f"{name:20} {side:3} {seconds:5.1f} s  "
            f"{verdict or 'silent'} {report.unchecked or ''}",
            flush=True,
        )
    print(f"{alarms} findings")
    raise SystemExit(alarms > 0)


if __name__ == "__main__":
    main()
