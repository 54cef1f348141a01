import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import agreement
from keras_concepts.rules.harm import harm
from rule_facts import (
    add,
    classes,
    entry,
    findings,
    found,
    head,
    numbers,
    regression,
    run,
    training,
)

FALLING = [1.0, 0.8, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05, 0.01]
OWN = {"loss": "of_ones_own", "kind": "other"}


def of_numbers(
    explained, ranks, losses=FALLING, right=0.0, wrong=2.0, **changes
):
    """A regression with a custom loss, checked 11 times."""
    target = numbers(right_loss=right, wrong_loss=wrong)
    target |= changes.pop("target", {})
    made = run(
        [regression(**(OWN | changes.pop("head", {})))],
        [entry()],
        [target],
        losses,
        **changes,
    )
    _ = add(made, q.PROBE_EXPLAINED, explained)
    return add(made, q.PROBE_RANK_CORRELATION, ranks)


def of_classes(accuracy, separation, activation="softmax", losses=FALLING):
    made = run(
        [head(**OWN, activation=activation)],
        [entry()],
        [classes(right_loss=0.0, wrong_loss=2.0)],
        losses,
    )
    _ = add(made, q.PROBE_BALANCED_ACCURACY, accuracy)
    _ = add(made, q.PROBE_CLASS_COUNT, [[25.0] * 10] * 11)
    return add(made, q.PROBE_SEPARATION, separation)


def last(made):
    known = agreement.agreement(training(made))
    return None if known is None else float(known.values[-1])


class TestNumbers:
    @pytest.mark.parametrize(
        ("explained", "rank", "expected"),
        [
            (0.6, 0.5, 0.6),
            (-3.0, 0.9, 0.81),  # of logarithms, say
            (0.01, 0.1, 0.01),
            (-0.2, -0.9, -0.2),
        ],
    )
    def test_whichever_is_more(self, explained, rank, expected):
        made = of_numbers([0.0] * 10 + [explained], [0.0] * 10 + [rank])
        assert last(made) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("right", "wrong", "form", "expected"),
        [
            (1.0, 0.5, "binary", 0.81),  # small distances of equal pairs
            (1.0, 0.5, "real", 0.81),  # risks of survival times
            (None, None, "real", 0.81),
            (0.5, 1.0, "real", -0.2),
            (1.0, 1.0, "real", -0.2),  # no labels
        ],
    )
    def test_which_way_round(self, right, wrong, form, expected):
        made = of_numbers(
            [-0.2] * 11,
            [0.0] * 10 + [-0.9],
            right=right,
            wrong=wrong,
            target={"form": form},
        )
        assert last(made) == pytest.approx(expected)

    def test_ranks_that_were_there_before_and_predictions_that_leave(self):
        stays = of_numbers([-0.2] * 11, [0.6] * 11)
        leaves = of_numbers([-0.2] * 10 + [-5.0], [0.6] * 11)
        learns = of_numbers([-0.2] * 10 + [-5.0], [0.2] * 10 + [0.6])
        assert last(stays) == last(learns) == pytest.approx(0.36)
        assert last(leaves) == -5.0

    def test_predictions_that_run_away(self):
        ranks = [0.2] + [0.95] * 10
        for explained, expected in ((-99.0, 0.9025), (-101.0, -101.0)):
            made = of_numbers([-0.2] * 10 + [explained], ranks)
            assert last(made) == pytest.approx(expected)
        logits = of_numbers(
            [-0.2] * 10 + [-900.0], ranks, target={"distinct": 2}
        )
        assert last(logits) == pytest.approx(0.9025)
        far = of_numbers([-4e4] * 11, ranks)  # years, which the loss scales
        assert last(far) == pytest.approx(0.9025)


class TestClasses:
    @pytest.mark.parametrize(
        ("accuracy", "expected"), [(0.1, 0.0), (0.55, 0.5), (1.0, 1.0)]
    )
    def test_beyond_one_class(self, accuracy, expected):
        made = of_classes([0.1] * 10 + [accuracy], [0.1] * 11)
        assert last(made) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("before", "after", "expected"),
        [(0.5, 0.55, 0.0), (0.5, 0.82, 0.8), (0.1, 0.91, 0.9)],
    )
    def test_places_that_have_come_apart(self, before, after, expected):
        made = of_classes([0.1] * 11, [before] * 10 + [after])
        assert last(made) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("activation", "expected"), [("softmax", 0.0), ("linear", None)]
    )
    def test_places_that_were_learned_before(self, activation, expected):
        made = of_classes([0.1] * 11, [0.95] * 11, activation)
        assert last(made) == pytest.approx(expected)


class TestWhatItSpeaksOf:
    def test_not_of_losses_of_keras(self):
        made = of_numbers(
            [0.0] * 11,
            [0.0] * 11,
            head={"loss": "MeanSquaredError", "kind": "regression"},
        )
        assert last(made) is None
        assert harm(training(made), 0.3) is None

    def test_a_step_of_ones_own_may_do_anything_with_them(self):
        made = of_numbers(
            [0.0] * 11,
            [0.0] * 11,
            head={"loss": "MeanSquaredError", "kind": "regression"},
            own_step=["train_step"],
        )
        assert last(made) == 0.0

    @pytest.mark.parametrize("loss", agreement._OF_SOMETHING_ELSE)
    def test_labels_that_are_no_values_of_the_output(self, loss):
        made = of_numbers([0.0] * 11, [0.0] * 11, head={"loss": loss})
        assert last(made) is None

    def test_one_output_alone(self):
        made = of_numbers([0.0] * 11, [0.0] * 11)
        made.facts["heads"].append(regression(output="b"))
        assert last(made) is None


class TestHarm:
    def test_a_loss_that_falls_while_nothing_is_learned(self):
        made = of_numbers([0.01] * 11, [0.1] * 11)
        assert harm(training(made), 0.05).skill == pytest.approx(0.01)
        assert found("no_progress", made) == [""]

    def test_a_loss_that_falls_while_something_is(self):
        made = of_numbers([0.01] * 5 + [0.3] * 6, [0.1] * 11)
        assert harm(training(made), 0.3) is None
        assert found("no_progress", made) == []

    def test_the_loss_counts_too(self):
        made = of_numbers([0.9] * 11, [0.9] * 11, losses=[1.0] * 10)
        (finding,) = findings("no_progress", made)
        assert finding.evidence[0].name.startswith("share of the constant")

    def test_no_loss_is_logged(self):
        made = of_numbers([0.0] * 11, [0.0] * 11, losses=[], own_step=["x"])
        _ = add(made, q.EPOCH_WEIGHT_RMS, [1.0] * 11, "kernel")
        assert training(made).ended_epochs == 10
        (finding,) = findings("no_progress", made)
        assert finding.evidence[0].name.startswith("agreement")

    def test_few_looks(self):
        made = of_numbers([0.0], [0.0])
        for epoch, value in ((4, 0.5), (9, 1.0)):
            step = 10 * (epoch + 1)
            made.append(epoch, "", q.PROBE_EXPLAINED, step, value)
            made.append(epoch, "", q.PROBE_RANK_CORRELATION, step, value)
        assert harm(training(made), 0.3) is None


class TestOwnLoss:
    @pytest.mark.parametrize(
        ("right", "wrong", "expected"),
        [
            (0.0, 2.0, []),
            (0.0, -2.0, ["reversed"]),
            (1.0, 1.0, ["without_labels"]),
            (1.0, 1.0 + 1e-6, ["without_labels"]),
            (1.0, 1.0 + 1e-4, []),
            (None, None, []),
        ],
    )
    def test_what_it_asks_for(self, right, wrong, expected):
        made = of_numbers([0.0] * 3, [0.0] * 3, right=right, wrong=wrong)
        assert found("head_loss_mismatch", made) == expected

    @pytest.mark.parametrize(
        ("explained", "ranks", "expected"),
        [
            ([0.0] * 2, [0.0] * 2, []),  # one check after the start
            ([0.0] * 3, [0.0] * 3, ["reversed"]),
            ([0.0, 0.0, 0.04], [0.0] * 3, ["reversed"]),
            ([0.0, 0.0, 0.06], [0.0] * 3, []),
            ([-9.0] * 3, [0.0, -0.3, -0.5], []),  # times and risks
            ([-9.0, -400.0, -9000.0], [0.0, -0.3, -0.5], []),
            ([-0.1, -400.0, -9000.0], [0.0, -0.3, -0.5], ["reversed"]),
        ],
    )
    def test_predictions_must_say_so_too(self, explained, ranks, expected):
        made = of_numbers(explained, ranks, right=1.0, wrong=0.0)
        assert found("head_loss_mismatch", made) == expected

    def test_pairs_whose_distance_is_small(self):
        made = of_numbers(
            [0.0] * 3,
            [0.0] * 3,
            right=1.0,
            wrong=0.0,
            target={"form": "binary"},
        )
        assert found("head_loss_mismatch", made) == []

    def test_labels_may_be_an_input(self):
        made = of_numbers([0.0] * 3, [0.0] * 3, right=1.0, wrong=1.0)
        made.facts["data"]["inputs"].append(entry(name="y"))
        assert found("head_loss_mismatch", made) == []

    def test_costs_of_choices(self):
        made = of_numbers(
            [0.0] * 3,
            [0.0] * 3,
            right=1.0,
            wrong=0.0,
            head={"activation": "softmax"},
        )
        assert found("head_loss_mismatch", made) == []

    @pytest.mark.parametrize(
        ("units", "distinct", "expected"),
        [(1, 1000, ["cosine"]), (1, 2, []), (3, 1000, [])],
    )
    def test_cosine_of_numbers(self, units, distinct, expected):
        made = run(
            [
                regression(
                    loss="CosineSimilarity",
                    kind="other",
                    units=units,
                    shape=[None, units],
                )
            ],
            [entry()],
            [numbers(distinct=distinct)],
        )
        assert found("head_loss_mismatch", made) == expected


def test_recordings_of_an_earlier_version():
    made = run([regression(**OWN)], [entry()], [numbers()], FALLING)
    assert last(made) is None
    assert np.isfinite(harm(training(made), 2.0).skill)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", True),
        ("val_acc", True),
        ("sparse_categorical_accuracy_1", True),
        ("BinaryAccuracy", True),
        ("acceleration_error", False),
        ("accumulated", False),
        ("acc_mae", False),
        ("accident_rate", False),
    ],
)
def test_names_of_accuracies(name, expected):
    assert agreement.is_accuracy(name) is expected
