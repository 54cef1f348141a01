import math

import pytest

from rule_facts import (
    STUCK,
    WELL,
    binary,
    classes,
    findings,
    found,
    head,
    layer,
    numbers,
    regression,
    run,
)

RULE = "head_loss_mismatch"


@pytest.mark.parametrize("predicted", [None, (0.01, 0.6, 0.0)])
@pytest.mark.parametrize(
    "given",
    [
        head(),
        head(activation="linear", from_logits=True),
        head(activation=None),
        head(activation="log_softmax", from_logits=True),
        binary(),
        binary(activation="linear", from_logits=True),
        regression(),
        regression(activation="sigmoid"),
    ],
)
def test_right_heads(given, predicted):
    if given["from_logits"]:
        predicted = (-3.0, 2.0, 9.0)
    target = numbers(min=0, max=1, mean=0.4, std=0.2)
    recording = run([given], [], [target], predicted=predicted)
    assert found(RULE, recording) == []


@pytest.mark.parametrize(
    ("given", "predicted", "variant"),
    [
        (head(from_logits=True), (0.0, 0.9, 1e-6), "not_logits"),
        (head(from_logits=True), None, "not_logits"),
        (binary(from_logits=True), (0.2, 0.9, 0.8), "not_logits"),
        (
            head(activation=None, from_logits=True),
            (0.0, 0.9, 1e-6),
            "not_logits",
        ),
        (head(activation="linear"), (-2.0, 3.0, 9.0), "not_probabilities"),
        (head(activation="linear"), None, "not_probabilities"),
        (head(activation=None), (-2.0, 3.0, 9.0), "not_probabilities"),
        (binary(activation="linear"), (0.1, 1.5, 9.0), "not_probabilities"),
        (binary(activation="relu"), (0.0, 1.5, 0.5), "not_probabilities"),
        (
            regression(loss="Poisson", activation="linear"),
            (-1.0, 2.0, 3.0),
            "not_probabilities",
        ),
        (head(units=1, shape=[None, 1]), (1.0, 1.0, 0.0), "one_unit"),
        (binary(activation="softmax"), (1.0, 1.0, 0.0), "one_unit"),
        (binary(activation="softmax"), None, "one_unit"),
        (regression(activation="softmax"), (1.0, 1.0, 0.0), "one_unit"),
        (head(argument_activation="softmax"), (0.08, 0.2, 0.0), "twice"),
        (binary(argument_activation="sigmoid"), (0.5, 0.7, 0.5), "twice"),
        (
            head(argument_activation="sigmoid"),
            (0.06, 0.14, 0.0),
            "bounded_logits",
        ),
        (
            binary(activation="relu", from_logits=True),
            (0.0, 2.0, 1.0),
            "bounded_logits",
        ),
    ],
)
def test_contradictions_are_found_at_once(given, predicted, variant):
    recording = run([given], [], [], predicted=predicted)
    assert found(RULE, recording) == [variant]


@pytest.mark.parametrize(
    ("given", "predicted"),
    [
        # Something between the activation that was read and the output.
        (head(from_logits=True), (-4.0, 5.0, 9.0)),
        (head(activation="linear"), (0.01, 0.7, 1e-6)),
        (head(activation=None, from_logits=True), (-4.0, 5.0, 9.0)),
        (binary(activation="linear"), (0.1, 0.9, 0.8)),
        (head(argument_activation="sigmoid"), (0.0, 0.99, 0.0)),
        (head(units=1, shape=[None, 5, 1]), (0.1, 0.3, 0.9)),
        # Positive numbers, which Keras divides by their sum.
        (head(activation="softplus"), (0.1, 3.0, 9.0)),
        (head(activation="sigmoid"), (0.4, 0.6, 4.0)),
        # Not known.
        (head(loss=None, kind="other"), (-2.0, 3.0, 9.0)),
        (head(loss="MyLoss", kind="other"), (-2.0, 3.0, 9.0)),
        # Untrained zeros.
        (binary(activation="linear"), (0.0, 0.0, 1.0)),
    ],
)
def test_no_verdict_where_sources_disagree(given, predicted):
    recording = run([given], [], [], predicted=predicted)
    assert found(RULE, recording) == []


def test_linear_needs_a_plain_layer_without_predictions():
    given = head(activation="linear")
    layers = [layer("Functional", "model"), layer("MyLayer")]
    assert found(RULE, run([given], layers=layers)) == []


@pytest.mark.parametrize(
    ("changes", "variants"),
    [
        ({}, []),
        ({"loss": "CategoricalFocalCrossentropy"}, ["not_logits"]),
        ({"loss": "CrossEntropy"}, ["not_logits"]),
    ],
)
def test_tensorflow_finds_the_logits(changes, variants):
    given = head(from_logits=True, **changes)
    recording = run([given], predicted=(0, 1, 0), backend="tensorflow")
    assert found(RULE, recording) == variants


def test_tensorflow_does_not_in_mixed_precision():
    layers = [layer(dtype_policy="mixed_float16")]
    given = head(from_logits=True)
    recording = run([given], layers=layers, backend="tensorflow")
    assert found(RULE, recording) == ["not_logits"]


@pytest.mark.parametrize(
    "given",
    [
        head(argument_activation="relu"),
        head(argument_activation="tanh"),
        head(activation="tanh", from_logits=True),
    ],
)
def test_bounded_logits_need_harm(given):
    targets = [classes()]
    assert found(RULE, run([given], [], targets)) == []
    assert found(RULE, run([given], [], targets, WELL)) == []
    assert found(RULE, run([given], [], targets, STUCK)) == ["bounded_logits"]
    preflight = run([given], [], targets, is_preflight=True)
    assert found(RULE, preflight) == ["bounded_logits"]


@pytest.mark.parametrize(
    ("activation", "target", "variants"),
    [
        ("relu", {}, ["out_of_reach"]),
        ("relu", {"mean": 5.0, "min": 0.0, "max": 9.0}, []),
        ("relu", {"mean": 5.0, "min": -0.9, "max": 9.0}, []),  # noise
        ("relu", {"mean": 5.0, "min": -1.1, "max": 9.0}, ["out_of_reach"]),
        ("relu", {"mean": -0.1, "min": -0.2, "max": 9.0}, ["out_of_reach"]),
        ("sigmoid", {"mean": 23.0, "min": 5.0, "max": 50.0}, ["out_of_reach"]),
        ("sigmoid", {"mean": 0.4, "min": 0.0, "max": 1.0}, []),
        ("tanh", {"mean": 0.0, "min": -3.0, "max": 3.0}, ["out_of_reach"]),
        ("tanh", {"mean": 0.0, "min": -1.0, "max": 1.0}, []),
        ("linear", {}, []),
    ],
)
def test_reach_of_a_regression(activation, target, variants):
    given = regression(activation=activation)
    recording = run([given], [], [numbers(**target)])
    assert found(RULE, recording) == variants


@pytest.mark.parametrize(
    ("share", "losses", "variants"),
    [
        (0.11, WELL, ["out_of_reach"]),
        (0.09, WELL, []),
        (0.09, [1.0] * 10, ["out_of_reach"]),
        (0.09, [], []),
    ],
)
def test_a_few_targets_out_of_reach(share, losses, variants):
    target = numbers(min=-2.2, max=2.3, std=0.5, reachable_loss=share)
    given = regression(activation="tanh")
    recording = run([given], [], [target], losses)
    each = findings(RULE, recording)
    assert [one.variant for one in each] == variants
    assert all("between -1 and 1" in one.why for one in each)
    assert all("a target of 2.3" in one.why for one in each)


def test_weighted_sentinels_need_harm():
    given, fit = regression(activation="relu"), {"sample_weight": True}
    targets = [numbers(mean=5.0, min=-99.0, max=9.0)]
    assert found(RULE, run([given], [], targets, [0.1] * 10, fit=fit)) == []
    stuck = run([given], [], targets, [1.0] * 10, fit=fit)
    assert found(RULE, stuck) == ["out_of_reach"]


def test_a_softmax_cannot_give_several_labels():
    given = binary(activation="softmax", units=3, shape=[None, 3])
    target = classes(
        form="multi_label", shares=[0.5, 0.6, 0.4], constant_loss=0.67
    )
    seen = (0.1, 0.7, 0.0)
    recording = run([given], [], [target], [0.67] * 10, predicted=seen)
    assert found(RULE, recording) == ["several_labels"]
    recording = run([given], [], [target], predicted=seen)
    assert found(RULE, recording) == []
    target["shares"] = [0.5, 0.3, 0.3]
    recording = run([given], [], [target], [0.67] * 10, predicted=seen)
    assert found(RULE, recording) == []


def test_a_sigmoid_before_a_softmax_is_told_by_its_range():
    """e / (e + 9) is the most that it can give."""
    most = math.e / (math.e + 9)
    given = head(argument_activation="sigmoid")
    recording = run([given], predicted=(0.04, most + 0.01, 0.0))
    assert found(RULE, recording) == ["bounded_logits"]
    recording = run([given], predicted=(0.04, most + 0.03, 0.0))
    assert found(RULE, recording) == []
