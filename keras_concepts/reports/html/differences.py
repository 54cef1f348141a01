"""What differs between training runs, and how they ended."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.reports.drawing.names import printable
from keras_concepts.reports.html.chart import Numbers, shown
from keras_concepts.reports.html.facts import fact_tables
from keras_concepts.rules import Training

_MOST_ROWS = 80
# Facts of a layer that distinguish it from others.
_OF_A_LAYER = ("class", "units", "filters", "rate", "activation", "trainable")


def results(trainings: Mapping[str, Training]) -> Numbers | None:
    """The last value of what `fit` logged, and for losses the smallest.

    Args:
        trainings: Runs by name.

    Returns:
        `None` if nothing was logged.
    """
    keys = dict.fromkeys(
        key for t in trainings.values() for key in t.curves(q.LOG)
    )
    rows = []
    for key in keys:
        curves = [t.logs(key) for t in trainings.values()]
        if any((curve.indices >= 0).any() for curve in curves):
            continue
        name = printable(key)
        rows.append(
            [
                f"{name}, last",
                *(shown(c.values[-1]) if c else "–" for c in curves),
            ]
        )
        if key.endswith("loss"):
            rows.append(
                [
                    f"{name}, smallest",
                    *(
                        shown(float(np.min(c.finite.values)))
                        if c.finite
                        else "–"
                        for c in curves
                    ),
                ]
            )
    if not rows:
        return None
    epochs = [str(t.ended_epochs) for t in trainings.values()]
    return Numbers(["logged", *trainings], [["epochs", *epochs], *rows])


def differences(trainings: Mapping[str, Training]) -> Numbers:
    """Facts that are not the same in all runs, one per row.

    Args:
        trainings: Runs by name.
    """
    facts = [dict(_facts(t)) for t in trainings.values()]
    keys = dict.fromkeys(key for each in facts for key in each)
    same = 0
    rows = []
    for key in keys:
        values = [each.get(key, "–") for each in facts]
        if len(set(values)) == 1:
            same += 1
        else:
            rows.append([key, *values])
    notes = []
    if len(rows) > _MOST_ROWS:
        notes.append(f"{_MOST_ROWS} of {len(rows)} differences are shown.")
    notes.append(f"{same} other facts are the same.")
    return Numbers(["fact", *trainings], rows[:_MOST_ROWS], " ".join(notes))


def _facts(t: Training) -> Iterator[tuple[str, str]]:
    for title, table in fact_tables(t).items():
        for name, value in table.items():
            yield f"{title}: {name}", value
    layers = [each for each in t.layers if each.get("class") != "InputLayer"]
    if layers:
        yield "Layers", str(len(layers))
    for number, layer in enumerate(layers, start=1):
        # By their position: names keep counting within a process.
        yield f"Layer {number}", printable(", ".join(_of_a_layer(layer)))


def _of_a_layer(layer: Mapping[str, Any]) -> Iterator[str]:
    for key in _OF_A_LAYER:
        value = layer.get(key)
        if key == "class":
            yield str(value)
        elif key == "trainable":
            if value is False:
                yield "frozen"
        elif value is not None:
            yield f"{key} {value}"
