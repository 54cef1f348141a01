import pytest

from keras_concepts import quantities as q
from rule_facts import (
    STUCK,
    WELL,
    classes,
    entry,
    found,
    head,
    layer,
    numbers,
    regression,
    run,
)

BATCH_FAILED = {"batch": {"before": 2.3, "after": 2.2}}
BATCH_LEARNED = {"batch": {"before": 2.3, "after": 0.2}}


def pixels(**changes):
    return entry(
        **{"rms": 100.0, "mean": 33.0, "std": 79.0, "min": 0, "max": 255}
        | changes
    )


@pytest.mark.parametrize(
    ("given", "variants"),
    [
        (entry(), []),
        (pixels(), ["large"]),
        (entry(rms=10.0), []),
        (entry(rms=10.1), ["large"]),
        (entry(rms=0.011, std=0.011), []),
        (entry(rms=0.009, std=0.009), ["small"]),
        (entry(rms=0.0, std=0.0), []),
        (entry(rms=9.0, mean=9.0, std=0.8), ["offset"]),
        (entry(rms=9.0, mean=9.0, std=1.0), []),
        (entry(rms=300.0, rms_of_features=[1, 1, 1000]), ["spread"]),
        (entry(rms=9.0, rms_of_features=[0.01, 0.1, 10.5]), ["spread"]),
        (entry(rms=9.0, rms_of_features=[0.01, 0.11, 10.5]), []),
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
        (BATCH_LEARNED, 6.8, []),
        (BATCH_LEARNED, 7.0, ["large"]),
        (BATCH_LEARNED, float("nan"), ["large"]),
        (BATCH_FAILED, 2.4, ["large"]),
        ({"batch": {"before": 2.3, "after": 2.0}}, 2.4, []),
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
        (numbers(mean=9.9, std=1.0), [1.0] * 10, []),
        (numbers(mean=10.0, std=1.0), [1.0] * 10, ["large"]),
        (numbers(std=0.009), [1.0] * 10, ["small"]),
        (numbers(std=0.011), [1.0] * 10, []),
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


@pytest.mark.parametrize(("mean", "variants"), [(900.0, []), (1001, ["large"])])
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
        (0.1, 0.0, 100, [""]),
        (0.09, 0.0, 100, []),
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


def kernel(path, trainable, size):
    return {
        "path": path,
        "layer": path.rpartition("/")[0],
        "shape": [size],
        "trainable": trainable,
        "role": q.WEIGHT,
    }


@pytest.mark.parametrize(
    ("sizes", "losses", "expected"),
    [
        ((90, 10), STUCK, [""]),
        ((90, 10), WELL, []),
        ((89, 11), STUCK, []),
        ((100, 0), (), [""]),  # nothing is trained
    ],
)
def test_frozen_body(sizes, losses, expected):
    frozen, trained = sizes
    variables = [kernel("body/kernel", False, frozen)]
    if trained:
        variables.append(kernel("head/kernel", True, trained))
    recording = run(
        [head()], [entry()], [classes()], losses, variables=variables
    )
    assert found("frozen_body", recording) == expected


@pytest.mark.parametrize(
    ("first", "losses", "preflight", "expected"),
    [
        (4.7, STUCK, False, [""]),
        (4.5, STUCK, False, []),
        (4.7, WELL, False, []),
        (6.8, (), True, []),
        (7.0, (), True, [""]),
    ],
)
def test_initial_loss(first, losses, preflight, expected):
    recording = run([head()], [], [classes()], losses, is_preflight=preflight)
    recording.append(-1, "", q.PROBE_INFERENCE_LOSS, 0, first)
    assert found("initial_loss", recording) == expected


def test_imbalance_is_no_high_initial_loss():
    target = classes(shares=[0.99] + [0.01 / 9] * 9, constant_loss=0.08)
    recording = run([head()], [], [target], is_preflight=True)
    recording.append(-1, "", q.PROBE_INFERENCE_LOSS, 0, 2.4)
    assert found("initial_loss", recording) == []


def test_batch_normalization_starts_with_its_batch():
    layers = [layer("Functional", "m"), layer("BatchNormalization", "m/bn")]
    recording = run([head()], [], [classes()], is_preflight=True, layers=layers)
    recording.append(-1, "", q.PROBE_INFERENCE_LOSS, 0, 99.0)
    assert found("initial_loss", recording) == []
    recording.append(-1, "", q.TRAINING_LOSS, 0, 2.5)
    assert found("initial_loss", recording) == []
    recording = run([head()], [], [classes()], is_preflight=True, layers=layers)
    recording.append(-1, "", q.TRAINING_LOSS, 0, 9.0)
    assert found("initial_loss", recording) == [""]


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
    variable = kernel("m/dense/kernel", True, 1) | {"shape": [20, 8]}
    recording = run([head()], variables=[variable | changes])
    for number, share in enumerate(shares):
        recording.append(
            number - 1, "m/dense/kernel", q.EQUAL_COLUMNS, 10 * number, share
        )
    assert found("symmetric_init", recording) == expected


@pytest.mark.parametrize(("equal", "expected"), [(True, [""]), (False, [])])
def test_symmetric_gradients_in_a_preflight(equal, expected):
    variable = kernel("m/dense/kernel", True, 1) | {"shape": [20, 8]}
    recording = run(
        [head()],
        variables=[variable],
        is_preflight=True,
        checks={"equal_gradients": {"m/dense/kernel": equal}},
    )
    recording.append(-1, "m/dense/kernel", q.EQUAL_COLUMNS, 0, 1.0)
    assert found("symmetric_init", recording) == expected
