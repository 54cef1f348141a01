"""What causes what: findings that share a cause are one problem."""

import functools
from collections.abc import Sequence

from keras_concepts.rules.finding import Finding

# From a cause to its direct effects. The name is `rule:variant` if a rule finds
# opposite things.
_STUCK = (
    "constant_predictions",
    "class_collapse",
    "no_progress",
    "metric_disagrees",
)
EFFECTS: dict[str, tuple[str, ...]] = {
    "unscaled_input": (
        "initial_loss",
        "saturated_units",
        "dead_units",
        "exploding_gradient",
        "update_ratio:high",
        "update_ratio:low",
        "batch_norm_shift",
        *_STUCK,
    ),
    "constant_input": (
        "untrained_variable",
        "dead_units",
        "saturated_units",
        "vanishing_gradient",
        *_STUCK,
    ),
    "class_weights": _STUCK,
    "linear_network": _STUCK,
    "unscaled_target": (
        "initial_loss",
        "exploding_gradient",
        "update_ratio:high",
        "update_ratio:low",
        "dead_units",
        *_STUCK,
    ),
    "label_mismatch": ("initial_loss", "non_finite", *_STUCK),
    "id_out_of_range": ("non_finite", *_STUCK),
    "degenerate_target": _STUCK,
    "head_loss_mismatch": (
        "initial_loss",
        "exploding_gradient",
        "vanishing_gradient",
        "dead_units",
        "untrained_variable",
        "non_finite",
        *_STUCK,
    ),
    "sorted_labels": ("oscillating_loss", "overfitting", *_STUCK),
    "validation_overlap": (),
    "copied_labels": (),
    "symmetric_init": ("untrained_variable", "vanishing_gradient", *_STUCK),
    "frozen_body": ("untrained_variable", "update_ratio:low", *_STUCK),
    "initial_loss": ("exploding_gradient", "saturated_units"),
    "update_ratio:high": (
        "exploding_gradient",
        "dead_units",
        "saturated_units",
        "oscillating_loss",
    ),
    "exploding_gradient": (
        "non_finite",
        "dead_units",
        "saturated_units",
        "oscillating_loss",
        *_STUCK,
    ),
    "oscillating_loss": ("no_progress",),
    "penalty_dominates": (
        "dead_units",
        "vanishing_gradient",
        "untrained_variable",
        *_STUCK,
    ),
    "heavy_dropout": ("dead_units", *_STUCK),
    "dead_units": ("vanishing_gradient", "untrained_variable", *_STUCK),
    "saturated_units": ("vanishing_gradient", "untrained_variable", *_STUCK),
    "vanishing_gradient": ("untrained_variable", "update_ratio:low", *_STUCK),
    "untrained_variable": ("update_ratio:low", *_STUCK),
    "update_ratio:low": _STUCK,
    "lost_mask": (
        "short_memory",
        "vanishing_gradient",
        "overfitting",
        *_STUCK,
    ),
    "no_positions": ("short_memory", "overfitting", *_STUCK),
    "short_memory": ("vanishing_gradient", "no_progress"),
    "batch_norm_shift": ("overfitting",),
    "non_finite:data": ("non_finite", *_STUCK),
    "non_finite": _STUCK,
    "constant_predictions": ("class_collapse", "no_progress"),
    "class_collapse": ("no_progress", "metric_disagrees"),
    "overfitting": (),
    "metric_disagrees": (),
    "no_progress": (),
}


def node(finding: Finding) -> str:
    """The node of a finding in the graph."""
    if finding.variant and f"{finding.rule}:{finding.variant}" in EFFECTS:
        return f"{finding.rule}:{finding.variant}"
    return finding.rule


@functools.cache
def reached(cause: str) -> frozenset[str]:
    """Everything that a cause can lead to, directly or indirectly."""
    found: set[str] = set()
    ahead = list(EFFECTS.get(cause, ()))
    while ahead:
        effect = ahead.pop()
        if effect not in found:
            found.add(effect)
            ahead += EFFECTS.get(effect, ())
    return frozenset(found)


def cause_of(finding: Finding, others: Sequence[Finding]) -> Finding | None:
    """The finding that best explains another, or `None`.

    If there are several, it is the nearest: none of the others follows from it.

    Args:
        finding: The finding to explain.
        others: Other findings of the run, possibly including this one.
    """
    place = node(finding)
    causes = [
        other
        for other in others
        if other is not finding
        and place in reached(node(other))
        and _may_explain(other, finding)
    ]
    nearest = [
        cause
        for cause in causes
        if not any(node(other) in reached(node(cause)) for other in causes)
    ]
    return min(nearest, key=lambda each: each.since[1], default=None)


def _may_explain(cause: Finding, finding: Finding) -> bool:
    """Whether the cause was present, and still held, when it was noticed."""
    if cause.severity == "info":
        return False
    if cause.resolved is None:
        return True
    return cause.resolved[1] > finding.noticed[1]
