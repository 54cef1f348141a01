"""Whether the rows are usable: finite, not all equal, not used twice."""

from collections.abc import Iterator

from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.heads import judged_heads
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Training


@rule(
    "non_finite",
    severity="error",
    why="One NaN in a batch makes the loss NaN, and with it all weights.",
    page="monitors/non_finite_guard.md",
    needs="inputs or targets",
    known=lambda t: bool(t.inputs or t.targets),
)
def non_finite_data(t: Training) -> Iterator[Evidence]:
    """Inputs or targets contain NaN or infinite numbers (variant `data`).

    Certain, so reported at once. Known false alarm: a model that accepts NaN
    for missing values; guard: nothing is reported once an epoch has ended with
    a finite loss. Targets are ignored if the loss is a custom one, or if NaN is
    its `ignore_class`.
    """
    if t.ended_epochs and t.broken_at is None:
        return
    judged = {head["output"] for head in judged_heads(t)}
    found = [("x", entry["name"], entry) for entry in t.inputs]
    found += [
        ("y", output, target)
        for output, target in t.targets.items()
        if output in judged
    ]
    for kind, name, entry in found:
        count = entry.get("non_finite") or 0
        if not count:
            continue
        yield Evidence(
            owner=f"{kind}: {name}" if name else kind,
            since=(0, 0),
            measured=(
                Measured("NaN or infinite entries", count, 0),
                Measured("rows checked", t.data.get("rows") or 0),
            ),
            advice="Remove these rows, or replace the missing values.",
            code=f"keep = np.isfinite({kind}).reshape(len({kind}), -1)"
            ".all(axis=1); x, y = x[keep], y[keep]",
            variant="data",
            part=f"{kind}:{name}",
        )


# Rows needed to call a feature constant.
_ENOUGH_ROWS = 16


@rule(
    "constant_input",
    severity="warning",
    why="Inputs that are the same for every sample carry no information.",
    page="doctor.md#constant_input",
    needs="the inputs",
    known=lambda t: bool(t.inputs),
)
def constant_input(t: Training) -> Iterator[Evidence]:
    """Every feature of every input has the same value in all rows.

    Certain, so reported at once. Known false alarm: an input among others that
    is there only for its shape; guard: all inputs, and 16 rows or more.
    """
    inputs = t.inputs
    if (t.data.get("rows") or 0) < _ENOUGH_ROWS or not inputs:
        return
    if not all(
        each.get("features") and each["constant_features"] == each["features"]
        for each in inputs
    ):
        return
    yield Evidence(
        owner=inputs[0]["name"],
        since=(0, 0),
        measured=(
            Measured("constant features", inputs[0]["constant_features"]),
            Measured("features", inputs[0]["features"]),
        ),
        advice="Look at a few rows as they are passed to `fit`: scaling, "
        "clipping or truncation may have removed what they contained.",
        code="print(x[:3])",
    )


# Share of validation rows that are training rows. Public test sets have up to
# 3 % duplicates. Source: Barz & Denzler (2020), "Do we train on test data?".
_OVERLAP = 0.1


@rule(
    "validation_overlap",
    severity="warning",
    why="Rows that were trained on say nothing about new ones: the validation "
    "score is too good.",
    page="doctor.md#validation_overlap",
    needs="the rows of training and validation",
    known=lambda t: bool((t.data.get("validation") or {}).get("rows")),
)
def validation_overlap(t: Training) -> Iterator[Evidence]:
    """A tenth of the validation rows or more are also training rows.

    Rows are compared by their inputs. Certain, so reported at once. Known false
    alarm: data with few distinct rows, such as a handful of categories; guard:
    the overlap must be more than twice the share of training rows that occur
    more than once.
    """
    validation = t.data.get("validation") or {}
    overlap, repeated = validation.get("overlap"), validation.get("repeated")
    if overlap is None or (validation.get("rows") or 0) < 10:
        return
    if overlap < _OVERLAP or overlap <= 2.0 * (repeated or 0.0):
        return
    yield Evidence(
        owner="",
        since=(0, 0),
        measured=(
            Measured(
                "share of validation rows that are trained on",
                overlap,
                _OVERLAP,
            ),
            Measured("share of repeated training rows", repeated or 0.0),
        ),
        advice="Split the rows first, then augment or oversample the training "
        "rows only.",
        code="model.fit(x_train, y_train, validation_data=(x_val, y_val))",
    )
