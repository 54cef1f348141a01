import math

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import harm as gate
from rule_facts import add, classes, head, numbers, regression, run, training

ENOUGH = 0.5


def judged(losses, epochs=10, target=None, **facts):
    """Harm of a regression whose best constant has a loss of 1."""
    target = numbers() if target is None else target
    recording = run(
        [regression()], [], [target], losses, epochs=epochs, **facts
    )
    return gate.harm(training(recording), ENOUGH)


def test_nothing_is_said_where_nothing_is_known():
    assert gate.harm(training(run()), ENOUGH) is None
    assert judged([]) is None
    unknown = numbers(constant_loss=None)
    # The first loss takes its place: at first there is no skill to speak of.
    assert judged([1.0], target=unknown) is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_harm(value):
    found = judged([0.1, 0.01, value])
    assert found.since == (2, 30)
    assert math.isnan(found.skill)
    assert math.isnan(found.projected)


def test_enough_skill():
    assert judged([1.0 - ENOUGH - 0.001] * 10) is None
    assert judged([1.0 - ENOUGH + 0.001] * 10).skill == pytest.approx(
        ENOUGH - 0.001
    )


# What is left of the loss by an epoch, to come to ENOUGH after 30 more.
HALVES = (1.0 - ENOUGH) ** (1.0 / 30.0)


@pytest.mark.parametrize(
    ("factor", "is_harmed"),
    [(0.999 * HALVES, False), (1.001 * HALVES, True), (1.01, True)],
)
def test_a_run_may_be_on_its_way(factor, is_harmed):
    """Skill at the planned end is what the pace makes of it."""
    assert -math.log(0.999 * HALVES) < gate._FALLS
    losses = factor ** np.arange(16)
    assert (judged(losses, epochs=31) is not None) == is_harmed


@pytest.mark.parametrize(
    ("last", "is_harmed"), [(0.99, True), (1.01, False), (-1.0, True)]
)
def test_a_loss_that_falls_fast_is_awaited(last, is_harmed):
    losses = [*[1.0] * 9, math.exp(-last * gate._FALLS)]
    assert (judged(losses, epochs=12) is not None) == is_harmed
    # At the end there is nothing to wait for.
    assert judged(losses, epochs=10) is not None


def test_the_pace_is_that_of_the_last_quarter():
    """A plateau of many epochs is forgiven once the loss begins to fall."""
    plateau = [1.0] * 15
    assert judged(plateau, epochs=40) is not None
    assert judged([*plateau, 0.95, 0.9, 0.85, 0.8], epochs=40) is None


def test_the_projected_skill():
    found = judged(0.99 ** np.arange(8), epochs=11)
    assert found.skill == pytest.approx(1.0 - 0.99**7)
    assert found.projected == pytest.approx(1.0 - 0.99**10)


@pytest.mark.parametrize("epochs", [1, 3, 8, 12, 40, 100])
def test_patience(epochs):
    few = gate.patience(epochs)
    assert few >= max(1, math.ceil(gate.PATIENCE * epochs))
    assert few == min(gate.PACE, epochs) or few < epochs / 4
    assert epochs < 13 or few >= gate._LEAST
    assert judged([1.0] * (few - 1), epochs=epochs) is None
    assert judged([1.0] * few, epochs=epochs) is not None


@pytest.mark.parametrize("good", [0, 1, 2])
def test_the_last_epochs_must_agree(good):
    """Three low epochs of the last three; one good one resets the count."""
    losses = np.full(20, 1.0)
    losses[: 5 + good] = 0.1
    assert judged(losses[: 7 + good], epochs=20) is None
    assert judged(losses, epochs=20) is not None


def test_since_when():
    found = judged([0.9, 0.1, *[1.0] * 8])
    # The median of three epochs is low from the third on.
    assert found.since == (2, 30)


def mean_between(first, last):
    """Mean of what goes from one to the other, by the same factor each time."""
    return np.mean(first * (last / first) ** np.linspace(0.0, 1.0, 10001))


def test_penalties_are_taken_off():
    def recording(penalties):
        made = run([regression()], [], [numbers()], [5.2] * 10)
        return add(made, q.WEIGHT_PENALTY, penalties)

    assert gate.harm(training(recording([5.0] * 11)), ENOUGH) is None
    assert gate.harm(training(recording([4.0] * 11)), ENOUGH) is not None
    # One that shrinks does so exponentially.
    t = training(recording([6.0, 4.0]))
    mean = mean_between(6.0, 4.0)
    assert gate.data_loss(t).values[0] == pytest.approx(5.2 - mean, rel=1e-4)


def test_penalties_that_were_seldom_looked_at():
    made = run([regression()], [], [numbers()], [5.2] * 10)
    made.append(-1, "", q.WEIGHT_PENALTY, 0, 10.0)
    made.append(9, "", q.WEIGHT_PENALTY, 100, 0.0)
    values = gate.data_loss(training(made)).values
    means = [mean_between(10.0 - n, 9.0 - n) for n in range(9)]
    np.testing.assert_allclose(values[:9], 5.2 - np.array(means), rtol=1e-3)


@pytest.mark.parametrize("loss", [None, math.nan])
def test_without_the_constant_predictor_the_first_loss_counts(loss):
    unknown = numbers(constant_loss=loss)
    assert judged([4.0] * 10, target=unknown) is not None
    fallen = [4.0, 3.0, *[0.5] * 8]
    assert judged(fallen, target=unknown) is None
    made = run([regression()], [], [unknown], fallen)
    assert gate.reference_loss(training(made)) == 4.0
    # Or that of the untrained model on the probe, if it is higher.
    _ = add(made, q.PROBE_LOSS, [8.0, 0.5])
    assert gate.reference_loss(training(made)) == 8.0


def test_losses_of_several_heads():
    heads = [
        regression(output="a", loss_weight=0.5),
        regression(output="b"),
    ]
    targets = [numbers(output="a"), numbers(output="b", constant_loss=3.0)]
    t = training(run(heads, [], targets, [1.75] * 10))
    assert gate.constant_loss(t) == pytest.approx(3.5)
    np.testing.assert_allclose(gate.skill(t).values, 0.5)
    # Of one nothing is known: nothing is known of all.
    t = training(run(heads, [], targets[:1], [1.75] * 10))
    assert gate.constant_loss(t) is None


def test_targets_that_are_not_seen_yet():
    """Of a stream they are known once rows have come."""
    made = run([head()], [], [numbers()], [1.0] * 10)
    made.facts["data"]["step"] = 1000
    assert gate.constant_loss(training(made)) is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (9.0, 2.35, False),
        (9.0, 4.0, True),
        (2.4, 2.35, True),
        (None, 2.35, True),
    ],
)
def test_a_first_epoch_that_only_came_down(before, after, expected):
    """Such as of a new head on a pretrained body."""
    made = run([head()], [], [classes()], [4.9], epochs=8, steps_per_epoch=50)
    for epoch, value in ((-1, before), (0, after)):
        if value is not None:
            made.append(
                epoch, "", q.PROBE_INFERENCE_LOSS, 10 * (epoch + 1), value
            )
    assert (gate.harm(training(made), 0.2) is not None) == expected
