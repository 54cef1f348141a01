"""The rules that name the right cause of each kind of fault.

Several where a fix of either repairs the run, or where two names say the same;
`rule:variant` where a rule finds opposite things. This is the only file of the
folder that spells the names of the doctor's rules, but for `baselines.py`.
"""


def rules(*names: str) -> frozenset[str]:
    return frozenset(names)


UNSCALED = rules("unscaled_input")

CONSTANT_INPUT = rules("constant_input")
RATE_TOO_HIGH = rules(
    "update_ratio:high", "exploding_gradient", "oscillating_loss"
)
RATE_TOO_SMALL = rules("update_ratio:low", "untrained_variable")
EXPLODING = RATE_TOO_HIGH
HEAD = rules("head_loss_mismatch")
HEAD_RANGE = rules("head_loss_mismatch", "unscaled_target")
LABELS = rules("label_mismatch", "head_loss_mismatch")
QUANTITIES = LABELS | rules("unscaled_target")
BROADCAST = LABELS
NON_FINITE = rules("non_finite")
DEAD = rules("dead_units")
SATURATED = rules("saturated_units", "vanishing_gradient")
VANISHING = SATURATED
SYMMETRIC = rules("symmetric_init")
INITIAL = rules("initial_loss", "saturated_units", "exploding_gradient")
COLLAPSE = rules("class_collapse", "constant_predictions")
WEIGHTS = COLLAPSE | rules("class_weights")
BATCH_NORM = rules("batch_norm_shift")
FROZEN = rules("frozen_body", "untrained_variable")
UNTRAINED = FROZEN
SORTED = rules("sorted_labels")
# Nothing can be learned from the inputs, or the validation rows show it.
SHUFFLED = rules("no_progress", "overfitting", "shuffled_labels")
MEMORY = rules("short_memory", "vanishing_gradient")
MASK = rules("lost_mask", "short_memory")
OVERFITTING = rules("overfitting")
PENALTY = rules("penalty_dominates")
DROPOUT = rules("heavy_dropout")
TARGET_SCALE = rules("unscaled_target")
# The network is too weak, which no measurement distinguishes from a hard task.
WEAK = rules("linear_network", "no_progress", "constant_predictions")
WEAK |= rules("class_collapse")
POSITIONS = rules("no_positions")
OVERLAP = rules("validation_overlap")
METRIC = rules("metric_disagrees")
DEGENERATE = rules("degenerate_target")
# The model is shown what it is asked for.
LEAK = rules("copied_labels", "degenerate_target", "metric_disagrees")
WRONG_LOSS = rules("head_loss_mismatch", "metric_disagrees", "no_progress")
WRONG_LOSS |= RATE_TOO_HIGH
