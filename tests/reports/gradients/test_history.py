import numpy as np
import pytest

from keras_concepts.recording import Recording
from keras_concepts.reports.history import (
    gradient_history,
    last_epoch,
    over_steps,
)


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
        0, "a/kernel", "gradient_rms", [0, 1, 2], [1, np.nan, np.inf]
    )
    recording.append(0, "a/kernel", "gradient_nonfinite", [0, 1, 2], [0, 3, 1])
    recording.append(0, "b/kernel", "gradient_rms", [0, 1], [np.nan, 0])
    recording.append(0, "b/kernel", "gradient_nonfinite", [0, 1], [np.nan, 0])
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
                "e/embeddings": [9.0] * 5,
                "a/kernel": [1.0, 2.0, 9.0, np.nan, 4.0],
                "b/kernel": [1.0, 4.0, 0.0, 1.0, 4.0],
                "c/other": [9.0] * 5,
            }
        )
    )
    assert history.attenuation() == np.median([1.0, 0.5, 1.0])
    assert history.kind == "kernel"


def test_attenuation_without_a_finite_quotient(record):
    history = gradient_history(record({"a/kernel": [1.0], "b/kernel": [0.0]}))
    assert np.isnan(history.attenuation())
    assert history.kind == "layer"


def test_last_epoch_of_several_trainings():
    recording = Recording()
    for start in (0, 20):  # the epochs begin anew, the steps go on
        for epoch in (0, 1):
            steps = np.arange(10) + start + 10 * epoch
            recording.append(epoch, "a/kernel", "gradient_rms", steps, steps)
    assert last_epoch(recording).step.tolist() == list(range(30, 40))


def test_over_steps_leaves_out_other_steps(decades):
    values = over_steps(
        decades,
        "gradient_rms",
        ["model/c/kernel", "no"],
        np.array([3, 99]),
        5.0,
    )
    assert values.tolist() == [[1.0, 5.0], [5.0, 5.0]]


@pytest.mark.parametrize("every_variable", [False, True])
def test_of_an_empty_recording(every_variable):
    history = gradient_history(Recording(), every_variable)
    assert history.paths == []
    assert history.values.shape == (0, 0)
