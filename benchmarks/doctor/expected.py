"""Which rules name the right cause of a kind of fault.

Several where a fix of either repairs the run, or where two names say the same.
The only place in this folder that spells names of rules.
"""

FLAT = {"no_progress", "constant_predictions", "class_collapse"}
UNSCALED = frozenset({"unscaled_input"})
RATE_TOO_HIGH = frozenset(
    {
        "exploding_gradient",
        "oscillating_loss",
        "update_ratio",
        "learning_rate",
        "rate_too_high",
        "non_finite",
        "dead_units",
        "saturated_units",
    }
)
RATE_TOO_SMALL = frozenset(
    {
        "untrained_variable",
        "update_ratio",
        "learning_rate",
        "rate_too_small",
        "no_progress",
    }
)
HEAD = frozenset({"head_loss_mismatch"})
HEAD_RANGE = frozenset({"head_loss_mismatch", "target_range", "target_scale"})
LABELS = frozenset({"label_range", "head_loss_mismatch", "labels"})
NON_FINITE = frozenset({"non_finite"})
DEAD = frozenset({"dead_units", "constant_predictions"})
SATURATED = frozenset({"saturated_units", "vanishing_gradient"})
VANISHING = frozenset(
    {"vanishing_gradient", "saturated_units", "constant_predictions"}
)
SYMMETRIC = frozenset({"symmetric_init"})
INITIAL = frozenset(
    {
        "loss_at_initialization",
        "initial_loss",
        "saturated_units",
        "exploding_gradient",
        "dead_units",
        "update_ratio",
    }
)
COLLAPSE = frozenset({"class_collapse", "constant_predictions", "imbalance"})
BATCH_NORM = frozenset({"batch_norm_shift"})
FROZEN = frozenset({"frozen_body", "untrained_variable"})
UNTRAINED = frozenset({"untrained_variable", "frozen_body"})
SORTED = frozenset({"sorted_labels", "unshuffled_labels"})
SHUFFLED = frozenset(
    {"shuffled_labels", "no_progress", "overfitting", "class_collapse"}
    | {"constant_predictions"}
)
MEMORY = frozenset({"short_memory", "no_progress", "vanishing_gradient"})
MASK = frozenset({"lost_mask", "short_memory", "padding", "no_progress"})
BROADCAST = frozenset({"broadcast_targets", "head_loss_mismatch", "shapes"})
OVERFITTING = frozenset({"overfitting"})
PENALTY = frozenset({"penalty_dominates"})
DROPOUT = frozenset({"excessive_dropout", "dead_units", "no_progress"})
EXPLODING = frozenset({"exploding_gradient", "non_finite", "oscillating_loss"})
TARGET_SCALE = frozenset({"target_scale"})
LINEAR = frozenset({"no_progress", "linear_network", "missing_activation"})
OVERLAP = frozenset({"validation_overlap", "overlap"})
METRIC = frozenset({"misleading_metric", "accuracy_without_loss"})
DEGENERATE = frozenset({"degenerate_target"})
CONSTANT_INPUT = frozenset(
    {"constant_input", "unscaled_input", "constant_predictions"}
)
WRONG_LOSS = frozenset(
    {"exploding_gradient", "head_loss_mismatch", "no_progress", "loss_sign"}
    | {"loss_unbounded", "non_finite", "constant_predictions"}
)
WEIGHTS = frozenset({"class_collapse", "constant_predictions", "class_weight"})
