import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.gradients.history import gradient_history
from keras_concepts.reports.selection import last_epoch, over_steps


def test_values_stand_at_their_steps(record):
    rms = np.arange(1.0, 13.0)
    history = gradient_history(
        record({"a/kernel": rms, "b/kernel": 2 * rms}, steps_per_epoch=5)
    )
    assert history.names == ["a", "b"]
    assert history.steps.tolist() == list(range(12))
    assert history.epochs.tolist() == [0] * 5 + [1] * 5 + [2] * 2
    np.testing.assert_array_equal(history.values, [rms, 2 * rms])
    assert not history.nonfinite.any()
    assert not history.missing.any()


def test_nonfinite_is_told_from_no_gradient():
    recording = Recording()
    recording.append(
        0, "a/kernel", q.GRADIENT_RMS, [0, 1, 2], [1, np.nan, np.inf]
    )
    recording.append(0, "a/kernel", q.GRADIENT_NONFINITE, [0, 1, 2], [0, 3, 1])
    recording.append(0, "b/kernel", q.GRADIENT_RMS, [0, 1], [np.nan, 0])
    recording.append(0, "b/kernel", q.GRADIENT_NONFINITE, [0, 1], [np.nan, 0])
    history = gradient_history(recording)
    assert history.nonfinite.tolist() == [[False, True, True], [False] * 3]
    # At step 2 nothing was recorded of `b`.
    assert history.missing.tolist() == [[False] * 3, [True, False, True]]


def test_nan_without_a_count_is_nonfinite(record):
    history = gradient_history(
        record({"a/kernel": [1.0, np.nan]}, nonfinite=False)
    )
    assert history.nonfinite.tolist() == [[False, True]]
    assert not history.missing.any()


def test_biases_only_on_request_or_alone(record):
    both = record({"a/kernel": [1.0], "a/bias": [1.0], "n/gamma": [1.0]})
    assert gradient_history(both).names == ["a"]
    every = gradient_history(both, every_variable=True)
    assert every.names == ["a/kernel", "a/bias", "n"]
    alone = record({"a/bias": [1.0], "n/gamma": [1.0]})
    assert gradient_history(alone).names == ["a", "n"]


def test_attenuation_is_the_median_of_the_kernels_quotients(record):
    history = gradient_history(
        record(
            {
                "e/bias": [9.0] * 5,
                "a/kernel": [1.0, 2.0, 9.0, np.nan, 4.0],
                "b/kernel": [1.0, 4.0, 0.0, 1.0, 4.0],
                "c/other": [9.0] * 5,
            }
        )
    )
    assert history.attenuation() == np.median([1.0, 0.5, 1.0])


def test_attenuation_without_a_finite_quotient(record):
    history = gradient_history(record({"a/kernel": [1.0], "b/kernel": [0.0]}))
    assert np.isnan(history.attenuation())


def test_last_epoch_of_the_last_run(record, joined):
    first, second = (
        record({"a/kernel": [1.0] * 20}, run=run, first_step=20 * run)
        for run in (0, 1)
    )
    rows = last_epoch(joined(second, first), q.GRADIENT_RMS)
    assert set(rows.step.tolist()) == set(range(30, 40))
    assert last_epoch(joined(second, first), q.WEIGHT_RMS).owners == []


def test_runs_of_one_epoch_each_are_told_apart(record, joined):
    runs = [
        record({"a/kernel": [1.0] * 2}, run=run, first_step=2 * run)
        for run in (0, 1)
    ]
    history = gradient_history(joined(*runs))
    assert history.runs.tolist() == [0, 0, 1, 1]
    assert history.epochs.tolist() == [0] * 4


def test_runs_that_were_recorded_at_once_are_not_merged(record, joined):
    runs = [
        record(
            {"a/kernel": [run + 1.0] * 3, "b/kernel": [1.0] * 3},
            run=run,
            steps_per_epoch=2,
        )
        for run in (0, 1)
    ]
    history = gradient_history(joined(*runs[::-1]))
    assert history.runs.tolist() == [0] * 3 + [1] * 3
    assert history.steps.tolist() == [0, 1, 2] * 2
    assert history.epochs.tolist() == [0, 0, 1] * 2
    assert history.values[0].tolist() == [1.0] * 3 + [2.0] * 3
    assert history.attenuation() == 1.5


def test_runs_that_overlap_stand_side_by_side(joined):
    def at(run, steps):
        recording = Recording(monitor="GradientMonitor")
        recording.run = run
        recording.append(
            0, "a/kernel", q.GRADIENT_RMS, steps, np.ones(len(steps))
        )
        return recording

    runs = at(0, [0, 10, 20]), at(1, [0, 5]), at(2, [10, 20]), at(3, [90, 95])
    history = gradient_history(joined(*runs))
    assert history.places.tolist() == [0, 10, 20, 25, 30, 35, 45, 90, 95]
    assert history.step_label == "training step, runs side by side"
    history = gradient_history(joined(runs[0], runs[3]))
    assert history.places.tolist() == [0, 10, 20, 90, 95]
    assert history.step_label == "training step"


def test_runs_of_two_models_are_compared_by_the_last_alone(record, joined):
    names = ["a/kernel", "b/kernel"]
    first = record(dict(zip(names, ([9.0] * 2, [1.0] * 2), strict=True)))
    second = record(
        dict(zip(names, ([1.0] * 2, [4.0] * 2), strict=True)),
        run=1,
        first_step=2,
        prefix="other/",
    )
    history = gradient_history(joined(first, second))
    assert history.models == {0: [0, 1], 1: [2, 3]}
    compared = history.of_one_model()
    assert compared.paths == ["other/a/kernel", "other/b/kernel"]
    assert compared.steps.tolist() == compared.places.tolist() == [2, 3]
    assert compared.attenuation() == 0.25
    biases = record({"a/bias": [1.0]}, run=1, first_step=2)
    for rows in (first, joined(first, biases)):
        same = gradient_history(rows)
        assert same.of_one_model() is same


def test_over_steps_leaves_out_other_steps(decades):
    values = over_steps(
        decades,
        q.GRADIENT_RMS,
        ["model/c/kernel", "no"],
        np.array([0, 0]),
        np.array([3, 99]),
        5.0,
    )
    assert values.tolist() == [[1.0, 5.0], [5.0, 5.0]]


@pytest.mark.parametrize("every_variable", [False, True])
def test_of_an_empty_recording(every_variable):
    history = gradient_history(Recording(), every_variable)
    assert history.paths == []
    assert history.values.shape == (0, 0)
