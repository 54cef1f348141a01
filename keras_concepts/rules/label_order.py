"""How labels are ordered over the rows: all equal, or class by class."""

from collections.abc import Iterator
from typing import Any

from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import harm
from keras_concepts.rules.heads import judged_heads
from keras_concepts.rules.labels import evidence_on_labels
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Training

# With this many rows, a constant target is not due to chance.
_ROWS = 256


def _has_enough_rows(t: Training) -> bool:
    rows, of = t.data.get("rows") or 0, t.data.get("of")
    return rows >= 2 and (rows == of or rows >= _ROWS)


@rule(
    "degenerate_target",
    severity="error",
    why="All targets are the same, so there is nothing to learn.",
    page="doctor.md#degenerate_target",
    needs="the targets, and which loss each output has",
    known=lambda t: bool(t.targets) and bool(judged_heads(t)),
)
def degenerate_target(t: Training) -> Iterator[Evidence]:
    """All targets are the same class or the same number.

    All rows, or at least 256 of them, have one distinct label, a single class,
    constant columns of multi-label targets, or a standard deviation below a
    millionth of the mean.

    Known false alarms: targets that a custom loss does not read (nothing is
    reported for unknown losses); residuals that should be 0, as in
    physics-informed models (zeros count only for a plain dense or convolutional
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
        yield evidence_on_labels(
            head,
            "",
            [
                Measured("rows", t.data["rows"]),
                Measured("distinct targets", target["distinct"], 2),
                Measured("mean target", target["mean"]),
            ],
            "Check how the targets are made: look for a wrong column, a cast "
            "to integers, or a filter that leaves one class.",
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


# How sorted the labels are, and the number of classes per batch relative to a
# random batch. Source: this project.
_SORTED = 0.95
_PER_BATCH = 0.6
# Runs of equal labels per class. Labels of a time series come in runs too, but
# not in one run per class. Source: this project.
_RUNS_PER_CLASS = 1.5
# How sorted they must be if there is harm.
_IN_RUNS = 0.7
# Share of validation rows whose classes the training data do not have.
_UNSEEN = 0.1
# Rows per class that a split needs for its class shares to be meaningful.
_ROWS_PER_CLASS = 5
# Half of the sum of absolute differences between the class shares of two
# splits.
_APART = 0.6


@rule(
    "sorted_labels",
    severity="error",
    why="Batches of few classes pull the weights back and forth.",
    page="doctor.md#sorted_labels",
    needs="class labels in the order of the data",
    known=lambda t: any(
        target.get("sorted") is not None for target in t.targets.values()
    ),
    meant=lambda t: t.may_have("multiclass", "binary"),
)
def sorted_labels(t: Training) -> Iterator[Evidence]:
    """The labels are sorted by class, and the rows are not shuffled.

    - In training: 1 - (runs - 1)/(runs of a random order - 1) ≥ 0.95 with at
      most 1.5 runs of equal labels per class, or ≥ 0.7 if there is harm
      (skill < 0.3); and batches have ≤ 0.6 of the classes of random ones.
    - `validation`: with `validation_split`, which takes the last rows, ≥ 0.1 of
      the validation rows have classes that the training data do not have, or
      the class shares differ by ≥ 0.6 (half the sum of absolute differences).

    Known false alarms: arrays that `fit` shuffles (batches are then random);
    series whose labels naturally come in runs (guard: several runs per class
    need harm); one batch per epoch, which has all classes; few rows.
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
    certain = target["sorted"] >= _SORTED and _is_grouped(target)
    if not certain and not (target["sorted"] >= _IN_RUNS and harm(t, 0.3)):
        return None
    arrays = t.data.get("source") == "arrays"
    runs = target.get("runs")
    return evidence_on_labels(
        head,
        "",
        [
            Measured(
                "how sorted the labels are",
                target["sorted"],
                _SORTED if certain else _IN_RUNS,
            ),
            *(
                ()
                if runs is None
                else (Measured("runs of equal labels", runs),)
            ),
            Measured(
                "classes per batch over those of a random batch",
                per_batch,
                _PER_BATCH,
            ),
        ],
        "Shuffle the rows before they are batched.",
        "model.fit(x, y, shuffle=True)"
        if arrays
        else "dataset.shuffle(number_of_rows).batch(batch_size)",
    )


def _is_grouped(target: dict[str, Any]) -> bool:
    """Whether the rows of a class lie together, in hardly more than one run.

    Recordings of earlier versions do not have the number of runs.
    """
    runs, shares = target.get("runs"), target.get("shares") or ()
    if runs is None:
        return True
    occur = sum(share > 0.0 for share in shares)
    return runs <= _RUNS_PER_CLASS * max(occur, 2)


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
    # With few rows, classes may be missing by chance.
    classes = sum(a > 0 or b > 0 for a, b in zip(theirs, mine, strict=True))
    rows = min(validation["rows"], t.data.get("rows") or validation["rows"])
    if rows < _ROWS_PER_CLASS * classes:
        return None
    unseen = sum(a for a, b in zip(theirs, mine, strict=True) if b == 0)
    apart = sum(abs(a - b) for a, b in zip(theirs, mine, strict=True)) / 2
    if unseen < _UNSEEN and apart < _APART:
        return None
    return evidence_on_labels(
        head,
        "validation",
        [
            Measured(
                "share of validation rows with unseen classes", unseen, _UNSEEN
            ),
            Measured("difference of the class shares", apart, _APART),
        ],
        "Shuffle the rows before `fit` splits them: `validation_split` takes "
        "the last rows.",
        "order = np.random.permutation(len(x)); x, y = x[order], y[order]",
        why="A split of sorted data validates on other classes than it trains "
        "on.",
    )


def _both(shares: list[float]) -> list[float]:
    return shares if len(shares) != 1 else [1.0 - shares[0], shares[0]]
