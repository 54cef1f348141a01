"""`kill -9` at random moments: the recording loads, and the run resumes.

With `keras.callbacks.BackupAndRestore`, on which it depends what is trained
again; see `tests/killed_runs.py`.
"""

import itertools
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_concepts import Recording
from keras_concepts import quantities as q

PROGRAM = pathlib.Path(__file__).parents[1] / "killed_runs.py"
EPOCHS, STEPS = 6, 5
MONITORS = {
    "GradientMonitor",
    "SignalMonitor",
    "PenaltyReporter",
    "BatchNormShiftMonitor",
    "NonFiniteGuard",
}
# Judged by the last 32 steps, of which a resumed run has seen fewer.
UNITS = {q.ZERO_GRADIENT_UNITS, q.ZERO_GRADIENT_UNIT}


def runs_of(recording):
    """The last run that began anew, and those that resume it."""
    runs = recording.runs
    begun = [i for i, run in enumerate(runs) if "resumed" not in run.facts]
    return runs[begun[-1] :] if begun else []


def rows(path):
    """Every value of the last run by what it is of; once each.

    Counted from the run's own beginning.
    """
    found = {}
    recording = Recording.load(path)
    runs = runs_of(recording)
    first_epoch = runs[0].facts.get("first_epoch", 0) if runs else 0
    first_step = runs[0].facts.get("first_step", 0) if runs else 0
    for series in itertools.chain(
        *(recording.select(run=run.number) for run in runs)
    ):
        # Before its first epoch, each `fit` measures the probe.
        if series.epoch < 0 or series.quantity in UNITS:
            continue
        epoch = series.epoch - first_epoch
        if epoch < 0:
            continue
        name = series.monitor, epoch, series.owner, series.quantity
        for step, index, value in zip(
            series.steps, series.index, series.values, strict=True
        ):
            key = (*name, int(step) - first_step, int(index))
            assert key not in found
            found[key] = str(value)
    return found


def steps_of(path, runs=lambda recording: recording.runs):
    """Of each epoch the steps that `GradientMonitor` has measured."""
    found = {}
    recording = Recording.load(path)
    for run in runs(recording):
        for series in recording.select("", q.GRADIENT_NORM, run=run.number):
            found.setdefault(series.epoch, []).extend(series.steps.tolist())
    return found


def end(folder):
    with np.load(folder / "end.npz") as arrays:
        return dict(arrays)


def assert_same_end(a, b):
    for name, value in a.items():
        if name not in ("loss", "mae", "first"):
            np.testing.assert_array_equal(value, b[name])
    for name in ("loss", "mae"):  # of the epochs since the last start
        count = min(len(a[name]), len(b[name]))
        np.testing.assert_array_equal(a[name][-count:], b[name][-count:])


def check(folder, moment, save_freq):
    """Compares a killed and resumed run with others; returns what it was."""
    broken, plain = folder / str(moment), folder / f"{moment}-plain"
    whole = rows(folder / "whole" / "run.jsonl")
    killed = rows(broken / "killed.jsonl")
    resumed = end(broken)
    if (plain / "end.npz").exists():
        assert_same_end(resumed, end(plain))
    epoch, step = resumed["first"].tolist()
    # The epochs before were flushed, since the model was saved after them.
    assert set(range(epoch)) <= {key[1] for key in killed}
    if epoch == step == 0 and killed:
        # Killed before Keras had saved anything: another run, from scratch.
        assert rows(broken / "run.jsonl") == whole
        assert_same_end(resumed, end(folder / "whole"))
        return "again"
    if epoch == 0 and step > STEPS:
        # What Keras saves inside the first epoch after it has restored, it
        # calls epoch 0: killed again, it trains all epochs from there.
        last = steps_of(broken / "run.jsonl", lambda each: each.runs[-1:])
        assert len(last) == EPOCHS
        counted = [each for number in sorted(last) for each in last[number]]
        first = counted[0]
        assert counted == [*range(first, first + EPOCHS * STEPS)]
        before = steps_of(broken / "killed.jsonl")
        earlier = steps_of(broken / "run.jsonl")
        assert {k: earlier[k] for k in before} == before
        assert first == 1 + max(max(v) for v in before.values())
        return "begun anew by Keras"
    found = rows(broken / "run.jsonl")
    if step == epoch * STEPS and save_freq == "epoch":
        assert not {
            key: (value, whole.get(key))
            for key, value in killed.items()
            if value != whole.get(key)
        }
        assert found == whole
        assert_same_end(resumed, end(folder / "whole"))
        return "equal"
    # Keras saved the model inside the epoch (or was killed between saving the
    # weights and the number of the epoch), and trains all of it once more.
    steps = steps_of(broken / "run.jsonl", runs_of)
    assert len(steps) == EPOCHS
    counted = [each for number in sorted(steps) for each in steps[number]]
    assert counted == sorted(set(counted))
    counted = [each - counted[0] for each in counted]
    trained = [each for each in counted if each >= step]
    last = step + (EPOCHS - epoch) * STEPS
    assert trained == list(range(step, last))
    return "repeated"


def run(folder, moments, save_freq, seed, mode):
    """Kills and resumes; returns how many moments ended how."""
    done = subprocess.run(
        [
            sys.executable,
            PROGRAM,
            folder,
            *map(str, (moments, save_freq, seed, mode)),
        ],
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts = {}
    for line in done.stdout.splitlines():
        told = json.loads(line)
        # A file that Keras has left half-written ends a run without monitors,
        # too.
        [failed] = {status != 0 for status in told["statuses"]}
        number = told["moment"]
        ended = "lost" if failed else check(folder, number, save_freq)
        counts[ended] = counts.get(ended, 0) + 1
    assert sum(counts.values()) == moments
    return counts


@pytest.mark.optimized
def test_killed_at_a_few_moments(tmp_path):
    # JAX compiles each operation of an eager step, in each process.
    is_slow = keras.backend.backend() == "jax"
    mode = "compiled" if is_slow else "eager"
    counts = run(tmp_path, 1 if is_slow else 3, "epoch", 0, mode)
    assert counts.get("lost", 0) == 0


@pytest.mark.long
@pytest.mark.optimized
@pytest.mark.parametrize(
    ("save_freq", "moments"), [("epoch", 50), (3, 20)], ids=["epoch", "steps"]
)
def test_killed_at_many_moments(save_freq, moments, tmp_path):
    counts = run(tmp_path, moments, save_freq, 1, "compiled")
    sys.stderr.write(f"killed {moments} times: {counts}\n")
    assert counts.get("lost", 0) <= moments // 5
