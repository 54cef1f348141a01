"""Trains, is killed, and resumes: a program for `test_killed_runs.py`.

Keras is imported once. Each run is a fork of this process, which has run
nothing yet that starts a thread.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import sys
import time

import keras
import numpy as np
from keras import layers

from keras_concepts.callbacks import (
    BatchNormShiftMonitor,
    GradientMonitor,
    NonFiniteGuard,
    PenaltyReporter,
    SignalMonitor,
)

EPOCHS, STEPS = 6, 5
X = np.random.default_rng(0).normal(size=(8 * STEPS, 4)).astype("float32")
Y = X[:, :1]


class Pace(keras.callbacks.Callback):
    """Says when the first step is done, and takes a little time for each."""

    def __init__(self, pipe):
        super().__init__()
        self.pipe = pipe

    def on_train_batch_end(self, batch, logs=None):
        if self.pipe is not None:
            os.write(self.pipe, b".")
            self.pipe = None
        time.sleep(0.01)


class Begin(keras.callbacks.Callback):
    """Notes where the run resumes."""

    first = None

    def on_epoch_begin(self, epoch, logs=None):
        if self.first is None:
            steps = keras.ops.convert_to_numpy(self.model.optimizer.iterations)
            self.first = epoch, int(steps)


def monitors(path):
    options = {"record_to": path}
    return [
        # All steps, as the first epoch of a `fit` has others than the next.
        GradientMonitor(max_samples=None, **options),
        SignalMonitor((X, Y), **options),
        PenaltyReporter(**options),
        BatchNormShiftMonitor((X, Y), max_samples=None, **options),
        NonFiniteGuard(**options),
    ]


def train(folder, watched, save_freq, eager, pipe):
    # No dropout: Keras does not back up the state of its random numbers.
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, "relu", kernel_regularizer="l2", name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(1, name="head"),
        ],
        name="net",
    )
    model.compile(
        keras.optimizers.Adam(0.01), "mse", metrics=["mae"], run_eagerly=eager
    )
    begin = Begin()
    backup = keras.callbacks.BackupAndRestore(
        folder / "backup",
        save_freq,
        double_checkpoint=True,
        delete_checkpoint=False,
    )
    recorded = monitors(folder / "run.jsonl") if watched else []
    fitted = model.fit(
        *(X, Y),
        batch_size=8,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[backup, *recorded, begin, Pace(pipe)],
    )
    values = [*model.variables, *model.optimizer.variables]
    np.savez(
        folder / "end.npz",
        *[keras.ops.convert_to_numpy(value) for value in values],
        loss=fitted.history["loss"],
        mae=fitted.history["mae"],
        first=begin.first,
    )


def run(folder, watched, save_freq, eager, wait=None):
    """Trains in a fork, which is killed `wait` seconds after its first step.

    Returns the seconds from its first step to its end, and its exit status.
    """
    folder.mkdir(exist_ok=True)
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        status = 1
        try:
            train(folder, watched, save_freq, eager, theirs)
            status = 0
        except BaseException as error:  # the parent sees the status
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(status)
    os.close(theirs)
    try:
        _ = os.read(ours, 1)
        begun = time.monotonic()
        if wait is not None:
            time.sleep(wait)
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(ours)
        _, status = os.waitpid(child, 0)
    return time.monotonic() - begun, status


def kill(folder, save_freq, eager, draw, seconds, twice):
    """Starts a run and kills it; if `twice`, also after it has resumed."""
    waits = []
    for _ in range(1 + twice):
        waits.append(draw.uniform(0.0, seconds))
        _, status = run(folder, True, save_freq, eager, waits[-1])
        if status != signal.SIGKILL or (folder / "end.npz").exists():
            return []
    return waits


def main(folder, moments, save_freq, seed, eager):
    draw = random.Random(seed)
    whole, _ = run(folder / "whole", True, save_freq, eager)
    for moment in range(moments):
        broken = folder / str(moment)
        waits = kill(broken, save_freq, eager, draw, whole, moment % 3 == 2)
        while not waits:  # it was at its end: another moment
            shutil.rmtree(broken)
            waits = kill(broken, save_freq, eager, draw, whole, moment % 3 == 2)
        shutil.copy(broken / "run.jsonl", broken / "killed.jsonl")
        # The same without monitors, from what Keras has saved.
        plain = folder / f"{moment}-plain"
        plain.mkdir()
        if (broken / "backup").exists():
            shutil.copytree(broken / "backup", plain / "backup")
        statuses = [
            run(each, each is broken, save_freq, eager)[1]
            for each in ([broken] if eager else [plain, broken])
        ]
        told = {"moment": moment, "waits": waits, "statuses": statuses}
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    where, count, freq, number, mode = sys.argv[1:]
    main(
        pathlib.Path(where),
        int(count),
        freq if freq == "epoch" else int(freq),
        int(number),
        mode == "eager",
    )
