import pytest

from keras_concepts.rules import label_order
from rule_facts import (
    binary,
    classes,
    findings,
    found,
    head,
    numbers,
    regression,
    run,
)

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
    ("rows", "expected"),
    [(label_order._ROWS - 1, []), (label_order._ROWS, [""])],
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
            in_order(classes_per_batch=label_order._PER_BATCH + 0.01),
            "batches",
            None,
            [],
        ),
        (
            in_order(classes_per_batch=label_order._PER_BATCH),
            "batches",
            None,
            [""],
        ),
        (in_order(sorted=label_order._SORTED - 0.01), "batches", None, []),
        (in_order(sorted=label_order._SORTED), "batches", None, [""]),
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
        (label_order._IN_RUNS, [0.1] * 10, []),
        (label_order._IN_RUNS, [2.3] * 10, [""]),
        (label_order._IN_RUNS - 0.01, [2.3] * 10, []),
    ):
        target = in_order(sorted=share, classes_per_batch=0.5)
        recording = run([head()], [], [target], losses, source="batches")
        assert found("sorted_labels", recording) == expected


def test_runs_of_a_series_need_harm():
    certain = int(label_order._RUNS_PER_CLASS * 10)
    for runs, losses, expected in (
        (10, [0.1] * 10, [""]),
        (certain, [0.1] * 10, [""]),
        (certain + 1, [0.1] * 10, []),
        (certain + 1, [], []),
        (certain + 1, [2.3] * 10, [""]),
    ):
        target = in_order(sorted=0.98, runs=runs)
        recording = run([head()], [], [target], losses, source="batches")
        assert found("sorted_labels", recording) == expected
    target = in_order(form="binary", shares=[0.5], runs=4)
    recording = run([binary()], [], [target], source="batches")
    assert found("sorted_labels", recording) == []


def unseen(share):
    """Shares of 10 classes, the last two of which training does not have."""
    return [(1.0 - share) / 8] * 8 + [share / 2] * 2


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ([0.0] * 8 + [0.5, 0.5], ["validation"]),
        ([0.125] * 8, []),
        (unseen(label_order._UNSEEN - 0.01), []),
        (unseen(label_order._UNSEEN + 0.01), ["validation"]),
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
    assert all(
        "split" in each.why for each in findings("sorted_labels", recording)
    )
    recording = run([head()], [], [target], validation=validation)
    assert found("sorted_labels", recording) == []


@pytest.mark.parametrize(("rows", "expected"), [(49, []), (50, ["validation"])])
def test_a_split_into_few_rows_lacks_classes_by_chance(rows, expected):
    theirs = unseen(label_order._UNSEEN + 0.01)
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
        (1.01 - label_order._APART, []),
        (0.99 - label_order._APART, ["validation"]),
    ):
        target = in_order(form="binary", shares=[mine])
        recording = run(
            [binary()], [], [target], fit=fit, validation=validation
        )
        assert found("sorted_labels", recording) == expected
