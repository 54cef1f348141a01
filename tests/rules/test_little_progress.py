"""Tasks that are mostly noise, where little can be learned."""

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.rules.certain_progress import makes_progress
from rule_facts import (
    binary,
    classes,
    entry,
    head,
    log,
    numbers,
    regression,
    run,
    training,
)

RARE = 0.03
CONSTANT = -RARE * np.log(RARE) - (1 - RARE) * np.log1p(-RARE)
ANSWERS = classes(
    form="binary", shares=[RARE], distinct=2, constant_loss=CONSTANT
)
SQUARES = numbers(constant_loss=1.0)


def progress(head, target, losses, validation=(), rows=1000, **facts):
    held = {"rows": rows, "targets": [{**target}]}
    made = run([head], [entry()], [target], losses, **facts)
    made.facts["data"]["validation"] = held if len(validation) else None
    made.facts["data"]["of"] = facts.get("of", 5000)
    _ = log(made, "val_loss", validation)
    return made


@pytest.mark.parametrize("nats", [7.0, 9.0])
def test_validation_loss_below_its_own_constant(nats):
    below = nats / 1000
    answers = progress(
        binary(), ANSWERS, [CONSTANT] * 10, [CONSTANT - below] * 10
    )
    squares = progress(
        regression(), SQUARES, [1.0] * 10, [1.0 - 2 * below] * 10
    )
    for made in (answers, squares):
        assert makes_progress(training(made)) == (nats > 8)
    once = [CONSTANT] * 9 + [CONSTANT - below]
    made = progress(binary(), ANSWERS, [CONSTANT] * 10, once)
    assert not makes_progress(training(made))


@pytest.mark.parametrize(
    "other",
    [
        {"loss": "MeanAbsoluteError"},
        {"loss": "own", "kind": "other"},
        {"loss_weight": 0.1},
        {"label_smoothing": 0.1},
    ],
)
def test_losses_that_are_no_likelihood(other):
    made = progress(regression(**other), SQUARES, [1.0] * 10, [0.5] * 10)
    assert not makes_progress(training(made))


def test_training_loss_counts_beyond_the_weights():
    variable = {"path": "k", "shape": [20], "trainable": True, "role": "weight"}
    for nats, expected in ((27, False), (29, True)):
        losses = [CONSTANT - nats / 5000] * 10
        made = progress(binary(), ANSWERS, losses, variables=[variable])
        assert makes_progress(training(made), by_training=True) == expected
        assert not makes_progress(training(made))
    weights = {"class_weight": {"0": 1.0, "1": 9.0}}
    made = progress(
        binary(), ANSWERS, losses, variables=[variable], fit=weights
    )
    assert not makes_progress(training(made), by_training=True)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_the_probe_shows_it_in_the_first_epochs(epochs):
    target = ANSWERS | {"constant_loss_spread": 0.01}
    made = progress(binary(), target, [CONSTANT] * epochs, epochs=epochs)
    for epoch in range(epochs):
        loss = CONSTANT - 0.005
        made.append(epoch, "", q.PROBE_INFERENCE_LOSS, 10 * (epoch + 1), loss)
    assert makes_progress(training(made)) == (epochs < 3)


def test_the_bound_is_that_of_chance():
    """A model that knows nothing passes it in one case of a thousand."""
    random = np.random.default_rng(0)
    y = random.random((4000, 1000)) < 0.2
    p = y.mean(axis=1)
    best = -(p * np.log(p) + (1 - p) * np.log1p(-p))
    for error in (0.0, 0.02, -0.02):  # of a constant learned elsewhere
        guess = np.full(len(p), 0.2 + error)
        loss = -(p * np.log(guess) + (1 - p) * np.log1p(-guess))
        assert (1000 * (best - loss) <= 1e-9).all()
    # Logits that have nothing to do with the labels.
    logits = np.log(0.25) + 0.1 * random.normal(size=y.shape)
    guess = 1 / (1 + np.exp(-logits))
    loss = -np.where(y, np.log(guess), np.log1p(-guess)).mean(axis=1)
    assert (1000 * (best - loss) > 8).mean() < 1e-3


OWN = head(loss="likelihood", kind="other", activation="linear", units=2)
# An offset of 250, of which nothing can be removed.
EPOCHS = np.arange(12)
FALLING = 248.4 + 1.2 * np.exp(-EPOCHS / 2) + 0.02 * (-1) ** EPOCHS


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        (FALLING, True),
        (FALLING[:5], False),  # too few epochs
        (FALLING + 2.0, False),  # not below a constant's
        (249.0 + 0.3 * np.random.default_rng(0).normal(size=12), False),
    ],
)
def test_a_custom_loss_with_an_offset(losses, expected):
    target = numbers(constant_loss=249.7)
    made = run([OWN], [entry()], [target], list(losses), epochs=len(losses))
    assert makes_progress(training(made)) == expected
    made = run([head()], [entry()], [target], list(losses), epochs=len(losses))
    assert not makes_progress(training(made))
