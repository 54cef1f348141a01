"""The facts of a run, as tables of a page."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.names import printable
from keras_concepts.reports.html.chart import shown
from keras_concepts.rules import Training

_LONGEST = 200
_MOST_SHARES = 20
Facts = dict[str, str]

_RUN = {
    "model": "model",
    "parameters": "parameters",
    "backend": "backend",
    "dtype_policy": "dtype policy",
    "epochs": "epochs planned",
    "steps_per_epoch": "steps per epoch",
    "batch_size": "batch size",
    "loss": "loss",
    "loss_weights": "loss weights",
    "metrics": "metrics",
    "jit_compile": "compiled by XLA",
    "run_eagerly": "run eagerly",
    "steps_per_execution": "steps per execution",
    "own_step": "the model's own methods",
}
_FIT = {
    "shuffle": "shuffled",
    "class_weight": "class weights",
    "sample_weight": "sample weights",
    "validation_split": "validation split",
}
_INPUT = {
    "shape": "shape",
    "dtype": "dtype",
    "mean": "mean",
    "std": "standard deviation",
    "min": "smallest",
    "max": "largest",
    "non_finite": "not finite",
    "constant_features": "constant features",
    "padding": "share of padding",
    "repeated_rows": "share of repeated rows",
}
_TARGET = {
    "shape": "shape",
    "dtype": "dtype",
    "form": "form",
    "mean": "mean",
    "std": "standard deviation",
    "min": "smallest",
    "max": "largest",
    "non_finite": "not finite",
    "distinct": "distinct values",
    "shares": "shares of the classes",
    "constant_loss": "loss of the best constant",
}


def fact_tables(t: Training) -> dict[str, Facts]:
    """Names and values of all known facts, by what they describe.

    Args:
        t: The run.
    """
    tables = {
        "Run": _of(t.facts, _RUN) | _of(t.fit, _FIT),
        "Optimizer": optimizer_facts(t.facts),
        "Versions": {
            printable(str(name)): _text(version)
            for name, version in _mapping(t.facts.get("versions")).items()
        },
        **dict(_data_tables(t)),
    }
    return {title: facts for title, facts in tables.items() if facts}


def optimizer_facts(facts: Mapping[str, Any]) -> Facts:
    """Class and arguments of the optimizer, without unset ones.

    Args:
        facts: Facts of a run.
    """
    optimizer = _mapping(facts.get("optimizer"))
    config = _mapping(optimizer.get("config"))
    set_ones = {
        printable(str(key)).replace("_", " "): _text(value)
        for key, value in config.items()
        if key != "name" and value not in (None, False)
    }
    name = optimizer.get("class")
    return ({"class": _text(name)} if name else {}) | set_ones


def runs_of(recording: Recording) -> int:
    """The number of runs with rows in a recording."""
    return len({series.run for series in recording})


def _data_tables(t: Training) -> Iterator[tuple[str, Facts]]:
    data = _mapping(t.facts.get("data"))
    for number, each in enumerate(data.get("inputs") or (), start=1):
        name = printable(str(each.get("name") or number))
        yield f"Input “{name}”", _of(each, _INPUT)
    for number, each in enumerate(data.get("targets") or (), start=1):
        name = printable(str(each.get("output") or ""))
        title = f"Target of “{name}”" if name else f"Target {number}"
        yield title, _of(each, _TARGET)
    validation = _mapping(data.get("validation"))
    rows = {
        "training rows": data.get("of"),
        "training rows examined": data.get("rows"),
        "validation rows": validation.get("rows"),
        "share of validation rows that are training rows, too": validation.get(
            "overlap"
        ),
    }
    facts = {k: _text(v) for k, v in rows.items() if v is not None}
    yield "Rows", facts


def _of(facts: Mapping[str, Any], names: Mapping[str, str]) -> Facts:
    return {
        name: _text(facts[key])
        for key, name in names.items()
        if facts.get(key) not in (None, [], {}, "")
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    """Any fact in one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return shown(float(value))
    if isinstance(value, Mapping) and "class" in value:
        return _text(value["class"])
    if isinstance(value, list | tuple):
        kept = [_text(each) for each in value[:_MOST_SHARES]]
        more = len(value) - len(kept)
        text = ", ".join(kept) + (f" and {more} more" if more else "")
    elif isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, default=str, ensure_ascii=False)
    text = printable(text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
