"""A table of the layers of a run, the worst first."""

from collections.abc import Callable, Mapping

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.reports.doctor.curves import Ratio, ratio_curve
from keras_concepts.reports.doctor.verdict import RANKS, Verdict
from keras_concepts.reports.drawing.blocks import distance_from_the_others
from keras_concepts.reports.drawing.names import layer_names, printable
from keras_concepts.reports.html.chart import Numbers, percent, shown
from keras_concepts.reports.html.gradients import gradients_of
from keras_concepts.rules import Training
from keras_concepts.rules.training import Curve

MOST_LAYERS = 200
_UPDATES = (
    Ratio("", q.UPDATE_RMS, q.WEIGHT_RMS),
    Ratio("", q.EPOCH_UPDATE_RMS, q.EPOCH_WEIGHT_RMS),
)


def layer_table(t: Training, verdict: Verdict) -> Numbers | None:
    """The last measurements of each layer, the worst first.

    First come the layers with findings, the worst ones first; then those with
    non-finite values; then those that differ most from the others, in sizes or
    in dead and saturated units.

    Args:
        t: The whole run.
        verdict: The verdict on the run.

    Returns:
        `None` if nothing was measured of any layer.
    """
    columns = {
        header: values for header, values in _columns(t).items() if values
    }
    measured = dict.fromkeys(
        layer for values in columns.values() for layer in values
    )
    # In the order of the model, followed by all others that were measured.
    layers = [path for path in t.layer if path in measured]
    layers += [path for path in measured if path not in t.layer]
    if not layers:
        return None
    findings = _findings(t, verdict)
    badness = _badness(layers, columns)
    ranks = {
        layer: min((RANKS.index(f) for f in found.values()), default=9)
        for layer, found in findings.items()
    }
    order = sorted(
        range(len(layers)),
        key=lambda i: (ranks.get(layers[i], 9), -badness[i]),
    )
    names = layer_names(layers)
    rows = []
    for i in order[:MOST_LAYERS]:
        layer = layers[i]
        facts = t.layer.get(layer) or {}
        rows.append(
            [
                names[i],
                printable(str(facts.get("class") or "–")),
                shown(float(facts["parameters"]))
                if "parameters" in facts
                else "–",
                ", ".join(findings.get(layer, {})) or "–",
                *(
                    _formatted(header, values.get(layer))
                    for header, values in columns.items()
                ),
            ]
        )
    note = ""
    if len(rows) < len(layers):
        note = f"The worst {len(rows)} of {len(layers)} layers are shown."
    header = ["layer", "class", "parameters", "found", *columns]
    return Numbers(header, rows, note)


def _columns(t: Training) -> dict[str, dict[str, float]]:
    """Last value of each layer, by header."""
    units = _last(t.curves(q.UNITS))

    def shares(quantity: q.Quantity) -> dict[str, float]:
        return {
            layer: count / units[layer]
            for layer, count in _last(t.curves(quantity)).items()
            if units.get(layer, 0.0) > 0.0
        }

    updates = next(
        (found for ratio in _UPDATES if (found := _ratios(t, ratio))), {}
    )
    return {
        "activation std": _last(t.curves(q.ACTIVATION_STD)),
        "error RMS": _last(t.curves(q.ERROR_RMS)),
        "error over last": _last(t.curves(q.ERROR_ATTENUATION)),
        "gradient RMS": _of_layers(t, gradients_of(t, every_variable=True)),
        "update / weight": updates,
        "dead": shares(q.ZERO_ACTIVATION_UNITS)
        or shares(q.ZERO_GRADIENT_UNITS),
        "saturated": shares(q.SATURATED_UNITS),
        "BN shift, σ": {
            layer: value
            for layer, value in _last(t.curves(q.BATCH_NORM_SHIFT)).items()
            if layer
        },
        "memory": _last(t.curves(q.MEMORY_HORIZON)),
    }


def _last(curves: Mapping[str, Curve]) -> dict[str, float]:
    return {
        owner: float(curve.values[np.argmax(curve.steps)])
        for owner, curve in curves.items()
    }


def _ratios(t: Training, ratio: Ratio) -> dict[str, float]:
    curves = {
        path: ratio_curve(ratio, path, t) for path in t.curves(ratio.above)
    }
    return _of_layers(t, {path: c for path, c in curves.items() if c})


def _of_layers(t: Training, curves: Mapping[str, Curve]) -> dict[str, float]:
    """By layer: the largest of its weights, else of its other variables.

    Args:
        t: The run.
        curves: Curves by variable.
    """
    facts = {each["path"]: each for each in t.variables}

    def weighs(path: str) -> tuple[bool, float]:
        known = facts.get(path, {})
        size = float(np.prod(known.get("shape") or [1]))
        return known.get("role") == q.WEIGHT, size

    found: dict[str, float] = {}
    for path in sorted(curves, key=weighs):
        layer = facts.get(path, {}).get("layer") or path.rpartition("/")[0]
        found[layer or path] = float(
            curves[path].values[np.argmax(curves[path].steps)]
        )
    return found


def _badness(
    layers: list[str], columns: Mapping[str, Mapping[str, float]]
) -> np.ndarray:
    def of(header: str) -> np.ndarray:
        values = columns.get(header, {})
        return np.array([values.get(layer, np.nan) for layer in layers])

    shares = of("dead"), of("saturated")
    bad = np.max(
        [
            distance_from_the_others(np.abs(of(header)), *shares)
            for header in ("error RMS", "gradient RMS", "activation std")
        ],
        axis=0,
    )
    bad += np.nan_to_num(of("BN shift, σ"))
    broken = [
        any(
            layer in values and not np.isfinite(values[layer])
            for values in columns.values()
        )
        for layer in layers
    ]
    return bad + 1e6 * np.array(broken)


def _findings(t: Training, verdict: Verdict) -> dict[str, dict[str, str]]:
    """By layer, the rules that found something there, and how bad it is."""
    of_variable = {each["path"]: each.get("layer") for each in t.variables}
    of_output = {head.get("output"): head.get("layer") for head in t.heads}
    found: dict[str, dict[str, str]] = {}
    for problem in verdict.problems:
        for finding in problem.findings:
            owner = finding.owner
            layer = of_variable.get(owner) or of_output.get(owner) or owner
            if finding.resolved is None and owner:
                found.setdefault(layer, {})[finding.rule] = finding.severity
    return found


_FORMATS: dict[str, Callable[[float], str]] = {
    "dead": percent,
    "saturated": percent,
}


def _formatted(header: str, value: float | None) -> str:
    if value is None:
        return "–"
    return _FORMATS.get(header, shown)(value)
