import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import batch_norm as rules
from rule_facts import (
    STEPS,
    add,
    findings,
    found,
    layer,
    numbers,
    regression,
    run,
    training,
)

FAST, SLOW = 0.5, 0.9999


def recording(gaps, momentum=FAST, epochs=10, kind="BatchNormalization"):
    """Losses of the probe: 1 in training mode, more at inference."""
    layers = [
        layer("Functional", "m"),
        layer(kind, "m/bn", momentum=momentum),
    ]
    made = run(
        [regression()],
        [],
        [numbers()],
        [0.5] * (len(gaps) - 1),
        epochs=epochs,
        layers=layers,
        steps_per_epoch=STEPS,
    )
    _ = add(made, q.PROBE_LOSS, [1.0] * len(gaps))
    return add(made, q.PROBE_INFERENCE_LOSS, 1.0 + np.asarray(gaps))


WIDE, NARROW = 1.01 * rules.GAP, 0.99 * rules.GAP


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([0.0, *[WIDE] * 10], [""]),
        ([0.0, *[NARROW] * 10], []),
        ([0.0, *[WIDE] * 8, NARROW, WIDE], []),
        ([0.0, *[NARROW] * 7, *[WIDE] * 3], [""]),
        # At inference it may be better: dropout.
        ([0.0, *[-0.9] * 10], []),
        # Before the first step the moving statistics are not the data's.
        ([99.0, *[0.0] * 10], []),
        ([0.0, *[np.nan] * 10], []),
    ],
)
def test_gap(gaps, expected):
    assert found("batch_norm_shift", recording(gaps)) == expected


def test_since_and_owner():
    (finding,) = findings("batch_norm_shift", recording([WIDE] * 11))
    assert (finding.owner, finding.since) == ("m/bn", (0, STEPS))


@pytest.mark.parametrize(
    ("ended", "momentum", "expected"),
    [
        # The first steps still hold the initial values.
        (4, FAST, []),
        (5, FAST, [""]),
        # That they do so to the end is known before.
        (4, SLOW, [""]),
        (4, (0.99 * rules.STILL_INITIAL) ** 0.01, []),
        (4, (1.01 * rules.STILL_INITIAL) ** 0.01, [""]),
    ],
)
def test_when_it_is_said(ended, momentum, expected):
    made = recording([WIDE] * (ended + 1), momentum)
    assert found("batch_norm_shift", made) == expected


def test_the_remedy():
    (finding,) = findings("batch_norm_shift", recording([WIDE] * 11, SLOW))
    assert "momentum" in finding.code
    (finding,) = findings("batch_norm_shift", recording([WIDE] * 11))
    assert "recalibrate" in finding.code


def test_other_models():
    made = recording([WIDE] * 11, kind="LayerNormalization")
    assert found("batch_norm_shift", made) == []


def test_gaps_are_those_of_the_same_moment():
    made = run()
    for step, loss in ((10, 1.0), (20, 2.0), (30, 3.0)):
        made.append(0, "", q.PROBE_LOSS, step, loss)
    for step, loss in ((0, 9.0), (10, 1.5), (30, 4.0)):
        made.append(0, "", q.PROBE_INFERENCE_LOSS, step, loss)
    gaps = rules.gaps(training(made))
    assert gaps.values.tolist() == [0.5, 1.0]
    assert gaps.steps.tolist() == [10, 30]
    assert rules.remaining_share(training(made)) == 0.0
