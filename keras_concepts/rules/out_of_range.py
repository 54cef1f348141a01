"""Ids that an embedding has no row for, and labels out of range."""

import re
from collections.abc import Iterator
from typing import Any

from keras_concepts.recording import Recording
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.labels import has_labels_out_of_range
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Training

# A line of code that numbers the ids from 0, whatever they are.
_NUMBERED = "x = np.unique(x, return_inverse=True)[1].reshape(x.shape)"
# Name of an input that was passed in a list, or alone.
_BY_PLACE = r"input(_\d+)*"


@rule(
    "id_out_of_range",
    severity="error",
    why="An embedding has no row for such an id. Depending on the backend and "
    "the device, it raises an error, ends the process, or returns NaN or the "
    "row of another id.",
    page="doctor.md#id_out_of_range",
    needs="the inputs",
    known=lambda t: bool(t.inputs),
    meant=lambda t: any(_vocabulary(layer) for layer in t.layers),
)
def id_out_of_range(t: Training) -> Iterator[Evidence]:
    """An embedding is given ids below 0, or ids that it has no row for.

    Looked for where the embedding is the first layer of an input. Certain, so
    reported at once. Known false alarm: ids of -1 that are meant to be the last
    row, which PyTorch and JAX accept; guard: none.
    """
    for layer in t.layers:
        rows = _vocabulary(layer)
        for entry in _read_by(layer, t) if rows else []:
            low, high = entry["min"], entry["max"]
            if low is None or (low >= 0 and high < rows):
                continue
            yield Evidence(
                owner=layer["path"],
                since=(0, 0),
                measured=(
                    Measured("smallest id", low),
                    Measured("largest id", high),
                    Measured("the embedding expects", f"0 to {rows - 1}"),
                ),
                advice="Give the embedding a row for each id, the largest "
                "included."
                if low >= 0
                else "Number the ids from 0.",
                code=f"keras.layers.Embedding({int(high) + 1}, units)"
                if low >= 0
                else _NUMBERED,
                part=entry["name"],
            )


def _vocabulary(layer: dict[str, Any]) -> int:
    """Number of ids that a layer has rows for, if it is an embedding."""
    rows = layer.get("input_dim")
    return rows if rows and "Embedding" in layer["class"] else 0


def _read_by(layer: dict[str, Any], t: Training) -> list[dict[str, Any]]:
    """The facts of the inputs that a layer reads directly."""
    inputs = t.facts.get("input_layers") or []
    read = [path for path in layer.get("inputs") or [] if path in inputs]
    by_name = {entry["name"]: entry for entry in t.inputs}
    names = [path.rsplit("/", 1)[-1] for path in read]
    if all(name in by_name for name in names):
        return [by_name[name] for name in names]
    is_ordered = all(re.fullmatch(_BY_PLACE, name) for name in by_name)
    if not is_ordered or len(inputs) != len(t.inputs):
        return []
    return [t.inputs[inputs.index(path)] for path in read]


def has_numbers_out_of_range(recording: Recording) -> bool:
    """Whether recorded data hold ids without a row, or labels out of range.

    On a GPU, PyTorch cannot go on after a lookup of such a number: the process
    must be started again.
    """
    t = Training.of(recording)
    return has_labels_out_of_range(t) or any(True for _ in id_out_of_range(t))
