"""Reads the first format of recordings, whose rows held less."""

import itertools
from collections.abc import Iterator
from typing import Any

from keras_concepts import quantities as q
from keras_concepts._recording.file import DAMAGE, Entries

_INDEXED_BY_VALUE = {
    "dead_unit",
    q.SATURATED_UNIT,
    q.SATURATED_GATE_UNIT,
}
_INDEXED_BY_ORDER = {
    q.MEAN_SHIFT,
    q.LOG_VARIANCE_RATIO,
    q.STATE_ERROR_RMS,
    q.HIDDEN_ERROR_RMS,
}
# Quantities that only one monitor records, by name.
_SHARED = {"loss", "units", "dead_units", "dead_unit"}
_MONITORS = {
    str(quantity): concept.monitor
    for concept in q.CONCEPTS
    for quantity in concept.quantities
    if quantity not in _SHARED and quantity != q.BATCH_LOSS
}
_LOSSES = {
    "GradientMonitor": q.BATCH_LOSS,
    "NonFiniteGuard": q.BATCH_LOSS,
    "PenaltyReporter": q.EPOCH_LOSS,
    "SignalMonitor": q.PROBE_LOSS,
}
_UNITS = {
    ("GradientMonitor", "dead_units"): q.ZERO_GRADIENT_UNITS,
    ("GradientMonitor", "dead_unit"): q.ZERO_GRADIENT_UNIT,
    ("SignalMonitor", "dead_units"): q.ZERO_ACTIVATION_UNITS,
    ("SignalMonitor", "dead_unit"): q.ZERO_ACTIVATION_UNIT,
}


def upgraded(
    entries: Entries, found: Iterator[dict[str, Any]] | None = None
) -> Iterator[dict[str, Any]]:
    """Converts entries of format 1 to those of later formats.

    Format 1 did not record who wrote a row. Where several monitors wrote the
    same name, the neighbouring rows show which one it was: each monitor wrote
    its rows in one go.

    Args:
        entries: Entries of a file.
        found: The entries to look at, by default all.

    Raises:
        ValueError: An entry is not what it should be.
    """
    run, version, monitor = -1, 0, ""
    has_rows = True  # since the last header
    start: int | None = None  # step of the first signals of a run
    found = iter(entries) if found is None else found
    for entry, after in itertools.pairwise(itertools.chain(found, [{}])):
        try:
            if "format" in entry:
                version, monitor, start = entry["version"], "", None
                # All monitors of a run wrote their headers before its first
                # row.
                run = run + has_rows if version == 1 else entry["run"]
                has_rows = False
                yield entry | {"run": run}
                if version == 1:
                    facts = {"run": run, "facts": entry["metadata"]}
                    yield facts | {"line": entry["line"]}
                continue
            has_rows = True
            if version != 1:
                yield entry
                continue
            following = str(after.get("quantity"))
            monitor = _monitor(entry["quantity"], following, monitor)
            new = _entry(entry, run, monitor)
            if monitor == "SignalMonitor" and entry["steps"]:
                start = entry["steps"][0] if start is None else start
                # Measured before the first epoch, not after it.
                if entry["steps"][0] == start:
                    new["epoch"] = -1
            yield new
        except DAMAGE as error:
            raise entries.damage(entry["line"]) from error


def _monitor(quantity: str, following: str, before: str) -> str:
    if quantity in _MONITORS:
        return _MONITORS[quantity]
    if quantity != "loss":
        return before
    return _MONITORS.get(following, "SignalMonitor")


def _entry(entry: dict[str, Any], run: int, monitor: str) -> dict[str, Any]:
    quantity, values = entry["quantity"], entry["values"]
    index = None
    if quantity in _INDEXED_BY_VALUE:
        index, values = [int(value) for value in values], [1.0] * len(values)
    elif quantity in _INDEXED_BY_ORDER:
        index = list(range(len(values)))
    return {
        "line": entry["line"],
        "run": run,
        "monitor": monitor,
        "epoch": entry["epoch"],
        "owner": entry["layer"],
        "quantity": _quantity(quantity, entry["layer"], monitor),
        "steps": entry["steps"],
        "index": index,
        "values": values,
    }


def _quantity(name: str, owner: str, monitor: str) -> str:
    if name == "loss":
        return _LOSSES[monitor]
    if name == "penalty" and owner:
        return q.OTHER_PENALTY
    name = _UNITS.get((monitor, name), name)
    return name if name in q.QUANTITIES else q.USER_PREFIX + name
