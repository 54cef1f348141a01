"""What was the first non-finite value in a step, in words."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Finding, Measured

INPUTS = ("x", "y", "sample_weight")
_NO_LAYERS = " (the layers could not be checked; one of them may be the cause)"


@dataclasses.dataclass(frozen=True)
class Fault:
    """The first non-finite value in a step.

    Attributes:
        kind: `"input"`, `"activation"`, `"penalty"`, `"loss"`, `"gradient"` or
            `"weight"`.
        layer: Path of the layer or variable, name of an operation, `"x"`, `"y"`
            or `"sample_weight"`; `""` for the loss.
        count: Number of entries that were not finite.
        where: Description in words.
    """

    kind: str
    layer: str
    count: int
    where: str

    def to_finding(self, at: tuple[int, int] = (0, 0)) -> Finding:
        """The same as a finding of the doctor.

        Args:
            at: Epoch and step, from 0.
        """
        return Finding(
            rule="non_finite",
            severity="error",
            owner=self.layer,
            since=at,
            noticed=at,
            evidence=(
                Measured("first", self.where),
                Measured("NaN or infinite entries", self.count, 0),
            ),
            why="A single NaN makes the loss NaN, and then all weights.",
            advice=_ADVICE.get(self.kind, ""),
            code=_CODE.get(self.kind, ""),
            page="monitors/non_finite_guard.md",
            variant=self.kind,
        )


_ADVICE = {
    "input": "Remove these rows, or replace the missing values.",
    "activation": "Look for a division by 0, a logarithm or root of 0, or "
    "weights that have grown without bound there.",
    "penalty": "Check the weights that this regularizer is applied to.",
    "loss": "Compute a cross-entropy from logits, without an activation in the "
    "last layer, and look for labels that the loss cannot take.",
    "gradient": "Add a small number under roots and norms, whose slope at 0 is "
    "infinite, and clip the gradients.",
    "weight": "Lower the learning rate or clip the gradients.",
}
_CODE = {
    "input": "keep = np.isfinite(x).reshape(len(x), -1).all(axis=1); "
    "x, y = x[keep], y[keep]",
    "activation": "keras.ops.maximum(x, keras.config.epsilon())",
    "loss": "loss=keras.losses.CategoricalCrossentropy(from_logits=True)",
    "gradient": "keras.optimizers.Adam(1e-3, global_clipnorm=1.0)",
    "weight": "keras.optimizers.Adam(1e-4, global_clipnorm=1.0)",
}


def first_fault(
    details: Mapping[str, np.ndarray],
    *,
    loss_is_bad: bool,
    has_loss: bool,
    has_gradients: bool,
    saw_layers: bool,
    variables: Sequence[str],
    layers: Sequence[str],
) -> Fault | None:
    """The first fault, in the order in which a step computes.

    Args:
        details: Counts of entries that are not finite: `"inputs"`, `(3, 2)`,
            NaN and infinite; `"layers"`, `(2 * layers, 2)`, see
            `nonfinite_layers`; `"added_losses"` of each layer; `"penalties"`,
            `"before"`, `"gradients"` and `"after"` of each variable.
        loss_is_bad: Whether the loss is not finite.
        has_loss: Whether the loss is known.
        has_gradients: Whether a gradient is known.
        saw_layers: Whether the layers could be checked.
        variables: Names of the variables.
        layers: Names of the layers.
    """
    if details["before"].any():
        i = _first(details["before"])
        where = f"the weights {variables[i]}, already before this step"
        return _fault("weight", variables[i], details["before"][i], where)
    if details["inputs"].any():
        i = _first(details["inputs"].sum(axis=1))
        name = "the inputs x" if INPUTS[i] == "x" else INPUTS[i]
        where = f"{_entries(details['inputs'][i])} in {name}"
        return _fault("input", INPUTS[i], details["inputs"][i].sum(), where)
    if details["layers"][:, 0].any():
        return _activation(details["layers"], layers)
    if (loss_is_bad or not has_loss) and details["penalties"].any():
        name = variables[_first(details["penalties"])]
        where = f"the penalty from the regularizer of {name}"
        return _fault(q.PENALTY, name, 1, where)
    if (loss_is_bad or not has_loss) and details["added_losses"].any():
        name = layers[_first(details["added_losses"])]
        where = f"the activity penalty or added loss of {name}"
        where = f"{where}, although its outputs are finite"
        return _fault(q.PENALTY, name, 1, where)
    unseen = "" if saw_layers else _NO_LAYERS
    if loss_is_bad:
        where = unseen or ", although the outputs are finite"
        return _fault("loss", "", 1, f"the loss{where}")
    if details["gradients"].any():
        # Back-propagation reaches the last layer first.
        i = int(np.flatnonzero(details["gradients"])[-1])
        where = "although the loss is finite"
        if not has_loss:
            where = "where the loss is not known"
        where = f"the gradient of {variables[i]}, {where}{unseen}"
        return _fault("gradient", variables[i], details["gradients"][i], where)
    if details["after"].any():
        i = _first(details["after"])
        where = "although the gradient is finite"
        if not has_gradients:
            where = f"after this step, whose gradients are not known{unseen}"
        where = f"the weights {variables[i]}, {where}"
        return _fault("weight", variables[i], details["after"][i], where)
    return None  # only squares left the range of float32


def _activation(events: np.ndarray, layers: Sequence[str]) -> Fault:
    order = np.where(events[:, 0] > 0, events[:, 0], np.inf)
    i = int(np.argmin(order))
    name, count = layers[i // 2], events[i, 1]
    where = f"the input of {name}, made by the code before it"
    if i % 2:
        where = f"the output of {name}, although its inputs are finite"
    entries = "1 NaN or infinite entry"
    if count > 1:
        entries = f"{int(count)} NaN or infinite entries"
    return _fault("activation", name, count, f"{entries} in {where}")


def _fault(kind: str, layer: str, count: float, where: str) -> Fault:
    return Fault(str(kind), layer, int(count), where)


def _entries(amounts: np.ndarray) -> str:
    nan, infinite = amounts
    return f"{int(nan)} NaN and {int(infinite)} infinite"


def _first(found: np.ndarray) -> int:
    return int(np.flatnonzero(found)[0])
