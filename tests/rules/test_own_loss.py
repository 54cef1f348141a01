import pytest

from rule_facts import (
    found,
    numbers,
    regression,
    run,
)

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
