import pytest

from keras_concepts.rules import labels
from rule_facts import (
    binary,
    classes,
    found,
    head,
    numbers,
    regression,
    run,
)


@pytest.mark.parametrize(
    ("given", "target", "variants"),
    [
        (head(), classes(), []),
        (head(), classes(min=1, max=10), ["range"]),  # counted from 1
        (head(units=11, shape=[None, 11]), classes(min=1, max=10), []),
        (head(), classes(min=-1), ["range"]),
        (head(), classes(form="real", max=0.9, min=0.0), ["fractions"]),
        # Of no row, nothing is known.
        (head(), classes(form="real", mean=None, min=None, max=None), []),
        (head(), classes(shape=[1]), []),
        (head(), classes(shape=[10], form="one_hot", max=1), ["form"]),
        (
            head(loss="CategoricalCrossentropy"),
            classes(shape=[10], form="one_hot", max=1),
            [],
        ),
        (head(loss="CategoricalCrossentropy"), classes(), ["form"]),
        (head(loss="CategoricalCrossentropy"), classes(shape=[1]), ["form"]),
        # Our own takes either.
        (head(loss="CrossEntropy"), classes(), []),
        (head(loss="mine", kind="other"), classes(max=99), []),
        # Class numbers of each pixel.
        (
            head(shape=[None, 8, 8, 10]),
            classes(shape=[8, 8]),
            [],
        ),
        (binary(), classes(form="binary", max=1), []),
        (
            binary(),
            classes(form="probabilities", max=1.0 + 0.5 * labels._TOLERANCE),
            [],
        ),
        (
            binary(),
            classes(form="real", max=1.0 + 2.0 * labels._TOLERANCE),
            ["range"],
        ),
        (binary(), classes(form="sparse", min=-1, max=1), ["range"]),
        (binary(), classes(max=2), ["range"]),
        (binary(loss="Hinge", from_logits=None), classes(min=-1, max=1), []),
        (regression(), numbers(), []),
        (regression(), numbers(shape=[]), []),  # Keras adds the axis
        (
            regression(units=3, shape=[None, 3]),
            numbers(shape=[1]),
            ["broadcast"],
        ),
        (regression(), numbers(shape=[12]), ["broadcast"]),
        (regression(shape=[None, 12, 1]), numbers(shape=[12]), []),
        (regression(shape=[None, 4]), numbers(shape=[3]), []),  # an error
    ],
)
def test_label_mismatch(given, target, variants):
    assert found("label_mismatch", run([given], [], [target])) == variants


def test_labels_that_the_loss_leaves_out():
    config = {"class": "SparseCategoricalCrossentropy", "config": {}}
    config["config"]["ignore_class"] = -1
    recording = run([head()], [], [classes(min=-1)], loss=config)
    assert found("label_mismatch", recording) == []
    config["config"]["ignore_class"] = 255
    recording = run([head()], [], [classes(max=255)], loss={"out": [config]})
    assert found("label_mismatch", recording) == []
    recording = run([head()], [], [classes(max=254)], loss=config)
    assert found("label_mismatch", recording) == ["range"]


def test_weighted_labels_need_harm():
    fit = {"sample_weight": True}
    targets = [classes(min=-1)]
    recording = run([head()], [], targets, [0.1] * 10, fit=fit)
    assert found("label_mismatch", recording) == []
    recording = run([head()], [], targets, [2.3] * 10, fit=fit)
    assert found("label_mismatch", recording) == ["range"]


ONE = {"distinct": 1, "shares": [0.0, 1.0], "std": 0.0}


@pytest.mark.parametrize(
    ("given", "target", "expected"),
    [
        (head(), classes(**ONE), [""]),
        (head(), classes(distinct=2, shares=[0.001, 0.999]), []),
        (binary(), classes(form="binary", **ONE | {"shares": [1.0]}), [""]),
        (
            binary(units=2),
            classes(form="multi_label", shares=[0.0, 1.0], distinct=2),
            [""],
        ),
        (
            binary(units=2),
            classes(form="multi_label", shares=[0.0, 0.9], distinct=2),
            [],
        ),
        (regression(), numbers(mean=3.0, std=0.0, max=3.0, distinct=1), [""]),
        (regression(), numbers(mean=3.0, std=1e-4, max=3.1, distinct=9), []),
        (regression(), numbers(mean=0.0, std=0.0, max=0.0, distinct=1), [""]),
        (
            regression(layer="model/residual"),
            numbers(mean=0.0, std=0.0, max=0.0, distinct=1),
            [],
        ),
        (
            regression(loss="mine", kind="other"),
            numbers(mean=3.0, std=0.0, distinct=1),
            [],
        ),
    ],
)
def test_degenerate_target(given, target, expected):
    recording = run([given], [], [target])
    assert found("degenerate_target", recording) == expected


@pytest.mark.parametrize(
    ("rows", "expected"), [(labels._ROWS - 1, []), (labels._ROWS, [""])]
)
def test_the_first_batches_may_be_of_one_class(rows, expected):
    recording = run([head()], [], [classes(**ONE)], rows=rows, source="batches")
    recording.facts["data"]["of"] = 60000
    assert found("degenerate_target", recording) == expected


def in_order(**changes):
    return classes(**{"sorted": 1.0, "classes_per_batch": 0.2} | changes)


@pytest.mark.parametrize(
    ("target", "source", "shuffle", "expected"),
    [
        (in_order(), "arrays", True, []),
        (in_order(), "arrays", False, [""]),
        (in_order(), "batches", None, [""]),
        (
            in_order(classes_per_batch=labels._PER_BATCH + 0.01),
            "batches",
            None,
            [],
        ),
        (in_order(classes_per_batch=labels._PER_BATCH), "batches", None, [""]),
        (in_order(sorted=labels._SORTED - 0.01), "batches", None, []),
        (in_order(sorted=labels._SORTED), "batches", None, [""]),
        (in_order(sorted=None), "batches", None, []),
    ],
)
def test_sorted_labels(target, source, shuffle, expected):
    recording = run(
        [head()], [], [target], source=source, fit={"shuffle": shuffle}
    )
    assert found("sorted_labels", recording) == expected


def test_labels_in_runs_need_harm():
    for share, losses, expected in (
        (labels._IN_RUNS, [0.1] * 10, []),
        (labels._IN_RUNS, [2.3] * 10, [""]),
        (labels._IN_RUNS - 0.01, [2.3] * 10, []),
    ):
        target = in_order(sorted=share, classes_per_batch=0.5)
        recording = run([head()], [], [target], losses, source="batches")
        assert found("sorted_labels", recording) == expected


def unseen(share):
    """Shares of 10 classes, the last two of which training does not have."""
    return [(1.0 - share) / 8] * 8 + [share / 2] * 2


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ([0.0] * 8 + [0.5, 0.5], ["validation"]),
        ([0.125] * 8, []),
        (unseen(labels._UNSEEN - 0.01), []),
        (unseen(labels._UNSEEN + 0.01), ["validation"]),
    ],
)
def test_a_split_of_sorted_rows(theirs, expected):
    validation = {
        "rows": 100,
        "overlap": 0.0,
        "repeated": 0.0,
        "targets": [{"output": "", "shares": theirs}],
    }
    target = in_order(shares=[0.125] * 8)
    recording = run(
        [head()],
        [],
        [target],
        fit={"validation_split": 0.2},
        validation=validation,
    )
    assert found("sorted_labels", recording) == expected
    recording = run([head()], [], [target], validation=validation)
    assert found("sorted_labels", recording) == []


@pytest.mark.parametrize(("rows", "expected"), [(49, []), (50, ["validation"])])
def test_a_split_into_few_rows_lacks_classes_by_chance(rows, expected):
    theirs = unseen(labels._UNSEEN + 0.01)
    assert sum(share > 0 for share in theirs) == 10
    validation = {"rows": rows, "targets": [{"output": "", "shares": theirs}]}
    recording = run(
        [head()],
        [],
        [in_order(shares=[0.125] * 8)],
        fit={"validation_split": 0.2},
        validation=validation,
    )
    assert found("sorted_labels", recording) == expected


def test_a_split_of_sorted_binary_labels():
    validation = {
        "rows": 100,
        "targets": [{"output": "", "shares": [1.0]}],
    }
    fit = {"validation_split": 0.2}
    for mine, expected in (
        (0.0, ["validation"]),
        (1.01 - labels._APART, []),
        (0.99 - labels._APART, ["validation"]),
    ):
        target = in_order(form="binary", shares=[mine])
        recording = run(
            [binary()], [], [target], fit=fit, validation=validation
        )
        assert found("sorted_labels", recording) == expected


other = regression(loss="mine", kind="other")


@pytest.mark.parametrize(
    ("given", "shape", "losses", "variants"),
    [
        (other, [], [1.0] * 10, ["broadcast"]),
        (other, [], [0.5] * 10, []),
        (other, [1], [1.0] * 10, []),
        (other | {"shape": [None, 12, 1]}, [12], [1.0] * 10, ["broadcast"]),
        (other | {"shape": [None, 12]}, [], [1.0] * 10, []),
        # Keras adds the axis.
        (regression(), [], [1.0] * 10, []),
        (other | {"loss": None}, [], [1.0] * 10, []),
    ],
)
def test_a_loss_of_your_own_that_broadcasts(given, shape, losses, variants):
    """`mean((y - prediction) ** 2)` of (n,) and (n, 1) compares all pairs."""
    args = [given], [], [numbers(shape=shape)], losses
    loss = {"class": "mine", "config": {}}
    for facts in (loss, {"out": [loss]}):
        assert found("label_mismatch", run(*args, loss=facts)) == variants
    # Of a function Keras makes the shapes equal before it calls it.
    assert found("label_mismatch", run(*args, loss="mine")) == []
