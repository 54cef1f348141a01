import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import start, unscaled
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
    return [0.0, largest / (factor * unscaled._SPREAD), largest]


@pytest.mark.parametrize(
    ("given", "variants"),
    [
        (entry(), []),
        (pixels(), ["large"]),
        (entry(rms=unscaled._LARGE), []),
        (entry(rms=1.01 * unscaled._LARGE), ["large"]),
        (entry(rms=1.01 * unscaled._SMALL, std=1.01 * unscaled._SMALL), []),
        (
            entry(rms=0.99 * unscaled._SMALL, std=0.99 * unscaled._SMALL),
            ["small"],
        ),
        (entry(rms=0.0, std=0.0), []),
        (entry(mean=1.01 * unscaled._OFFSET), ["offset"]),
        (entry(mean=0.99 * unscaled._OFFSET), []),
        (entry(rms=float("nan")), []),
        (entry(rms=300.0, rms_of_features=[1, 1, 1000]), ["spread"]),
        (entry(rms_of_features=uneven(1.01, unscaled._LARGE)), ["spread"]),
        (entry(rms_of_features=uneven(0.99, unscaled._LARGE)), []),
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
        (numbers(mean=0.98 * unscaled._LARGE, std=1.0), [1.0] * 10, []),
        (numbers(mean=unscaled._LARGE, std=1.0), [1.0] * 10, ["large"]),
        (numbers(std=0.99 * unscaled._SMALL), [1.0] * 10, ["small"]),
        (numbers(std=1.01 * unscaled._SMALL), [1.0] * 10, []),
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
    [(0.99 * unscaled._FAR, []), (1.01 * unscaled._FAR, ["large"])],
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
