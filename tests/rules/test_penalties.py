import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import penalties as rules
from rule_facts import (
    add,
    classes,
    findings,
    found,
    head,
    kernel,
    layer,
    numbers,
    regression,
    run,
    training,
)

PATH = "m/a/kernel"
KERNELS = [kernel(PATH, regularizer={"class": "L2"}), kernel("m/b/kernel")]


def recording(penalties, data=1.0, variables=KERNELS):
    """A regression whose best constant has a loss of 1.

    Args:
        penalties: At the start and after each epoch.
        data: What is left of the loss, in each epoch.
    """
    penalties = np.asarray(penalties, float)
    logged = (penalties[:-1] + penalties[1:]) / 2.0 + data
    made = run([regression()], [], [numbers()], logged, variables=variables)
    return add(made, q.WEIGHT_PENALTY, penalties)


def penalty(share):
    """The penalty that is such a share of itself and a loss of 1."""
    return share / (1.0 - share)


MORE, LESS = (penalty(rules.DOMINANT * factor) for factor in (1.01, 0.99))


@pytest.mark.parametrize(
    ("penalties", "data", "expected"),
    [
        ([MORE] * 11, 1.0, [""]),
        ([LESS] * 11, 1.0, []),
        ([MORE] * 11, 0.1, []),
        ([LESS] * 8 + [MORE] * 3, 1.0, [""]),
        ([LESS] * 9 + [MORE] * 2, 1.0, []),
        # At the end of training, the data loss is close to 0.
        ([0.1] * 11, 0.001, []),
    ],
)
def test_penalties_over_the_constant_predictor(penalties, data, expected):
    made = recording(penalties, data)
    assert found("penalty_dominates", made) == expected


@pytest.mark.parametrize(
    ("first", "size", "data", "expected"),
    [
        (MORE, 0.99 * rules.SHRUNK, 1.0, [""]),
        (MORE, 1.01 * rules.SHRUNK, 1.0, []),
        (LESS, 0.99 * rules.SHRUNK, 1.0, []),
        (MORE, 0.99 * rules.SHRUNK, 0.1, []),
    ],
)
def test_kernels_that_it_has_shrunk(first, size, data, expected):
    made = recording([first, *[0.1] * 10], data)
    _ = add(made, q.EPOCH_WEIGHT_RMS, [1.0, *[size] * 10], PATH)
    # One without a regularizer does not count.
    _ = add(made, q.EPOCH_WEIGHT_RMS, [1.0] * 11, "m/b/kernel")
    assert found("penalty_dominates", made) == expected


def test_models_without_penalties():
    made = recording([0.0] * 11, variables=[kernel(PATH)])
    assert found("penalty_dominates", made) == []


def with_dropout(rate, losses, kind="Dropout"):
    layers = [layer(kind, "m/dropout", rate=rate), layer("Dropout", rate=0.1)]
    return run([head()], [], [classes()], losses, layers=layers)


@pytest.mark.parametrize(
    ("rate", "losses", "kind", "owners"),
    [
        (rules.MOST_DROPPED, [2.3] * 10, "Dropout", ["m/dropout"]),
        (rules.MOST_DROPPED, [2.3] * 10, "SpatialDropout2D", ["m/dropout"]),
        (rules.MOST_DROPPED - 0.01, [2.3] * 10, "Dropout", []),
        # Wide layers tolerate it.
        (rules.MOST_DROPPED, [0.5] * 10, "Dropout", []),
        (rules.MOST_DROPPED, [2.3] * 10, "Mine", []),
    ],
)
def test_heavy_dropout(rate, losses, kind, owners):
    made = with_dropout(rate, losses, kind)
    rules_found = findings("heavy_dropout", made)
    assert [each.owner for each in rules_found] == owners


def test_shrunk_is_a_median_over_penalized_kernels():
    paths = ["m/a/kernel", "m/b/kernel", "m/c/kernel"]
    kernels = [kernel(path, regularizer="L2") for path in paths]
    made = recording([1.0] * 11, variables=kernels)
    for path, size in zip(paths, (0.1, 0.2, 0.9), strict=True):
        _ = add(made, q.EPOCH_WEIGHT_RMS, [1.0, size], path)
    assert rules._shrunk(training(made)) == pytest.approx(0.2)
