import pytest

from keras_concepts.rules import start
from rule_facts import STUCK, classes, findings, found, head, kernel, run


def recording(before=2.3, after=2.3, **facts):
    batch = {"before": before, "after": after, "steps": 40, "rows": 16}
    facts = {"checks": {"batch": batch}, "is_preflight": True} | facts
    return run([head()], [], [classes()], **facts)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (2.3, 2.3, ["batch"]),
        (2.3, 2.3 * (1.0 - 0.99 * start.LEARNED), ["batch"]),
        (2.3, 2.3 * (1.0 - 1.01 * start.LEARNED), []),
        (2.3, float("nan"), ["batch"]),
        (2.3, 9.0, ["batch"]),
        # Losses may be below 0.
        (-1.0, -1.0, []),
        # One that knows the batch already.
        (0.99 * start.KNOWN * 2.3026, 0.99 * start.KNOWN * 2.3026, []),
        (1.01 * start.KNOWN * 2.3026, 1.01 * start.KNOWN * 2.3026, ["batch"]),
    ],
)
def test_batch_not_learned(before, after, expected):
    assert found("no_progress", recording(before, after)) == expected


@pytest.mark.parametrize(
    "facts",
    [
        {"is_preflight": False},
        {"checks": {}},
        {"checks": {"batch": None}},
        {"own_step": ["train_step"]},
    ],
)
def test_where_nothing_was_tried(facts):
    assert found("no_progress", recording(**facts)) == []


VARIABLES = [
    kernel("m/a/kernel"),
    kernel("m/a/bias", role="vector"),
    kernel("m/b/kernel"),
    kernel("m/b/bias", role="vector"),
]


@pytest.mark.parametrize(
    ("still", "owners"),
    [
        ([], []),
        (["m/a/kernel"], ["m/a/kernel"]),
        # Such as the bias of an attention's keys, which cancels.
        (["m/a/bias"], []),
        (["m/a/kernel", "m/a/bias"], ["m/a/bias"]),
        (["m/a/kernel", "m/b/kernel"], ["m/b/kernel"]),
    ],
)
def test_no_gradient(still, owners):
    moved = {v["path"]: v["path"] not in still for v in VARIABLES}
    made = recording(variables=VARIABLES, checks={"moved": moved})
    rules = findings("untrained_variable", made)
    assert [each.owner for each in rules] == owners


def test_in_a_training_run_no_gradient_was_tried():
    moved = {v["path"]: False for v in VARIABLES}
    made = run(
        [head()],
        [],
        [classes()],
        STUCK,
        variables=VARIABLES,
        checks={"moved": moved},
    )
    assert found("untrained_variable", made) == []
