import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import units
from rule_facts import (
    STUCK,
    WELL,
    add,
    classes,
    findings,
    found,
    head,
    kernel,
    layer,
    run,
)

COUNT = 1000
MORE, LESS = units.MOST * COUNT + 1, units.MOST * COUNT - 1
RULES = {
    "dead_units": (q.ZERO_ACTIVATION_UNITS, "relu"),
    "saturated_units": (q.SATURATED_UNITS, "tanh"),
}


def recording(rule, counts, losses=STUCK, path="m/a", **facts):
    """A layer and what was counted of its units in each check."""
    quantity, activation = RULES[rule]
    facts = {"activation": activation} | facts
    layers = [
        layer("Functional", "m"),
        layer(path=path, **facts),
        layer(path="m/b", **facts),
    ]
    made = run([head()], [], [classes()], losses, layers=layers)
    for each in (path, "m/b"):
        _ = add(made, q.UNITS, [COUNT] * 11, each)
        _ = add(made, q.ACTIVATION_RMS, [1.0] * 11, each)
    return add(made, quantity, counts, path)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("counts", "losses", "expected"),
    [
        ([MORE] * 11, STUCK, [""]),
        ([units.MOST * COUNT] * 11, STUCK, []),
        ([LESS] * 11, STUCK, []),
        ([MORE] * 11, WELL, []),
        ([MORE] * 8 + [LESS] + [MORE] * 2, STUCK, []),
        ([LESS] * 8 + [MORE] * 3, STUCK, [""]),
    ],
)
def test_most_units_of_a_layer(rule, counts, losses, expected):
    assert found(rule, recording(rule, counts, losses)) == expected


@pytest.mark.parametrize("rule", RULES)
def test_since_and_owner(rule):
    (finding,) = findings(rule, recording(rule, [LESS] * 4 + [MORE] * 7))
    assert (finding.owner, finding.since) == ("m/a", (3, 40))
    assert finding.evidence[0].value == pytest.approx(MORE / COUNT)


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        # Not of the kind that dies, or saturates.
        ("dead_units", {"activation": "linear"}),
        ("dead_units", {"activation": None}),
        ("saturated_units", {"activation": "relu"}),
        # Gates saturate when they are confident.
        ("saturated_units", {"recurrent_activation": "sigmoid"}),
        # A head too.
        ("dead_units", {"path": "model/dense"}),
        ("saturated_units", {"path": "model/dense"}),
    ],
)
def test_layers_that_do_not_count(rule, facts):
    assert found(rule, recording(rule, [MORE] * 11, **facts)) == []


def test_sparse_activations_are_not_dead():
    """Entries that are 0 do not count, if no unit is 0 in all samples."""
    made = recording("dead_units", [0.0] * 11)
    _ = add(made, q.ZERO_SHARE, [0.95] * 11, "m/a")
    assert found("dead_units", made) == []


@pytest.mark.parametrize("rule", RULES)
def test_units_that_nobody_has_counted(rule):
    quantity, activation = RULES[rule]
    layers = [layer(path="m/a", activation=activation)]
    made = run([head()], [], [classes()], STUCK, layers=layers)
    _ = add(made, quantity, [MORE] * 11, "m/a")
    _ = add(made, q.ACTIVATION_RMS, [1.0] * 11, "m/a")
    assert found(rule, made) == []


@pytest.mark.parametrize("rule", RULES)
def test_several_layers_are_one_finding(rule):
    made = recording(rule, [MORE] * 11)
    _ = add(made, RULES[rule][0], [MORE] * 11, "m/b")
    (finding,) = findings(rule, made)
    assert finding.owner == "m/a"
    assert finding.evidence[1].value == "2"


@pytest.mark.parametrize(
    ("shares", "expected"),
    [([0.25] * 4, 4.0), ([1.0, 0.0], 1.0), ([0.5, 0.25, 0.25], 2**1.5)],
)
def test_perplexity(shares, expected):
    assert units.perplexity(np.array(shares)) == pytest.approx(expected)


SOME = [2.0, 1.6, 1.4, 1.2, 1.1, 1.0, 0.9, 0.85, 0.8, 0.8]  # skill up to 0.65
NEARLY_ALL = units._NEARLY_ALL * COUNT


class TestFlatFromTheStart:
    @pytest.mark.parametrize(
        ("counts", "losses", "expected"),
        [
            ([NEARLY_ALL + 1] * 11, SOME, [""]),
            ([NEARLY_ALL] * 11, SOME, []),
            ([LESS] + [NEARLY_ALL + 1] * 10, SOME, []),
            ([NEARLY_ALL + 1] * 9 + [MORE] * 2, SOME, []),
            ([NEARLY_ALL + 1] * 11, WELL, []),
        ],
    )
    def test_units(self, counts, losses, expected):
        made = recording("saturated_units", counts, losses)
        assert found("saturated_units", made) == expected

    def test_rectified_units_need_more_harm(self):
        made = recording("dead_units", [COUNT] * 11, SOME)
        assert found("dead_units", made) == []

    @pytest.mark.parametrize(
        ("scale", "kind", "losses", "expected"),
        [
            (units._HUGE + 1, "LSTM", SOME, ["gates"]),
            (units._HUGE - 1, "LSTM", SOME, []),
            (units._HUGE + 1, "LSTM", WELL, []),
            (units._HUGE + 1, "Dense", SOME, []),
        ],
    )
    def test_gates(self, scale, kind, losses, expected):
        facts = {"recurrent_activation": "sigmoid"} if kind == "LSTM" else {}
        layers = [layer(kind, "m/a", activation="tanh", **facts)]
        made = run(
            [head()],
            [],
            [classes()],
            losses,
            layers=layers,
            variables=[kernel("m/a/kernel", shape=[16, 8])],
        )
        _ = add(made, q.EPOCH_WEIGHT_RMS, [scale / 4.0] * 11, "m/a/kernel")
        _ = add(made, q.ACTIVATION_RMS, [1.0] * 11, "m/a")
        assert found("saturated_units", made) == expected
