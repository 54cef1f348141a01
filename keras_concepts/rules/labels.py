"""Whether the labels are what the loss and the model take them for."""

from collections.abc import Iterator
from typing import Any

from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import harm
from keras_concepts.rules.heads import judged_heads
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Training

# What rounding may add to a label of 1. Source: float16.
_TOLERANCE = 1e-3
_SPARSE = ("SparseCategoricalCrossentropy",)
_ONE_HOT = ("CategoricalCrossentropy", "CategoricalFocalCrossentropy")
_BINARY = ("BinaryCrossentropy", "BinaryFocalCrossentropy")
# What Keras computes entry by entry, after it has stretched axes of length 1.
_ENTRY_BY_ENTRY = (
    "MeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
    "Huber",
    "LogCosh",
    "Poisson",
    "Hinge",
    "SquaredHinge",
)
# Rows from which a target that never changes is no chance of the first batch.
_ROWS = 256


@rule(
    "label_mismatch",
    severity="error",
    why="The labels are not in the form that the loss takes, so that it "
    "compares the predictions with something else.",
    page="doctor.md#label_mismatch",
    needs="the targets, and which loss each output has",
    known=lambda t: bool(t.targets) and bool(judged_heads(t)),
)
def label_mismatch(t: Training) -> Iterator[Evidence]:
    """Labels that an output or loss cannot take.

    | variant | what it is |
    |---|---|
    | `range` | class numbers below 0, or of no unit; binary labels not 0..1 |
    | `fractions` | class numbers that are not whole |
    | `form` | class numbers for a loss of one-hot rows, or the reverse |
    | `broadcast` | an axis of length 1 against a longer one, which Keras |
    | | stretches without a word: `(n, 1)` and `(n, k)`, `(n, t)` and `(n, 1)` |

    Certain, so at once. `(n,)` and `(n, 1)` are the same to Keras' losses.
    Thresholds: binary labels may be 0.001 beyond 0..1 (rounding).

    Known false alarms: labels that the loss leaves out (`ignore_class`; nothing
    is said where the label out of range is that one), or whose sample weight is
    0 (harm); losses of others, whose form nobody knows (nothing is said).
    """
    for head in judged_heads(t):
        target = t.targets.get(head["output"])
        if target is None:
            continue
        if t.fit.get("sample_weight") and not _is_harmed(t):
            continue
        for judge in (_form, _fractions, _range, _broadcast):
            found = judge(t, head, target)
            if found is not None:
                yield found
                break


@rule(
    "label_mismatch",
    severity="warning",
    why="A loss that compares every target with every prediction is least for "
    "a constant.",
    page="doctor.md#label_mismatch",
    needs="the targets",
    known=lambda t: bool(t.targets),
    meant=lambda t: bool(_own(t)),
)
def own_loss_broadcasts(t: Training) -> Iterator[Evidence]:
    """Targets `(n,)` against outputs `(n, 1)` in a loss class of one's own.

    Keras makes shapes equal for its own losses and for functions, not for a
    class derived from `keras.Loss` (variant `broadcast`). Only under harm.
    Known false alarm: a loss that minds its shapes itself; guard: harm.
    """
    for head in _own(t):
        found = _broadcast_by_own_loss(t, head)
        if found is not None:
            yield found


def _is_harmed(t: Training) -> bool:
    return t.is_preflight or harm(t, 0.3) is not None


def _form(
    t: Training, head: dict[str, Any], target: dict[str, Any]
) -> Evidence | None:
    """Class numbers, or one-hot rows."""
    units, shape = head.get("units"), target.get("shape")
    if not units or units < 2 or shape is None or not head["shape"]:
        return None
    missing = len(head["shape"]) - 1 - len(shape)  # axes
    is_wide = missing == 0 and shape[-1] == units
    is_narrow = missing == 1 or (missing == 0 and shape[-1] == 1)
    if head["loss"] in _SPARSE and is_wide:
        right, loss = "class numbers", "CategoricalCrossentropy"
    elif head["loss"] in _ONE_HOT and is_narrow:
        right, loss = "one-hot rows", "SparseCategoricalCrossentropy"
    else:
        return None
    return _evidence(
        head,
        "form",
        [
            Measured("shape of the targets", str(tuple(shape))),
            Measured("the loss takes", right),
        ],
        f"Use `{loss}`, or give the labels as {right}.",
        f"loss=keras.losses.{loss}(from_logits={head.get('from_logits')})",
    )


def _fractions(
    t: Training, head: dict[str, Any], target: dict[str, Any]
) -> Evidence | None:
    if head["loss"] not in _SPARSE or target["form"] not in (
        "real",
        "probabilities",
    ):
        return None
    if target["mean"] is None:  # no row, or NaN alone
        return None
    return _evidence(
        head,
        "fractions",
        [
            Measured("mean of the labels", target["mean"]),
            Measured("largest label", target["max"]),
            Measured("the loss takes", "whole numbers"),
        ],
        "Give each class a whole number; do not scale labels as inputs are.",
        'y = np.unique(y, return_inverse=True)[1].astype("int32")',
    )


def _range(
    t: Training, head: dict[str, Any], target: dict[str, Any]
) -> Evidence | None:
    low, high, units = target["min"], target["max"], head.get("units")
    if low is None or high is None:
        return None
    ignored = ignored_labels(t.facts.get("loss"))
    ignored |= ignored_labels(head)
    if head["loss"] in _SPARSE:
        if not units or (units < 2 and high <= 0):
            return None
        below = low < 0 and low not in ignored
        above = high >= units and high not in ignored
        if not below and not above:
            return None
        limit = f"0 to {units - 1}"
        advice = (
            f"Number the classes from 0, or give the last layer "
            f"{int(high) + 1} units."
            if above
            else "Number the classes from 0; leave padding out with "
            "`ignore_class`."
        )
        code = f"Dense({int(high) + 1})" if above else "y = y - y.min()"
    elif head["loss"] in (*_BINARY, *_ONE_HOT):
        if low >= -_TOLERANCE and high <= 1.0 + _TOLERANCE:
            return None
        limit = "0 to 1"
        advice = "Give labels of 0 and 1, or probabilities."
        code = "y = (y > 0).astype('float32')"
        classes = int(high) + 1
        # As many whole numbers as there are from 0 on.
        if (
            units == 1
            and low == 0
            and target["distinct"] == classes == high + 1
        ):
            advice = (
                "Give the last layer one unit per class, with a softmax and "
                "sparse categorical cross-entropy."
            )
            code = (
                f'Dense({classes}, activation="softmax"); '
                'loss="sparse_categorical_crossentropy"'
            )
        elif target["form"] == "real":
            advice = (
                "Scale the targets to 0..1, or use a loss for real numbers."
            )
            code = 'loss="mean_squared_error"'
    else:
        return None
    return _evidence(
        head,
        "range",
        [
            Measured("smallest label", low),
            Measured("largest label", high),
            Measured("the loss takes", limit),
        ],
        advice,
        code,
    )


def _broadcast(
    t: Training, head: dict[str, Any], target: dict[str, Any]
) -> Evidence | None:
    # Both without the axis of samples.
    shape, output = target.get("shape"), (head["shape"] or [])[1:]
    if shape is None:
        return None
    if head["loss"] not in _ENTRY_BY_ENTRY:
        return None
    if len(shape) != len(output):
        return None  # Keras drops or adds a last axis, or there is an error
    uneven = [
        (i, j)
        for i, j in zip(shape, output, strict=True)
        if i is not None and j is not None and i != j
    ]
    if not uneven or any(1 not in pair for pair in uneven):
        return None
    return _evidence(
        head,
        "broadcast",
        [
            Measured("shape of the targets", str(("n", *shape))),
            Measured("shape of the output", str(("n", *output))),
        ],
        "Give targets and output the same shape: each entry of one is compared "
        "with several of the other.",
        f"Dense({shape[-1]})" if shape else "y = y[:, None]",
    )


def _own(t: Training) -> list[dict[str, Any]]:
    """Heads with a loss of somebody's own."""
    if t.facts.get("own_step"):
        return []
    return [x for x in t.heads if x.get("kind") == "other" and x.get("loss")]


def _broadcast_by_own_loss(
    t: Training, head: dict[str, Any]
) -> Evidence | None:
    """A loss class that is not Keras' own: it alone can take care.

    Of a function Keras makes the shapes equal before it calls it.
    """
    shape = t.targets.get(head["output"], {}).get("shape")
    output = (head["shape"] or [])[1:]
    if head["loss"] not in classes_in(t.facts.get("loss")):
        return None
    if shape is None or [*shape, 1] != output or harm(t, 0.1) is None:
        return None
    return _evidence(
        head,
        "broadcast",
        [
            Measured("shape of the targets", str(("n", *shape))),
            Measured("shape of the output", str(("n", *output))),
        ],
        "Give targets and output one shape: a loss of your own that subtracts "
        "them compares every target with every output.",
        "y = y[:, None]",
    )


def ignored_labels(facts: Any) -> set[float]:
    """Every `ignore_class` in the facts of losses."""
    if isinstance(facts, dict):
        found = set().union(*map(ignored_labels, facts.values()))
        ignored = facts.get("ignore_class")
        return found | (
            {ignored} if isinstance(ignored, int | float) else set()
        )
    if isinstance(facts, list):
        return set().union(*map(ignored_labels, facts))
    return set()


def classes_in(facts: Any) -> set[str]:
    """Names of the classes in the facts of losses; functions have none."""
    if isinstance(facts, list):
        return set().union(*map(classes_in, facts))
    if not isinstance(facts, dict):
        return set()
    if isinstance(facts.get("class"), str):
        return {facts["class"]}
    return set().union(*map(classes_in, facts.values()))


def _has_enough_rows(t: Training) -> bool:
    rows, of = t.data.get("rows") or 0, t.data.get("of")
    return rows >= 2 and (rows == of or rows >= _ROWS)


@rule(
    "degenerate_target",
    severity="error",
    why="All targets are the same, so that there is nothing to learn.",
    page="doctor.md#degenerate_target",
    needs="the targets, and which loss each output has",
    known=lambda t: bool(t.targets) and bool(judged_heads(t)),
)
def degenerate_target(t: Training) -> Iterator[Evidence]:
    """Targets of one class only, or one number only.

    Of all rows, or of 256 at least: one distinct label, one class of share 1,
    every column of multi-label targets constant, or a standard deviation below
    a millionth of the mean.

    Known false alarms: targets that a loss of somebody's own does not read
    (nothing is said of unknown losses); residuals that are to be 0, as in
    physics-informed models (zeros count only of a plain dense or convolutional
    output); the first batches of sorted data (256 rows, and `sorted_labels`).
    """
    if not _has_enough_rows(t):
        return
    for head in judged_heads(t):
        target = t.targets.get(head["output"])
        if target is None or not _is_constant(target):
            continue
        if target["form"] == "real" and not target["max"]:
            kind = t.layer.get(head.get("layer") or "", {}).get("class", "")
            if kind != "Dense" and not kind.startswith("Conv"):
                continue
        yield _evidence(
            head,
            "",
            [
                Measured("rows", t.data["rows"]),
                Measured("distinct targets", target["distinct"], 2),
                Measured("mean target", target["mean"]),
            ],
            "Look at how the targets are made: a wrong column, a cast to "
            "integers, or a filter that leaves one class.",
            "np.unique(y, return_counts=True)",
        )


def _is_constant(target: dict[str, Any]) -> bool:
    shares = target.get("shares")
    if target["form"] == "multi_label" and shares:
        return all(share in (0.0, 1.0) for share in shares)
    if target["form"] in ("sparse", "one_hot") and shares:
        return max(shares) >= 1.0
    mean, spread = target.get("mean"), target.get("std")
    if mean is None or spread is None or target.get("non_finite"):
        return False
    return target.get("distinct") == 1 and spread <= 1e-6 * abs(mean)


# How far the order of labels is sorted, and how many classes a batch has over
# those of a random one. Labels of a time series come in runs too, but not in
# one run per class. Source: this project.
_SORTED = 0.95
_PER_BATCH = 0.6
# With harm.
_IN_RUNS = 0.7
# Share of validation rows of classes that training does not have.
_UNSEEN = 0.1
# Rows of a split per class, for its marginal to say anything.
_ROWS_PER_CLASS = 5
# Half of the sum of differences of two marginals.
_APART = 0.6


@rule(
    "sorted_labels",
    severity="error",
    why="Batches of few classes each pull the weights back and forth, and a "
    "split of sorted data trains on other classes than it is validated on.",
    page="doctor.md#sorted_labels",
    needs="class labels in the order of the data",
    known=lambda t: any(
        target.get("sorted") is not None for target in t.targets.values()
    ),
    meant=lambda t: t.may_have("multiclass", "binary"),
)
def sorted_labels(t: Training) -> Iterator[Evidence]:
    """Labels in the order of their classes where nobody shuffles.

    - As trained: 1 - (runs - 1)/(runs of a random order - 1) ≥ 0.95, and
      batches have ≤ 0.6 of the classes of random ones. From 0.7 on with harm
      (skill < 0.3).
    - `validation`: with `validation_split`, which takes the last rows, ≥ 0.1 of
      the validation rows are of classes that training does not have, or the two
      marginals differ by ≥ 0.6 (half the sum of absolute differences).

    Known false alarms: arrays that `fit` shuffles (batches are then random);
    series whose labels come in runs by nature (harm); one batch per epoch,
    which has all classes; few rows.
    """
    for head in t.heads:
        target = t.targets.get(head["output"])
        if target is None or target.get("sorted") is None:
            continue
        found = _in_order(t, head, target) or _split(t, head, target)
        if found is not None:
            yield found


def _in_order(
    t: Training, head: dict[str, Any], target: dict[str, Any]
) -> Evidence | None:
    if t.data.get("source") == "arrays" and t.fit.get("shuffle") is not False:
        return None
    per_batch = target.get("classes_per_batch")
    if per_batch is None or per_batch > _PER_BATCH or t.data["rows"] < 32:
        return None
    if target["sorted"] < _SORTED and not (
        target["sorted"] >= _IN_RUNS and harm(t, 0.3)
    ):
        return None
    arrays = t.data.get("source") == "arrays"
    return _evidence(
        head,
        "",
        [
            Measured("how far labels are sorted", target["sorted"], _SORTED),
            Measured(
                "classes of a batch over those of a random one",
                per_batch,
                _PER_BATCH,
            ),
        ],
        "Shuffle the rows before they are put into batches.",
        "model.fit(x, y, shuffle=True)"
        if arrays
        else "dataset.shuffle(number_of_rows).batch(batch_size)",
    )


def _split(
    t: Training, head: dict[str, Any], target: dict[str, Any]
) -> Evidence | None:
    if not t.fit.get("validation_split"):
        return None
    validation = t.data.get("validation") or {}
    others = {
        each["output"]: each.get("shares")
        for each in validation.get("targets") or []
    }
    theirs, mine = others.get(head["output"]), target.get("shares")
    if not theirs or not mine or target["form"] not in ("sparse", "one_hot"):
        if not theirs or not mine or target["form"] != "binary":
            return None
        theirs, mine = _both(theirs), _both(mine)
    if (validation.get("rows") or 0) < 10:
        return None
    length = max(len(theirs), len(mine))
    theirs = [*theirs, *[0.0] * (length - len(theirs))]
    mine = [*mine, *[0.0] * (length - len(mine))]
    # By chance, too, few rows lack classes.
    classes = sum(a > 0 or b > 0 for a, b in zip(theirs, mine, strict=True))
    rows = min(validation["rows"], t.data.get("rows") or validation["rows"])
    if rows < _ROWS_PER_CLASS * classes:
        return None
    unseen = sum(a for a, b in zip(theirs, mine, strict=True) if b == 0)
    apart = sum(abs(a - b) for a, b in zip(theirs, mine, strict=True)) / 2
    if unseen < _UNSEEN and apart < _APART:
        return None
    return _evidence(
        head,
        "validation",
        [
            Measured("validation rows of unseen classes", unseen, _UNSEEN),
            Measured("distance of the marginals", apart, _APART),
        ],
        "Shuffle the rows before `fit` splits them: it takes the last ones.",
        "order = np.random.permutation(len(x)); x, y = x[order], y[order]",
    )


def _both(shares: list[float]) -> list[float]:
    return shares if len(shares) != 1 else [1.0 - shares[0], shares[0]]


def _evidence(
    head: dict[str, Any],
    variant: str,
    measured: list[Measured],
    advice: str,
    code: str,
) -> Evidence:
    loss = Measured("loss", str(head.get("loss")))
    return Evidence(
        owner=head["output"] or (head.get("layer") or ""),
        since=(0, 0),
        measured=(*measured, loss),
        advice=advice,
        code=code,
        variant=variant,
        part=head["output"],
    )
