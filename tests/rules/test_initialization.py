import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import initialization, start
from rule_facts import (
    STUCK,
    WELL,
    classes,
    entry,
    found,
    head,
    kernel,
    layer,
    run,
)

BATCH_FAILED = {"batch": {"before": 2.3, "after": 2.2}}
BATCH_LEARNED = {"batch": {"before": 2.3, "after": 0.2}}
UNIFORM = classes()["uniform_loss"]


MOST_FROZEN = round(1000 * initialization._FROZEN)


@pytest.mark.parametrize(
    ("frozen", "losses", "facts", "expected"),
    [
        (MOST_FROZEN, STUCK, {}, [""]),
        (MOST_FROZEN - 1, STUCK, {}, []),
        # A pretrained body under a head that learns.
        (MOST_FROZEN, WELL, {}, []),
        (MOST_FROZEN, (), {"is_preflight": True, "checks": BATCH_LEARNED}, []),
        (
            MOST_FROZEN,
            (),
            {"is_preflight": True, "checks": BATCH_FAILED},
            [""],
        ),
        (1000, (), {}, [""]),  # nothing is trained
        (1000, (), {"heads": [head(loss=None, kind="other")]}, []),
    ],
)
def test_frozen_body(frozen, losses, facts, expected):
    variables = [kernel("body/kernel", trainable=False, shape=[frozen])]
    if frozen < 1000:
        variables.append(kernel("head/kernel", shape=[1000 - frozen]))
    facts = {"heads": [head()], "variables": variables} | facts
    recording = run(
        inputs=[entry()], targets=[classes()], losses=losses, **facts
    )
    assert found("frozen_body", recording) == expected


@pytest.mark.parametrize(
    ("first", "losses", "preflight", "expected"),
    [
        (1.01 * start.HIGH, STUCK, False, [""]),
        (0.99 * start.HIGH, STUCK, False, []),
        (1.01 * start.HIGH, WELL, False, []),
        (0.99 * start.HIGHER, (), True, []),
        (1.01 * start.HIGHER, (), True, [""]),
    ],
)
def test_initial_loss(first, losses, preflight, expected):
    recording = run([head()], [], [classes()], losses, is_preflight=preflight)
    recording.append(-1, "", q.PROBE_INFERENCE_LOSS, 0, first * UNIFORM)
    assert found("initial_loss", recording) == expected


def test_penalties_are_no_initial_loss():
    recording = run([head()], [], [classes()], STUCK)
    recording.append(-1, "", q.PROBE_INFERENCE_LOSS, 0, 102.3)
    assert found("initial_loss", recording) == [""]
    recording.append(-1, "", q.WEIGHT_PENALTY, 0, 100.0)
    assert found("initial_loss", recording) == []


def test_imbalance_is_no_high_initial_loss():
    target = classes(shares=[0.99] + [0.01 / 9] * 9, constant_loss=0.08)
    recording = run([head()], [], [target], is_preflight=True)
    recording.append(-1, "", q.PROBE_INFERENCE_LOSS, 0, 2.4)
    assert found("initial_loss", recording) == []


@pytest.mark.parametrize("quantity", [q.TRAINING_LOSS, q.PROBE_LOSS])
def test_batch_normalization_starts_with_its_batch(quantity):
    """What a preflight measures, or a doctor."""
    layers = [layer("Functional", "m"), layer("BatchNormalization", "m/bn")]
    for inference, first, checks, expected in (
        (99.0, None, {}, []),
        (99.0, 2.5, BATCH_FAILED, []),
        (99.0, 9.0, BATCH_FAILED, [""]),
        # Random weights of a deep network, which learns all the same.
        (99.0, 9.0, BATCH_LEARNED, []),
        # Features of a batch that hardly differ, and are made to.
        (2.3, 9.0, {}, []),
    ):
        recording = run(
            [head()],
            [],
            [classes()],
            is_preflight=True,
            layers=layers,
            checks=checks,
        )
        recording.append(-1, "", q.PROBE_INFERENCE_LOSS, 0, inference)
        if first is not None:
            recording.append(-1, "", quantity, 0, first)
        assert found("initial_loss", recording) == expected


@pytest.mark.parametrize(
    ("shares", "changes", "expected"),
    [
        ((1.0, 1.0, 1.0), {}, [""]),
        ((1.0, 1.0), {}, []),  # the step after may part them
        ((1.0, 0.0, 0.0), {}, []),  # a head of zeros
        ((1.0, 0.1, 1.0), {}, []),
        ((1.0, 1.0, 1.0), {"shape": [20, 1]}, []),
        ((1.0, 1.0, 1.0), {"trainable": False}, []),
    ],
)
def test_symmetric_init(shares, changes, expected):
    variable = kernel("m/dense/kernel")
    recording = run([head()], variables=[variable | changes])
    for number, share in enumerate(shares):
        recording.append(
            number - 1, "m/dense/kernel", q.EQUAL_COLUMNS, 10 * number, share
        )
    assert found("symmetric_init", recording) == expected


@pytest.mark.parametrize(("equal", "expected"), [(True, [""]), (False, [])])
def test_symmetric_gradients_in_a_preflight(equal, expected):
    variable = kernel("m/dense/kernel")
    recording = run(
        [head()],
        variables=[variable],
        is_preflight=True,
        checks={"equal_gradients": {"m/dense/kernel": equal}},
    )
    recording.append(-1, "m/dense/kernel", q.EQUAL_COLUMNS, 0, 1.0)
    assert found("symmetric_init", recording) == expected
