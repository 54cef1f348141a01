import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import updates
from rule_facts import (
    STUCK,
    WELL,
    add,
    classes,
    findings,
    found,
    head,
    kernel,
    run,
    training,
)

RULE = "update_ratio"
PATHS = ["m/a/kernel", "m/b/kernel", "m/c/kernel"]


def recording(losses=STUCK, epochs=10, paths=PATHS, **facts):
    kernels = [kernel(path) for path in paths]
    return run(
        [head()],
        [],
        [classes()],
        losses,
        epochs=epochs,
        variables=kernels,
        **facts,
    )


def with_steps(made, ratios, weights=1.0, applied=None):
    """Measured steps; one list of update over weight for each kernel."""
    count = len(ratios[0])
    steps = range(count)
    applied = [1.0] * count if applied is None else applied
    made.append(0, "", q.APPLIED, steps, applied)
    for path, ratio in zip(PATHS, ratios, strict=False):
        weight = np.broadcast_to(weights, count)
        made.append(0, path, q.WEIGHT_RMS, steps, weight)
        made.append(0, path, q.UPDATE_RMS, steps, np.asarray(ratio))
    # What makes the rule known.
    return add(made, q.DISTANCE_RMS, [0.0, *[1.0] * 10], PATHS[0])


FAR, NEAR = 1.01 * updates.TOO_FAR, 0.99 * updates.TOO_FAR


class TestHigh:
    @pytest.mark.parametrize(
        ("ratio", "losses", "variants"),
        [(FAR, STUCK, ["high"]), (NEAR, STUCK, []), (FAR, WELL, [])],
    )
    def test_in_a_measured_step(self, ratio, losses, variants):
        made = with_steps(recording(losses), [[0.0, ratio, 0.0]] * 3)
        assert found(RULE, made) == variants

    def test_since_and_numbers(self):
        made = with_steps(recording(), [[0.0, FAR, 2 * FAR]] * 3)
        made.append(0, "", q.LEARNING_RATE, 10, 0.5)
        (finding,) = findings(RULE, made)
        assert finding.since == (0, 1)
        assert finding.evidence[0].value == pytest.approx(2 * FAR)
        assert "0.5" in finding.advice
        assert finding.code == "keras.optimizers.Adam(learning_rate=5e-02)"

    def test_the_median_of_the_kernels_counts(self):
        one, two = [[9.0], [0.0], [0.0]], [[9.0], [9.0], [0.0]]
        assert found(RULE, with_steps(recording(), one)) == []
        assert found(RULE, with_steps(recording(), two)) == ["high"]

    def test_steps_that_were_not_applied_do_not_count(self):
        made = with_steps(recording(), [[9.0, 0.0]] * 3, applied=[0.0, 1.0])
        assert found(RULE, made) == []

    def test_kernels_that_start_at_zero_have_no_size(self):
        weights = np.array([0.0, 0.001])
        made = with_steps(recording(), [[0.001, 9.0]] * 3, weights=weights)
        assert found(RULE, made) == []

    def test_kernels_that_shrink_are_held_against_their_first_size(self):
        made = with_steps(recording(), [[0.0, NEAR]] * 3, weights=[1.0, 0.01])
        assert found(RULE, made) == []

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_what_is_not_finite_is_no_ratio(self, value):
        made = with_steps(recording(), [[0.0, value]] * 3)
        assert found(RULE, made) == []

    @pytest.mark.parametrize(
        ("change", "losses", "variants"),
        [
            (1.01 * updates.REPLACED, STUCK, ["high"]),
            (0.99 * updates.REPLACED, STUCK, []),
            (1.01 * updates.REPLACED, WELL, []),
        ],
    )
    def test_where_no_steps_are_measured(self, change, losses, variants):
        made = recording(losses)
        for path in PATHS:
            _ = add(made, q.EPOCH_WEIGHT_RMS, [1.0] * 11, path)
            _ = add(made, q.EPOCH_UPDATE_RMS, [0.0, change], path)
            _ = add(made, q.DISTANCE_RMS, [0.0, change], path)
        assert found(RULE, made) == variants


class TestLow:
    @pytest.mark.parametrize(
        ("factor", "losses", "variants"),
        [(0.99, STUCK, ["low"]), (1.01, STUCK, []), (0.99, WELL, [])],
    )
    @pytest.mark.parametrize("ended", [10, 5])
    def test_projected_to_the_planned_end(
        self, factor, losses, variants, ended
    ):
        made = recording(losses[:ended])
        far = factor * updates.TOO_NEAR * ended / 10
        for path, share in zip(PATHS, (1.0, 0.5, 0.0), strict=True):
            distances = share * far * np.arange(ended + 1) / ended
            _ = add(made, q.EPOCH_WEIGHT_RMS, [1.0] * (ended + 1), path)
            _ = add(made, q.DISTANCE_RMS, distances, path)
        assert found(RULE, made) == variants

    def test_what_does_not_move_at_all_is_another_fault(self):
        made = recording()
        for path in PATHS:
            _ = add(made, q.EPOCH_WEIGHT_RMS, [1.0] * 11, path)
            _ = add(made, q.DISTANCE_RMS, [0.0] * 11, path)
        assert found(RULE, made) == []
        assert found("untrained_variable", made) == [""]

    def test_warm_up(self):
        """In the first tenth of the epochs, nothing is reported."""
        made = recording(STUCK[:3], epochs=40)
        for path in PATHS:
            _ = add(made, q.EPOCH_WEIGHT_RMS, [1.0] * 4, path)
            _ = add(made, q.DISTANCE_RMS, [0.0, 1e-6, 2e-6, 3e-6], path)
        assert found(RULE, made) == []

    def test_kernels_that_start_at_zero_have_no_size(self):
        made = recording(paths=PATHS[:1])
        _ = add(made, q.EPOCH_WEIGHT_RMS, [0.0, *[1.0] * 10], PATHS[0])
        _ = add(made, q.DISTANCE_RMS, [0.0, *[1e-6] * 10], PATHS[0])
        assert found(RULE, made) == []


def test_the_learning_rate():
    config = {"class": "SGD", "config": {"learning_rate": 0.25}}
    made = recording(optimizer=config)
    assert updates.learning_rate(training(made)) == 0.25
    made.append(0, "", q.LEARNING_RATE, 10, 0.125)
    assert updates.learning_rate(training(made)) == 0.125
    schedule = {"class": "SGD", "config": {"learning_rate": {"class": "X"}}}
    assert updates.learning_rate(training(run(optimizer=schedule))) is None
    assert updates.learning_rate(training(run(optimizer=None))) is None
