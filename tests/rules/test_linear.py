"""A network without a nonlinearity."""

import pytest

from rule_facts import classes, entry, found, head, layer, run

STUCK, WELL = [2.2] * 10, [1.0, *[0.2] * 9]


def dense(path, kind="linear", name="Dense"):
    return {**layer(name, path), "kind": kind, "activation": kind}


def judged(*layers, losses=STUCK):
    layers = [layer("Functional", "m"), *layers, dense("head", "softmax")]
    given = {**head(), "layer": "head"}
    made = run([given], [entry()], [classes()], losses, layers=layers)
    return found("linear_network", made)


def test_two_linear_layers():
    assert judged(dense("a"), dense("b")) == [""]


@pytest.mark.parametrize(
    "layers",
    [
        [],  # a head alone is meant to be linear
        [dense("a", "rectified"), dense("b")],
        [dense("a"), layer("LSTM", "b")],
        [dense("a"), layer("TheirLayer", "b")],
        [dense("a"), dense("b", "bounded", "Activation")],
    ],
)
def test_others_are_not(layers):
    assert judged(*layers) == []


def test_without_harm():
    assert judged(dense("a"), dense("b"), losses=WELL) == []
