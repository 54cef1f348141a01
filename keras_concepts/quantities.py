"""The vocabulary: everything that a recording can hold, once each.

One name has one meaning. Tables, axes, tags and documentation take their words
from here, and a `Recording` accepts no other name, except names that begin with
`user/`, for measurements of your own.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

Owner = Literal["run", "layer", "variable", "output", "input", "log"]
Cadence = Literal["step", "epoch", "probe", "once"]

USER_PREFIX = "user/"
# Followed by the name of a monitor: the fact that lists what it missed.
MISSED_BY = "missed by "

# What a variable does in its layer: its `role` in the facts of a run.
WEIGHT = "weight"  # a matrix, filters or an embedding: the signal goes through
SCORE = "score"  # of a query or key: it only compares positions
VECTOR = "vector"  # a bias or scale: it acts on each unit separately
STATISTIC = "statistic"  # a moving average or count: no gradient changes it


class Quantity(str):
    """Name of a measured quantity, and what it means.

    Equal to its name, so that it compares with the names in a recording.

    Args:
        name: The name, in lower case with underscores.
        owner: What it is measured of. The owner of a row is the path of a layer
            or variable; the name of an output, input or log entry; or `""` for
            the run.
        cadence: How often it is measured: once per measured `"step"`, once per
            `"epoch"`, at each pass of a `"probe"`, or `"once"` per run.
        label: Name on axes and in tables.
        meaning: One line, with the formula if there is one.
        indexed_by: What the index of a row counts: `"unit"`, `"channel"`,
            `"class"`, `"lag"`, or nothing (`""`).
        unit: Unit of the value; `""` for a pure number.
        better: `"lower"` or `"higher"`; `""` if neither is better.
        of_run: How a row of the run (`owner=""`) sums up those of the owners:
            `"sum"`, `"largest"`, or `""` if there is no such row.
    """

    owner: Owner
    cadence: Cadence
    label: str
    meaning: str
    indexed_by: str
    unit: str
    better: str
    of_run: str

    def __new__(
        cls,
        name: str,
        owner: Owner,
        cadence: Cadence,
        label: str,
        meaning: str,
        *,
        indexed_by: str = "",
        unit: str = "",
        better: str = "",
        of_run: str = "",
    ) -> Self:
        quantity = super().__new__(cls, name)
        quantity.owner = owner
        quantity.cadence = cadence
        quantity.label = label
        quantity.meaning = meaning
        quantity.indexed_by = indexed_by
        quantity.unit = unit
        quantity.better = better
        quantity.of_run = of_run
        return quantity

    def __reduce__(self) -> tuple[Any, ...]:
        return described, (str(self),)  # for copies and pickles


class Concept(NamedTuple):
    """What one monitor measures.

    Attributes:
        name: Name of the concept, and of its parts in `instruments` and
            `reports`.
        monitor: Class of the monitor, as rows name it.
        quantities: Quantities that it records.
        between_steps: Whether it measures between two steps, not inside one.
    """

    name: str
    monitor: str
    quantities: tuple[Quantity, ...]
    between_steps: bool = False


_LOSS_UNIT = "unit of the loss"

# Shared by several monitors.
BATCH_LOSS = Quantity(
    "batch_loss",
    "run",
    "step",
    "loss of the batch",
    "loss of the step's batch, penalties included; NaN if no metric named "
    "`loss` receives it",
    unit=_LOSS_UNIT,
    better="lower",
)
UNITS = Quantity(
    "units",
    "layer",
    "epoch",
    "units",
    "number of units: size of the axis of units or channels; in attention, of "
    "the axes of heads and of their entries together",
)

# `fit` itself.
LOG = Quantity(
    "log",
    "log",
    "epoch",
    "logged value",
    "what `fit` logs at the end of an epoch; the owner is the key. If a metric "
    "has several numbers, each has its own row, and the index counts them",
)
LEARNING_RATE = Quantity(
    "learning_rate",
    "run",
    "epoch",
    "learning rate",
    "learning rate of the optimizer at the end of the epoch",
)

# Gradients.
GRADIENT_NORM = Quantity(
    "gradient_norm",
    "run",
    "step",
    "gradient norm",
    "L2 norm of all gradients together",
)
APPLIED = Quantity(
    "applied",
    "run",
    "step",
    "applied",
    "1 if the step changed the weights; 0 for a micro-batch that was only "
    "accumulated, or a step that loss scaling skipped",
)
GRADIENT_RMS = Quantity(
    "gradient_rms",
    "variable",
    "step",
    "RMS gradient",
    "root mean square of the gradient's entries",
)
GRADIENT_MAX = Quantity(
    "gradient_max",
    "variable",
    "step",
    "largest gradient",
    "largest absolute entry of the gradient",
)
GRADIENT_NONFINITE = Quantity(
    "gradient_nonfinite",
    "variable",
    "step",
    "not finite",
    "number of NaN and infinite entries of the gradient",
    better="lower",
)
WEIGHT_RMS = Quantity(
    "weight_rms",
    "variable",
    "step",
    "RMS weight",
    "root mean square of the variable before the step",
)
UPDATE_RMS = Quantity(
    "update_rms",
    "variable",
    "step",
    "RMS update",
    "root mean square of the change that the step made to the variable",
)
ZERO_GRADIENT_UNITS = Quantity(
    "zero_gradient_units",
    "layer",
    "epoch",
    "dead units",
    "number of units whose gradient was exactly zero in every measured step of "
    "the epoch and, while these are fewer than 32, of those before it",
    better="lower",
)
ZERO_GRADIENT_UNIT = Quantity(
    "zero_gradient_unit",
    "layer",
    "epoch",
    "dead unit",
    "1 for each unit counted by `zero_gradient_units`; others have no row",
    indexed_by="unit",
)

# Activations and error signals.
PROBE_LOSS = Quantity(
    "probe_loss",
    "run",
    "probe",
    "loss of the probe",
    "loss of the probe batch, penalties included",
    unit=_LOSS_UNIT,
    better="lower",
)
ACTIVATION_MEAN = Quantity(
    "activation_mean", "layer", "probe", "mean", "mean of all entries"
)
ACTIVATION_STD = Quantity(
    "activation_std",
    "layer",
    "probe",
    "std",
    "standard deviation of all entries",
)
ACTIVATION_RMS = Quantity(
    "activation_rms",
    "layer",
    "probe",
    "RMS activation",
    "root mean square of all entries",
)
ZERO_SHARE = Quantity(
    "zero_share",
    "layer",
    "probe",
    "zeros",
    "share of entries that are exactly 0, from 0 to 1",
)
ZERO_ACTIVATION_UNITS = Quantity(
    "zero_activation_units",
    "layer",
    "probe",
    "dead",
    "number of units that are 0 in every sample",
    better="lower",
)
ZERO_ACTIVATION_UNIT = Quantity(
    "zero_activation_unit",
    "layer",
    "probe",
    "dead unit",
    "1 for each unit counted by `zero_activation_units`; others have no row",
    indexed_by="unit",
)
SATURATED_UNITS = Quantity(
    "saturated_units",
    "layer",
    "probe",
    "saturated",
    "number of units whose activation function is nearly flat for most samples",
    better="lower",
)
SATURATED_UNIT = Quantity(
    "saturated_unit",
    "layer",
    "probe",
    "saturated unit",
    "1 for each unit counted by `saturated_units`; others have no row",
    indexed_by="unit",
)
ERROR_RMS = Quantity(
    "error_rms",
    "layer",
    "probe",
    "RMS error",
    "root mean square of the error signal dL/da, over all outputs of the layer "
    "that lead to the loss",
)
ERROR_ATTENUATION = Quantity(
    "error_attenuation",
    "layer",
    "probe",
    "over last",
    "`error_rms` divided by that of the last layer",
)
STATE_ERROR_RMS = Quantity(
    "state_error_rms",
    "layer",
    "probe",
    "RMS gradient of the state",
    "root mean square of dL/dh_t; in an LSTM, of dL/dc_t",
    indexed_by="lag",
)
HIDDEN_ERROR_RMS = Quantity(
    "hidden_error_rms",
    "layer",
    "probe",
    "RMS gradient of the hidden state",
    "in an LSTM, root mean square of dL/dh_t",
    indexed_by="lag",
)
MEMORY_HORIZON = Quantity(
    "memory_horizon",
    "layer",
    "probe",
    "memory",
    "steps back that more than 1 % of the largest `state_error_rms` reaches",
    unit="steps",
)
FORGET_GATE_MEAN = Quantity(
    "forget_gate_mean",
    "layer",
    "probe",
    "gate",
    "mean of the forget gate of an LSTM, from 0 to 1; 1 keeps all",
)
UPDATE_GATE_MEAN = Quantity(
    "update_gate_mean",
    "layer",
    "probe",
    "gate",
    "mean of the update gate of a GRU, from 0 to 1; 1 keeps all",
)
SATURATED_GATE_UNITS = Quantity(
    "saturated_gate_units",
    "layer",
    "probe",
    "saturated gates",
    "number of units whose forget or update gate is saturated",
)
SATURATED_GATE_UNIT = Quantity(
    "saturated_gate_unit",
    "layer",
    "probe",
    "saturated gate",
    "1 for each unit counted by `saturated_gate_units`; others have no row",
    indexed_by="unit",
)

# The parts of the loss.
EPOCH_LOSS = Quantity(
    "epoch_loss",
    "run",
    "epoch",
    "loss",
    "mean loss of the measured steps, weighted by their batch sizes: the sum "
    "of `data_loss`, `penalty`, `added_loss` and `other_loss`",
    unit=_LOSS_UNIT,
    better="lower",
)
DATA_LOSS = Quantity(
    "data_loss",
    "output",
    "epoch",
    "data",
    "what the loss given to `compile` for the output adds, weighted",
    unit=_LOSS_UNIT,
    better="lower",
    of_run="sum",
)
PENALTY = Quantity(
    "penalty",
    "run",
    "epoch",
    "penalties",
    "what regularizers of weights and activities add",
    unit=_LOSS_UNIT,
)
ADDED_LOSS = Quantity(
    "added_loss",
    "layer",
    "epoch",
    "added",
    "what the layer adds by `add_loss`",
    unit=_LOSS_UNIT,
    of_run="sum",
)
OTHER_LOSS = Quantity(
    "other_loss",
    "run",
    "epoch",
    "other",
    "the rest of the loss; recorded only if it is more than rounding",
    unit=_LOSS_UNIT,
)
PENALTY_SHARE = Quantity(
    "penalty_share",
    "run",
    "epoch",
    "share of penalties",
    "size of `penalty` over those of the four parts, from 0 to 1",
)
ACTIVITY_PENALTY = Quantity(
    "activity_penalty",
    "layer",
    "epoch",
    "activity",
    "what the layer's activity regularizer adds",
    unit=_LOSS_UNIT,
)
L1 = Quantity(
    "l1",
    "variable",
    "epoch",
    "L1",
    "L1 term of the variable's regularizer",
    unit=_LOSS_UNIT,
)
L2 = Quantity(
    "l2",
    "variable",
    "epoch",
    "L2",
    "L2 term of the variable's regularizer",
    unit=_LOSS_UNIT,
)
GROUP_LASSO = Quantity(
    "group_lasso",
    "variable",
    "epoch",
    "group lasso",
    "group lasso term of the variable's regularizer",
    unit=_LOSS_UNIT,
)
OTHER_PENALTY = Quantity(
    "other_penalty",
    "variable",
    "epoch",
    "other",
    "what any other regularizer of the variable adds",
    unit=_LOSS_UNIT,
)
PENALTY_GRADIENT_NORM = Quantity(
    "penalty_gradient_norm",
    "variable",
    "epoch",
    "penalty gradient",
    "L2 norm of the regularizer's gradient, mean over the steps",
)
DATA_GRADIENT_NORM = Quantity(
    "data_gradient_norm",
    "variable",
    "epoch",
    "rest of gradient",
    "L2 norm of the rest of the gradient, mean over the steps",
)
DECAY_PULL = Quantity(
    "decay_pull",
    "variable",
    "epoch",
    "decay a step",
    "L2 norm of what weight decay subtracts in one update, mean over updates",
)

# Batch normalization.
MEAN_SHIFT = Quantity(
    "mean_shift",
    "layer",
    "epoch",
    "shift of the mean",
    "(moving mean - batch mean) / batch standard deviation, mean over steps",
    indexed_by="channel",
    unit="σ",
)
LOG_VARIANCE_RATIO = Quantity(
    "log_variance_ratio",
    "layer",
    "epoch",
    "log ratio of the variances",
    "log(moving variance / batch variance), mean over steps",
    indexed_by="channel",
)
BATCH_NORM_SHIFT = Quantity(
    "batch_norm_shift",
    "layer",
    "epoch",
    "shift",
    "median over the channels of abs(`mean_shift`); for the run, the largest "
    "of these and of all `batch_norm_variance` / log 2",
    unit="σ",
    better="lower",
    of_run="largest",
)
BATCH_NORM_VARIANCE = Quantity(
    "batch_norm_variance",
    "layer",
    "epoch",
    "variance",
    "median over the channels of abs(`log_variance_ratio`)",
    better="lower",
)
INITIAL_SHARE = Quantity(
    "initial_share",
    "layer",
    "epoch",
    "initial",
    "share of its initial value that a moving average still holds: "
    "momentum**k after k training batches",
    better="lower",
)
CALLS = Quantity(
    "calls",
    "layer",
    "epoch",
    "calls",
    "training batches in a step: 2 where a layer is called twice, 0 where it "
    "is never called in training mode",
)
FROZEN = Quantity(
    "frozen",
    "layer",
    "epoch",
    "frozen",
    "1 if the layer's `trainable` is False, else 0",
)
TRAINING_LOSS = Quantity(
    "training_loss",
    "run",
    "epoch",
    "loss with batch statistics",
    "loss of the probe, normalized by its own statistics, without dropout",
    unit=_LOSS_UNIT,
    better="lower",
)
INFERENCE_LOSS = Quantity(
    "inference_loss",
    "run",
    "epoch",
    "loss at inference",
    "loss of the probe, normalized by the moving statistics",
    unit=_LOSS_UNIT,
    better="lower",
)
INFERENCE_GAP = Quantity(
    "inference_gap",
    "run",
    "epoch",
    "gap",
    "`inference_loss` minus `training_loss`",
    unit=_LOSS_UNIT,
    better="lower",
)

# NaN and infinity.
CHECKED_STEPS = Quantity(
    "checked_steps",
    "run",
    "epoch",
    "steps checked",
    "how many steps of the epoch were checked",
)
SKIPPED_STEPS = Quantity(
    "skipped_steps",
    "run",
    "epoch",
    "skipped",
    "number of steps of the epoch that loss scaling skipped",
)
NON_FINITE_INPUT = Quantity(
    "non_finite_input",
    "input",
    "once",
    "input",
    "NaN and infinite entries of `x`, `y` or `sample_weight`, if they are "
    "the first",
)
NON_FINITE_ACTIVATION = Quantity(
    "non_finite_activation",
    "layer",
    "once",
    "activation",
    "NaN and infinite entries at a layer or operation, if they are the first",
)
NON_FINITE_PENALTY = Quantity(
    "non_finite_penalty",
    "layer",
    "once",
    "penalty",
    "1 if a regularizer or added loss was not finite, and all before it was; "
    "the owner is its layer or variable",
)
NON_FINITE_LOSS = Quantity(
    "non_finite_loss",
    "run",
    "once",
    "loss",
    "1 if the loss was not finite and all before it was",
)
NON_FINITE_GRADIENT = Quantity(
    "non_finite_gradient",
    "variable",
    "once",
    "gradient",
    "NaN and infinite entries of a gradient, if they are the first",
)
NON_FINITE_WEIGHT = Quantity(
    "non_finite_weight",
    "variable",
    "once",
    "weight",
    "NaN and infinite entries of a weight, if they are the first",
)
NON_FINITE_BATCH = Quantity(
    "non_finite_batch",
    "run",
    "once",
    "batch",
    "batch of its epoch in which the first NaN or infinity occurred, from 0",
)

# The doctor.
CHECKED = Quantity(
    "checked",
    "run",
    "step",
    "checked",
    "1 each time the doctor judged what had been recorded by then, 2 after "
    "the last step",
)
WEIGHT_PENALTY = Quantity(
    "weight_penalty",
    "run",
    "probe",
    "penalty of the weights",
    "what the regularizers of all trainable variables add to the loss",
    unit=_LOSS_UNIT,
)
PREDICTION_MEAN = Quantity(
    "prediction_mean",
    "output",
    "probe",
    "mean prediction",
    "mean of all entries of the prediction, at inference",
)
PREDICTION_STD = Quantity(
    "prediction_std",
    "output",
    "probe",
    "std of predictions",
    "standard deviation of all entries of the prediction",
)
PREDICTION_SPREAD = Quantity(
    "prediction_spread",
    "output",
    "probe",
    "spread of predictions",
    "root mean square over the units of the standard deviation over samples: 0 "
    "if every sample gets the same prediction",
)
PREDICTION_MIN = Quantity(
    "prediction_min",
    "output",
    "probe",
    "smallest prediction",
    "smallest entry of the prediction",
)
PREDICTION_MAX = Quantity(
    "prediction_max",
    "output",
    "probe",
    "largest prediction",
    "largest entry of the prediction",
)
PREDICTION_SUM_ERROR = Quantity(
    "prediction_sum_error",
    "output",
    "probe",
    "sum of predictions - 1",
    "largest distance from 1 of the sum over the last axis: 0 for a softmax",
)
PREDICTED_SHARE = Quantity(
    "predicted_share",
    "output",
    "probe",
    "share of predictions",
    "share of samples that are predicted as the class",
    indexed_by="class",
)
PROBE_ACCURACY = Quantity(
    "probe_accuracy",
    "output",
    "probe",
    "accuracy on the probe",
    "share of samples whose class is predicted",
    better="higher",
)
PROBE_BALANCED_ACCURACY = Quantity(
    "probe_balanced_accuracy",
    "output",
    "probe",
    "balanced accuracy on the probe",
    "mean over the classes of the share of their samples whose class is "
    "predicted",
    better="higher",
)
PROBE_RECALL = Quantity(
    "probe_recall",
    "output",
    "probe",
    "recall on the probe",
    "share of the samples of the class whose class is predicted",
    indexed_by="class",
    better="higher",
)
PROBE_CLASS_COUNT = Quantity(
    "probe_class_count",
    "output",
    "probe",
    "samples in the probe",
    "samples of the class in the probe",
    indexed_by="class",
)
PROBE_SEPARATION = Quantity(
    "probe_separation",
    "output",
    "probe",
    "separation on the probe",
    "mean over the classes of the share of their samples whose output is "
    "nearest to the mean output of the other samples of their class",
    better="higher",
)
PROBE_EXPLAINED = Quantity(
    "probe_explained",
    "output",
    "probe",
    "explained on the probe",
    "1 - mean squared difference of predictions and targets / variance of the "
    "targets: 0 for predictions of their mean, 1 for perfect ones",
    better="higher",
)
PROBE_RANK_CORRELATION = Quantity(
    "probe_rank_correlation",
    "output",
    "probe",
    "rank correlation on the probe",
    "Spearman's correlation of predictions and targets; for targets of two "
    "values 2 * area under the ROC curve - 1; mean over the units",
    better="higher",
)
ORDER_ERROR = Quantity(
    "order_error",
    "run",
    "once",
    "effect of order",
    "RMS change of the prediction when the steps of the inputs are reordered, "
    "apart from its own order, relative to its standard deviation: 0 if the "
    "model cannot distinguish orders",
)
PROBE_INFERENCE_LOSS = Quantity(
    "probe_inference_loss",
    "run",
    "probe",
    "inference loss of the probe",
    "loss of the probe at inference, penalties included",
    unit=_LOSS_UNIT,
    better="lower",
)
PROBE_ADDED_LOSS = Quantity(
    "probe_added_loss",
    "run",
    "probe",
    "loss that layers add",
    "what layers add to the loss of the probe at inference by `add_loss` and "
    "activity regularizers",
    unit=_LOSS_UNIT,
)
EPOCH_WEIGHT_RMS = Quantity(
    "epoch_weight_rms",
    "variable",
    "probe",
    "RMS weight",
    "root mean square of the variable",
)
EPOCH_UPDATE_RMS = Quantity(
    "epoch_update_rms",
    "variable",
    "probe",
    "RMS change",
    "root mean square of the variable's change since the last check",
)
DISTANCE_RMS = Quantity(
    "distance_rms",
    "variable",
    "probe",
    "distance from the start",
    "root mean square of the variable's change since the first check",
)
EQUAL_COLUMNS = Quantity(
    "equal_columns",
    "variable",
    "probe",
    "equal columns",
    "share of a kernel's units whose weights equal those of the first unit, "
    "from 0 to 1",
    better="lower",
)

FIT = "fit"
CONCEPTS = (
    Concept(FIT, FIT, (LOG, LEARNING_RATE), between_steps=True),
    Concept(
        "gradients",
        "GradientMonitor",
        (
            BATCH_LOSS,
            GRADIENT_NORM,
            APPLIED,
            GRADIENT_RMS,
            GRADIENT_MAX,
            GRADIENT_NONFINITE,
            WEIGHT_RMS,
            UPDATE_RMS,
            UNITS,
            ZERO_GRADIENT_UNITS,
            ZERO_GRADIENT_UNIT,
        ),
    ),
    Concept(
        "signals",
        "SignalMonitor",
        (
            PROBE_LOSS,
            ACTIVATION_MEAN,
            ACTIVATION_STD,
            ACTIVATION_RMS,
            ZERO_SHARE,
            UNITS,
            ZERO_ACTIVATION_UNITS,
            ZERO_ACTIVATION_UNIT,
            SATURATED_UNITS,
            SATURATED_UNIT,
            ERROR_RMS,
            ERROR_ATTENUATION,
            STATE_ERROR_RMS,
            HIDDEN_ERROR_RMS,
            MEMORY_HORIZON,
            FORGET_GATE_MEAN,
            UPDATE_GATE_MEAN,
            SATURATED_GATE_UNITS,
            SATURATED_GATE_UNIT,
        ),
        between_steps=True,
    ),
    Concept(
        "penalties",
        "PenaltyReporter",
        (
            EPOCH_LOSS,
            DATA_LOSS,
            PENALTY,
            ADDED_LOSS,
            OTHER_LOSS,
            PENALTY_SHARE,
            ACTIVITY_PENALTY,
            L1,
            L2,
            GROUP_LASSO,
            OTHER_PENALTY,
            PENALTY_GRADIENT_NORM,
            DATA_GRADIENT_NORM,
            DECAY_PULL,
        ),
    ),
    Concept(
        "batch_norm",
        "BatchNormShiftMonitor",
        (
            MEAN_SHIFT,
            LOG_VARIANCE_RATIO,
            BATCH_NORM_SHIFT,
            BATCH_NORM_VARIANCE,
            INITIAL_SHARE,
            CALLS,
            FROZEN,
            TRAINING_LOSS,
            INFERENCE_LOSS,
            INFERENCE_GAP,
        ),
    ),
    Concept(
        "non_finite",
        "NonFiniteGuard",
        (
            BATCH_LOSS,
            CHECKED_STEPS,
            SKIPPED_STEPS,
            NON_FINITE_INPUT,
            NON_FINITE_ACTIVATION,
            NON_FINITE_PENALTY,
            NON_FINITE_LOSS,
            NON_FINITE_GRADIENT,
            NON_FINITE_WEIGHT,
            NON_FINITE_BATCH,
        ),
    ),
    Concept(
        "doctor",
        "TrainingDoctor",
        (
            CHECKED,
            WEIGHT_PENALTY,
            PREDICTION_MEAN,
            PREDICTION_STD,
            PREDICTION_SPREAD,
            PREDICTION_MIN,
            PREDICTION_MAX,
            PREDICTION_SUM_ERROR,
            PREDICTED_SHARE,
            PROBE_ACCURACY,
            PROBE_BALANCED_ACCURACY,
            PROBE_RECALL,
            PROBE_CLASS_COUNT,
            PROBE_SEPARATION,
            PROBE_EXPLAINED,
            PROBE_RANK_CORRELATION,
            ORDER_ERROR,
            PROBE_INFERENCE_LOSS,
            PROBE_ADDED_LOSS,
            EPOCH_WEIGHT_RMS,
            EPOCH_UPDATE_RMS,
            DISTANCE_RMS,
            EQUAL_COLUMNS,
        ),
        between_steps=True,
    ),
)
QUANTITIES: Mapping[str, Quantity] = {
    str(quantity): quantity
    for concept in CONCEPTS
    for quantity in concept.quantities
}
# Names to which an earlier version gave several meanings, and their new names.
RENAMED: Mapping[str, tuple[Quantity, ...]] = {
    "loss": (BATCH_LOSS, PROBE_LOSS, EPOCH_LOSS),
    "dead_units": (ZERO_GRADIENT_UNITS, ZERO_ACTIVATION_UNITS),
    "dead_unit": (ZERO_GRADIENT_UNIT, ZERO_ACTIVATION_UNIT),
}


# Keys that monitors add to the logs of an epoch.
MONITOR_LOGS = frozenset(
    {
        "batch_norm_shift",
        "dead_units",
        "error_attenuation",
        "gradient_attenuation",
        "gradient_norm",
        "memory_horizon",
        "penalty",
        "penalty_share",
        "saturated_units",
        "update_ratio",
    }
)


def concept_of(monitor: str) -> Concept | None:
    """The concept that a monitor measures; `None` if it is not one of these.

    Args:
        monitor: Name as in rows; the second of a kind is `Monitor (2)`.
    """
    kind = monitor.split(" ")[0]
    return next((c for c in CONCEPTS if c.monitor == kind), None)


def is_known(name: str) -> bool:
    """Whether a quantity can be recorded under this name."""
    return name in QUANTITIES or name.startswith(USER_PREFIX)


def described(name: str) -> Quantity:
    """The quantity with this name.

    Raises:
        ValueError: There is none, and `name` does not begin with `user/`.
    """
    if name in QUANTITIES:
        return QUANTITIES[name]
    if name.startswith(USER_PREFIX):
        label = name.removeprefix(USER_PREFIX)
        return Quantity(name, "run", "step", label, "defined by the user")
    raise ValueError(
        f"`quantity` must be a name of `keras_concepts.quantities`, or begin "
        f"with {USER_PREFIX!r} for a measurement of your own. "
        f"Received: quantity={name!r}."
    )


def markdown_table(monitor: str) -> str:
    """What a monitor records, as a Markdown table."""
    concept = concept_of(monitor)
    lines = [
        "| quantity | owner | each | run | meaning |",
        "|---|---|---|---|---|",
    ]
    for each in () if concept is None else concept.quantities:
        of = each.owner + (f", by {each.indexed_by}" if each.indexed_by else "")
        cells = f"`{each}`", of, each.cadence, each.of_run, each.meaning
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
