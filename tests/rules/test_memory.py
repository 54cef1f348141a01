import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import memory
from rule_facts import (
    STUCK,
    WELL,
    add,
    classes,
    entry,
    findings,
    found,
    head,
    layer,
    run,
)

STEPS = 40


def recording(horizon, losses=STUCK, steps=STEPS, kind="LSTM"):
    layers = [layer("Functional", "m"), layer(kind, "m/lstm")]
    made = run([head()], [], [classes()], losses, layers=layers)
    _ = add(made, q.STATE_ERROR_RMS, [[1.0] * steps] * 11, "m/lstm")
    return add(made, q.MEMORY_HORIZON, [horizon] * 11, "m/lstm")


SHORT = memory.SHORT * STEPS


@pytest.mark.parametrize(
    ("horizon", "losses", "steps", "kind", "expected"),
    [
        (SHORT - 0.01, STUCK, STEPS, "LSTM", [""]),
        (SHORT - 0.01, STUCK, STEPS, "Dense", []),
        (SHORT, STUCK, STEPS, "LSTM", []),
        (SHORT - 0.01, WELL, STEPS, "LSTM", []),
        (0.0, STUCK, memory._LONG, "GRU", [""]),
        (0.0, STUCK, memory._LONG - 1, "SimpleRNN", []),
    ],
)
def test_short_memory(horizon, losses, steps, kind, expected):
    made = recording(horizon, losses, steps, kind)
    assert found("short_memory", made) == expected


def test_it_only_informs():
    (finding,) = findings("short_memory", recording(0.0))
    assert (finding.severity, finding.owner) == ("info", "m/lstm")
    assert finding.evidence[0].threshold == SHORT


def test_a_horizon_without_lags():
    made = run([head()], [], [classes()], STUCK, layers=[layer("LSTM")])
    _ = add(made, q.MEMORY_HORIZON, [0.0] * 11, "model/dense")
    assert found("short_memory", made) == []


MASK = {
    "problem": "no_mask",
    "layer": "m/embedding",
    "padding": 0.4,
    "advice": "Set `mask_zero=True`.",
}
PADDED = entry(integer=True, padding=0.4)


@pytest.mark.parametrize(
    ("masks", "losses", "owners"),
    [
        ([MASK], STUCK, ["m/embedding"]),
        # Padded texts are often learned anyway.
        ([MASK], WELL, []),
        ([], STUCK, []),
        (None, STUCK, []),
    ],
)
def test_lost_mask(masks, losses, owners):
    made = run([head()], [PADDED], [classes()], losses, masks=masks)
    rules = findings("lost_mask", made)
    assert [each.owner for each in rules] == owners


@pytest.mark.parametrize("more", [0, 1])
def test_a_quarter_of_the_epochs(more):
    ended = round(20 * memory._PATIENCE) - 1 + more
    args = [head()], [PADDED], [classes()], STUCK[:1] * ended
    made = run(*args, epochs=20, masks=[MASK])
    assert found("lost_mask", made) == [""] * more


def test_inputs_without_padding():
    made = run([head()], [entry()], [classes()], STUCK, masks=[MASK])
    assert found("lost_mask", made) == []


def test_the_remedy_of_a_mask():
    lost = MASK | {"problem": "lost", "layer": "m/flatten"}
    for masks, code in (([MASK, lost], True), ([lost, MASK], False)):
        made = run([head()], [PADDED], [classes()], STUCK, masks=masks)
        (finding,) = findings("lost_mask", made)
        assert ("mask_zero" in finding.code) == code
        assert finding.evidence[1].value == "2"


class TestNoPositions:
    @pytest.mark.parametrize(
        ("error", "losses", "expected"),
        [
            (memory._BLIND * 0.99, STUCK, [""]),
            (memory._BLIND, STUCK, []),
            (0.0, WELL, []),  # a bag is enough
        ],
    )
    def test_order_that_changes_nothing(self, error, losses, expected):
        layers = [layer("Functional", "m"), layer("MultiHeadAttention", "m/a")]
        made = run([head()], [], [classes()], losses, layers=layers)
        made.append(-1, "", q.ORDER_ERROR, 0, error)
        assert found("no_positions", made) == expected
