import numpy as np
import pytest

from keras_concepts import quantities as q
from rule_facts import WELL, classes, entry, findings, found, head, run


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("losses", "since"),
    [
        ([None], (0, 1)),
        ([1.0, None], (1, 10)),
        ([1.0, 0.5, None, None], (2, 20)),
    ],
)
def test_a_loss_that_is_not_finite(value, losses, since):
    """It began in the first epoch that is not finite."""
    given = [value if each is None else each for each in losses]
    (finding,) = findings("non_finite", run([head()], losses=given))
    assert (finding.owner, finding.since) == ("", since)
    assert finding.headline.endswith(
        f"since epoch {len(losses) - losses.count(None) + 1}."
    )
    assert finding.severity == "error"
    assert finding.to_json()["evidence"][0]["value"] == str(value)


def test_steps_of_a_second_run_go_on_from_the_first():
    made = run([head()], losses=[np.nan], first_step=200)
    (finding,) = findings("non_finite", made)
    assert finding.since == (0, 201)


def test_a_finite_run():
    made = run([head()], [entry()], [classes()], WELL)
    # Loss scaling skips steps by design.
    made.append(0, "", q.SKIPPED_STEPS, 10, 3.0)
    made.append(0, "", q.CHECKED_STEPS, 10, 10.0)
    assert found("non_finite", made) == []


@pytest.mark.parametrize(
    ("quantity", "owner"),
    [
        (q.NON_FINITE_INPUT, "x"),
        (q.NON_FINITE_ACTIVATION, "m/dense"),
        (q.NON_FINITE_PENALTY, "m/dense/kernel"),
        (q.NON_FINITE_LOSS, ""),
        (q.NON_FINITE_GRADIENT, "m/dense/kernel"),
        (q.NON_FINITE_WEIGHT, "m/dense/kernel"),
    ],
)
def test_a_guard_names_the_place(quantity, owner):
    made = run([head()], losses=[1.0, np.nan])
    made.append(1, owner, quantity, 13, 4.0)
    (finding,) = findings("non_finite", made)
    assert (finding.owner, finding.since) == (owner, (1, 13))
    assert finding.evidence[0].value == 4.0
    assert finding.advice.endswith(".")


def test_the_first_place_is_told():
    made = run([head()], losses=[np.nan])
    made.append(0, "a/kernel", q.NON_FINITE_GRADIENT, 3, 1.0)
    made.append(0, "b/kernel", q.NON_FINITE_GRADIENT, 3, 2.0)
    (finding,) = findings("non_finite", made)
    assert finding.owner == "a/kernel"


def test_validation_alone():
    made = run([head()], losses=WELL)
    made.append(0, "val_loss", q.LOG, 10, np.nan)
    assert found("non_finite", made) == ["validation"]


def test_validation_is_not_said_beside_the_training():
    made = run([head()], losses=[2.0, np.nan])
    made.append(1, "val_loss", q.LOG, 20, np.nan)
    assert found("non_finite", made) == [""]
