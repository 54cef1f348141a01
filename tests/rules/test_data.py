import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import data, start
from rule_facts import (
    STUCK,
    WELL,
    classes,
    entry,
    found,
    head,
    kernel,
    layer,
    numbers,
    regression,
    run,
)

BATCH_FAILED = {"batch": {"before": 2.3, "after": 2.2}}
BATCH_LEARNED = {"batch": {"before": 2.3, "after": 0.2}}
UNIFORM = classes()["uniform_loss"]


def learned(share):
    """A trial that took a share off the loss of a batch."""
    return {"batch": {"before": 2.3, "after": 2.3 * (1.0 - share)}}


def pixels(**changes):
    return entry(
        **{"rms": 100.0, "mean": 33.0, "std": 79.0, "min": 0, "max": 255}
        | changes
    )


def uneven(factor, largest):
    """RMS of features around the threshold of how far they may differ."""
    largest *= 1.01
    return [0.0, largest / (factor * data._SPREAD), largest]


@pytest.mark.parametrize(
    ("given", "variants"),
    [
        (entry(), []),
        (pixels(), ["large"]),
        (entry(rms=data._LARGE), []),
        (entry(rms=1.01 * data._LARGE), ["large"]),
        (entry(rms=1.01 * data._SMALL, std=1.01 * data._SMALL), []),
        (entry(rms=0.99 * data._SMALL, std=0.99 * data._SMALL), ["small"]),
        (entry(rms=0.0, std=0.0), []),
        (entry(mean=1.01 * data._OFFSET), ["offset"]),
        (entry(mean=0.99 * data._OFFSET), []),
        (entry(rms=float("nan")), []),
        (entry(rms=300.0, rms_of_features=[1, 1, 1000]), ["spread"]),
        (entry(rms_of_features=uneven(1.01, data._LARGE)), ["spread"]),
        (entry(rms_of_features=uneven(0.99, data._LARGE)), []),
        # Dark pixels at the rim of every image.
        (entry(rms=0.3, rms_of_features=[0.0001, 0.001, 0.5]), []),
    ],
)
def test_unscaled_input_needs_harm(given, variants):
    args = [head()], [given], [classes()]
    assert found("unscaled_input", run(*args, STUCK)) == variants
    assert found("unscaled_input", run(*args, WELL)) == []
    assert found("unscaled_input", run(*args)) == []


@pytest.mark.parametrize(
    ("layers", "given", "variants"),
    [
        (["Flatten", "Dense"], pixels(), ["large"]),
        (["Rescaling", "Dense"], pixels(), []),
        (["InputLayer", "RandomFlip", "Normalization", "Conv2D"], pixels(), []),
        (["BatchNormalization", "Conv2D"], pixels(), []),
        (["Embedding", "LSTM"], pixels(integer=True), []),
        (["Mine", "Dense"], pixels(), []),
        (["Mine", "Dense"], pixels(kernel_rms=79.0), ["large"]),
        (["Dense"], pixels(kernel_rms=1.0), []),
        (["Dense", "Embedding"], pixels(integer=True), []),
        (["Conv2D", "BatchNormalization"], pixels(), ["large"]),
    ],
)
def test_a_first_layer_that_scales(layers, given, variants):
    layers = [layer("Sequential", "m"), *[layer(each) for each in layers]]
    recording = run([head()], [given], [classes()], STUCK, layers=layers)
    assert found("unscaled_input", recording) == variants


@pytest.mark.parametrize(
    ("checks", "first", "variants"),
    [
        (BATCH_LEARNED, 2.4, []),
        (BATCH_LEARNED, 0.99 * start.HIGHER * UNIFORM, []),
        (BATCH_LEARNED, 1.01 * start.HIGHER * UNIFORM, ["large"]),
        (BATCH_LEARNED, float("nan"), ["large"]),
        (BATCH_FAILED, 2.4, ["large"]),
        (learned(1.01 * start.LEARNED), 2.4, []),
        (learned(0.99 * start.LEARNED), 2.4, ["large"]),
        # One that knows the batch already.
        ({"batch": {"before": 0.1, "after": 0.1}}, 2.4, []),
        ({"batch": {"before": 2.3, "after": float("nan")}}, 2.4, ["large"]),
    ],
)
def test_harm_in_a_preflight(checks, first, variants):
    recording = run(
        [head()], [pixels()], [classes()], is_preflight=True, checks=checks
    )
    recording.append(-1, "", q.PROBE_INFERENCE_LOSS, 0, first)
    assert found("unscaled_input", recording) == variants


@pytest.mark.parametrize(
    ("target", "losses", "variants"),
    [
        (numbers(mean=200.0, std=50.0), [1.0] * 10, ["large"]),
        (numbers(mean=200.0, std=50.0), [0.1] * 10, []),
        (numbers(mean=0.98 * data._LARGE, std=1.0), [1.0] * 10, []),
        (numbers(mean=data._LARGE, std=1.0), [1.0] * 10, ["large"]),
        (numbers(std=0.99 * data._SMALL), [1.0] * 10, ["small"]),
        (numbers(std=1.01 * data._SMALL), [1.0] * 10, []),
        (numbers(mean=200.0, non_finite=1), [1.0] * 10, []),
    ],
)
def test_unscaled_target(target, losses, variants):
    recording = run([regression()], [entry()], [target], losses)
    assert found("unscaled_target", recording) == variants


def test_a_head_that_scales():
    target = numbers(mean=200.0, std=50.0)
    for predicted, variants in (
        ((-1.0, 2.0), ["large"]),
        ((150.0, 230.0), []),
    ):
        recording = run(
            [regression()], [entry()], [target], [1.0] * 10, predicted=predicted
        )
        assert found("unscaled_target", recording) == variants


@pytest.mark.parametrize(
    ("mean", "variants"),
    [(0.99 * data._FAR, []), (1.01 * data._FAR, ["large"])],
)
def test_targets_in_a_preflight(mean, variants):
    recording = run(
        [regression()],
        [entry()],
        [numbers(mean=mean, std=1.0)],
        is_preflight=True,
        checks=BATCH_LEARNED,
    )
    assert found("unscaled_target", recording) == variants


def test_non_finite_data():
    good, bad = entry(), entry(non_finite=3)
    assert found("non_finite", run([head()], [good], [classes()])) == []
    assert found("non_finite", run([head()], [bad], [classes()])) == ["data"]
    target = classes(non_finite=1)
    assert found("non_finite", run([head()], [good], [target])) == ["data"]
    other = head(loss="mine", kind="other")
    assert found("non_finite", run([other], [good], [target])) == []
    # A model that takes NaN for missing.
    assert found("non_finite", run([head()], [bad], [classes()], WELL)) == []


@pytest.mark.parametrize(
    ("overlap", "repeated", "rows", "expected"),
    [
        (1.0, 0.0, 100, [""]),
        (data._OVERLAP, 0.0, 100, [""]),
        (0.99 * data._OVERLAP, 0.0, 100, []),
        (0.5, 0.25, 100, []),
        (0.5, 0.24, 100, [""]),
        (1.0, 0.0, 9, []),
        (None, None, 100, []),
    ],
)
def test_validation_overlap(overlap, repeated, rows, expected):
    validation = {"rows": rows, "overlap": overlap, "repeated": repeated}
    recording = run([head()], [entry()], [classes()], validation=validation)
    assert found("validation_overlap", recording) == expected


@pytest.mark.parametrize(
    ("constant", "rows", "others", "expected"),
    [
        (20, data._ENOUGH_ROWS, [], [""]),
        (20, data._ENOUGH_ROWS - 1, [], []),
        (19, 1000, [], []),
        # One that is there for its shape alone.
        (20, 1000, [entry(name="other")], []),
        (20, 1000, [entry(name="other", constant_features=20)], [""]),
    ],
)
def test_constant_input(constant, rows, others, expected):
    given = [entry(constant_features=constant), *others]
    recording = run([head()], given, [classes()], WELL, rows=rows)
    assert found("constant_input", recording) == expected


@pytest.mark.parametrize("facts", [{"features": None}, {"features": 0}])
def test_inputs_of_unknown_features(facts):
    recording = run([head()], [entry(**facts)], [classes()], STUCK)
    assert found("constant_input", recording) == []


MOST_FROZEN = round(1000 * data._FROZEN)


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
    for inference, first, expected in (
        (99.0, None, []),
        (99.0, 2.5, []),
        (99.0, 9.0, [""]),
        # Features of a batch that hardly differ, and are made to.
        (2.3, 9.0, []),
    ):
        recording = run(
            [head()], [], [classes()], is_preflight=True, layers=layers
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
