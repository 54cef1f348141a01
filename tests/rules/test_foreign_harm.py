"""What shows that a run is on track, taken from public programs that learn."""

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.rules.harm import _FEWEST_STEPS, harm, scale_of_loss, skill
from rule_facts import (
    binary,
    classes,
    entry,
    found,
    head,
    layer,
    numbers,
    regression,
    run,
    training,
)

COIN = classes(
    form="binary",
    shares=[0.5],
    distinct=2,
    constant_loss=np.log(2.0),
    uniform_loss=np.log(2.0),
)


def learning(losses, epochs, **more):
    """A classifier of two classes, after some of its epochs."""
    validation = more.pop("validation_losses", ())
    probe = more.pop("probe_losses", ())
    recording = run([binary()], [entry()], [COIN], losses, epochs, **more)
    for epoch, loss in enumerate(validation):
        recording.append(epoch, "val_loss", q.LOG, 10 * (epoch + 1), loss)
    for epoch, loss in enumerate(probe):
        step = 10 * (epoch + 1)
        recording.append(epoch, "", q.PROBE_INFERENCE_LOSS, step, loss)
    return recording


@pytest.mark.parametrize("epochs", [2, 3, 4])
def test_one_epoch_of_few_says_nothing(epochs):
    # The mean over the first epoch of a bidirectional LSTM on film reviews.
    assert harm(training(learning([0.669], epochs)), 0.2) is None
    assert harm(training(learning([0.69, 0.69], epochs)), 0.2) is not None


def test_validation_speaks_for_a_run():
    stuck, good = [0.68] * 5, [0.4] * 5
    assert harm(training(learning(stuck, 5)), 0.3) is not None
    seen = learning(stuck, 5, validation_losses=good)
    assert harm(training(seen), 0.3) is None
    seen = learning(stuck, 5, validation_losses=stuck)
    assert harm(training(seen), 0.3) is not None


def test_validation_does_not_compare_with_weighted_classes():
    weights = {"class_weight": {"0": 1e-4, "1": 0.1}}
    seen = learning([0.68] * 5, 5, validation_losses=[0.001] * 5, fit=weights)
    assert harm(training(seen), 0.3) is not None
    learned = [0.3, 0.2, 0.1, 0.05, 0.04]
    for fit, variants in ((weights, []), ({}, ["unrelated"])):
        seen = learning(learned, 5, validation_losses=[3.0] * 5, fit=fit)
        assert found("overfitting", seen, (4, 50)) == variants


def test_the_probe_speaks_for_the_first_epochs():
    # The mean over the only epoch is high, the model at its end is good.
    assert harm(training(learning([0.68], 1)), 0.3) is not None
    assert harm(training(learning([0.68], 1, probe_losses=[0.4])), 0.3) is None
    # By chance it may be a little lower.
    seen = learning([0.68], 1, probe_losses=[0.66])
    assert harm(training(seen), 0.05) is not None


def test_a_loss_that_comes_down_from_high_is_on_its_way():
    # A public convolutional autoencoder: 2.6 times a constant's loss at first.
    down = [1.79, 1.38, 0.7]
    assert harm(training(learning(down, 5)), 0.05) is None
    flat = [1.79, 1.78, 1.77]
    assert harm(training(learning(flat, 5)), 0.05) is not None


def test_skill_counts_from_the_loss_of_perfect_predictions():
    # Ratings in cross-entropy: 0.5 to 0.69 is all that there is to learn.
    ratings = COIN | {"form": "probabilities", "perfect_loss": 0.5}
    losses = [0.69, 0.65, 0.6, 0.55, 0.52]
    recording = run([binary()], [entry()], [ratings], losses, 5)
    last = skill(training(recording)).values[-1]
    assert last == pytest.approx((np.log(2) - 0.52) / (np.log(2) - 0.5))
    assert harm(training(recording), 0.5) is None
    old = run([binary()], [entry()], [COIN], losses, 5)
    assert harm(training(old), 0.5) is not None


def test_constant_predictions_once_may_be_the_start():
    def seen(checks, ended):
        recording = learning([0.69] * checks, 5)
        for epoch in range(checks):
            step = 10 * (epoch + 1)
            recording.append(epoch, "", q.PREDICTION_SPREAD, step, 0.001)
        mark = 2.0 if ended else 1.0
        recording.append(checks - 1, "", q.CHECKED, 10 * checks, mark)
        return found("constant_predictions", recording, (checks - 1, 10))

    assert seen(1, ended=False) == []
    assert seen(2, ended=False) == [""]
    assert seen(1, ended=True) == [""]


def test_raw_inputs_of_a_noisy_table_are_no_fault():
    # Diabetes of the Pima: half of a constant's loss is out of reach.
    raw = entry(rms=72.0, mean=45.0, std=60.0, max=846.0)
    slow = [0.69, 0.66, 0.62, 0.58, 0.55, 0.53, 0.52, 0.51, 0.5, 0.5]
    recording = run([binary()], [raw], [COIN], slow)
    assert found("unscaled_input", recording) == []
    stuck = run([binary()], [raw], [COIN], [0.69] * 10)
    assert found("unscaled_input", stuck) == ["large"]


def test_ten_classes_still_need_harm():
    recording = run([head()], [entry()], [classes()], [2.3] * 10)
    assert harm(training(recording), 0.05) is not None


def test_a_loss_that_falls_fast_is_awaited():
    # Two and a half times a constant's loss, but a fifth less each epoch.
    down = [2.6, 2.2, 1.75]
    assert harm(training(learning(down, 4)), 0.05) is None
    assert harm(training(learning(down, 3)), 0.05) is not None  # the end


def test_what_layers_add_is_no_lack_of_skill():
    # Orthogonal activity regularizers of a public point network.
    recording = learning([1.5, 1.2, 1.1, 1.05, 1.0], 5)
    for epoch in range(-1, 5):
        step = 10 * (epoch + 1)
        recording.append(epoch, "", q.PROBE_ADDED_LOSS, step, 0.9)
    assert skill(training(recording)).values[-1] > 0.8
    assert harm(training(recording), 0.5) is None
    assert harm(training(learning([1.5, 1.2, 1.1, 1.05, 1.0], 5)), 0.5)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_validation_of_other_targets_does_not_compare(shift):
    # The last rows of a spiral.
    of_validation = {"output": "", "mean": shift, "std": 1.0, "shares": None}
    recording = run(
        [regression()],
        [entry()],
        [numbers()],
        [0.9, 0.7, 0.5, 0.3, 0.2],
        5,
        validation={"rows": 100, "targets": [of_validation]},
    )
    for epoch in range(5):
        recording.append(epoch, "val_loss", q.LOG, 10 * (epoch + 1), 1.7)
    expected = [] if shift else ["unrelated"]
    assert found("overfitting", recording, (4, 50)) == expected


@pytest.mark.parametrize(
    ("steps", "says"),
    [(_FEWEST_STEPS - 1, False), (_FEWEST_STEPS, True), (None, True)],
)
def test_one_short_epoch_may_be_one_of_a_loop(steps, says):
    seen = learning([0.69], 1, steps_per_epoch=steps)
    assert (harm(training(seen), 0.05) is not None) == says


@pytest.mark.parametrize(
    ("epochs", "steps", "says"),
    [
        (1, _FEWEST_STEPS - 10, False),
        (1, _FEWEST_STEPS, True),
        (5, _FEWEST_STEPS - 10, True),  # a second phase of five epochs
    ],
)
def test_a_loop_of_short_fits_counts_together(epochs, steps, says):
    losses = [0.69] * (steps // 10)
    seen = learning(losses, epochs, steps_per_epoch=10)
    seen.facts["continued"] = list(range(epochs, len(losses), epochs))
    assert (harm(training(seen), 0.05) is not None) == says


@pytest.mark.parametrize("negative", [False, True])
def test_weights_below_zero_leave_no_skill(negative):
    """Advantages of actions, as in REINFORCE."""
    target = classes(constant_loss=3.7e-9, negative_weights=negative)
    seen = run([head()], [], [target], [0.3] * 10)
    assert (harm(training(seen), 0.05) is not None) != negative


def test_a_span_of_rounding_is_none():
    target = classes(constant_loss=2.3, perfect_loss=2.3 - 1e-6)
    assert scale_of_loss(training(run([head()], [], [target]))) is None
    target["perfect_loss"] = 2.3 - 1e-5
    assert scale_of_loss(training(run([head()], [], [target]))) is not None


@pytest.mark.parametrize("gap", [0.0, 0.6])
def test_batch_normalization_is_no_overfitting(gap):
    # A public convolutional classifier of engine noise.
    kinds = layer("Functional", "m"), layer("BatchNormalization", "m/bn")
    validation = [0.5, 0.3, 0.9, 0.95, 0.92]
    recording = learning(
        [0.5, 0.3, 0.2, 0.15, 0.1],
        20,
        validation_losses=validation,
        layers=list(kinds),
    )
    for epoch, loss in enumerate([0.5, 0.3, 0.2, 0.15, 0.1]):
        step = 10 * (epoch + 1)
        recording.append(epoch, "", q.PROBE_LOSS, step, loss)
        recording.append(epoch, "", q.PROBE_INFERENCE_LOSS, step, loss + gap)
    expected = [] if gap else ["rise"]
    assert found("overfitting", recording, (4, 50)) == expected


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        ([0.7, 9.0, 9.0, 9.0], True),
        ([0.7, 9.0, 9.0], False),  # too few
        ([99.0, 9.0, 8.0, 7.0], False),  # it comes down
        ([0.7, 9.0, 9.0, 1.0], False),
    ],
)
def test_inside_the_first_epoch(losses, says):
    seen = run([binary()], [entry()], [COIN], (), 5)
    seen.append(0, "", q.BATCH_LOSS, range(len(losses)), losses)
    assert (harm(training(seen), 0.3) is not None) == says
