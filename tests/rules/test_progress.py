import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import progress
from rule_facts import (
    STEPS,
    STUCK,
    WELL,
    add,
    binary,
    classes,
    entry,
    findings,
    found,
    head,
    log,
    numbers,
    regression,
    run,
    training,
)


def of_numbers(losses, **facts):
    """A regression whose best constant has a loss of 1."""
    facts = {"heads": [regression()], "targets": [numbers()]} | facts
    return run(losses=losses, **facts)


class TestNoProgress:
    @pytest.mark.parametrize(
        ("skill", "expected"),
        [
            (progress.NO_SKILL - 0.001, [""]),
            (progress.NO_SKILL + 0.001, []),
            (-1.0, [""]),
        ],
    )
    def test_skill(self, skill, expected):
        made = of_numbers([1.0 - skill] * 10)
        assert found("no_progress", made) == expected

    @pytest.mark.parametrize(
        ("skill", "validation", "expected"),
        [
            (progress.NO_MEMORY - 0.001, 1.0, [""]),
            (progress.NO_MEMORY + 0.001, 1.0, []),
            (progress.NO_MEMORY - 0.001, 0.97, []),
            (progress.NO_MEMORY - 0.001, np.nan, []),
        ],
    )
    def test_validation_may_show_that_it_is_memory(
        self, skill, validation, expected
    ):
        made = of_numbers([1.0 - skill] * 10)
        _ = log(made, "val_loss", [validation] * 10)
        assert found("no_progress", made) == expected

    @pytest.mark.parametrize(
        ("ended", "expected"),
        [
            (round(20 * progress._HALF) - 1, []),
            (round(20 * progress._HALF), [""]),
        ],
    )
    def test_half_of_the_epochs(self, ended, expected):
        made = of_numbers([1.0] * ended, epochs=20)
        assert found("no_progress", made) == expected

    def test_a_slow_plateau_that_ends(self):
        losses = [1.0] * 12 + [0.98, 0.94, 0.9]
        assert found("no_progress", of_numbers(losses, epochs=20)) == []

    def test_what_is_not_finite_has_a_rule_of_its_own(self):
        assert found("no_progress", of_numbers([1.0] * 9 + [np.nan])) == []

    def test_since(self):
        (finding,) = findings("no_progress", of_numbers([1.0] * 10))
        assert finding.since == (0, STEPS)


class TestOscillation:
    @staticmethod
    def losses(swing, descent=0.0, mean=2.0):
        """Eight losses that swing about a line which falls so far."""
        pattern = np.array([1, -1, -1, 1, 1, -1, -1, 1]) * swing
        return mean + pattern - descent * np.arange(8) / 7

    @pytest.mark.parametrize(
        ("swing", "descent", "mean", "expected"),
        [
            (0.051, 0.0, 2.0, [""]),
            (0.049, 0.0, 2.0, []),
            (0.21, 0.2, 2.0, [""]),
            (0.19, 0.2, 2.0, []),
            # Noise of small batches at the end.
            (0.06, 0.0, 0.1, []),
        ],
    )
    def test_swing_against_descent(self, swing, descent, mean, expected):
        given = self.losses(swing, descent, mean)
        assert found("oscillating_loss", of_numbers(given)) == expected

    def test_eight_epochs_are_needed(self):
        made = of_numbers(self.losses(0.5)[:7])
        assert found("oscillating_loss", made) == []

    def test_since(self):
        made = of_numbers([2.0, 2.0, *self.losses(0.5)])
        (finding,) = findings("oscillating_loss", made)
        assert finding.since == (2, 3 * STEPS)


def with_spread(values, losses=STUCK, given=None, target=None):
    given = head() if given is None else given
    target = classes() if target is None else target
    made = run([given], [], [target], losses)
    return add(made, q.PREDICTION_SPREAD, values)


SAME, APART = 0.99 * progress.SAME, 1.01 * progress.SAME


class TestConstantPredictions:
    @pytest.mark.parametrize(
        ("values", "losses", "expected"),
        [
            ([SAME] * 11, STUCK, [""]),
            ([APART] * 11, STUCK, []),
            ([SAME] * 11, WELL, []),
            ([SAME] * 9 + [APART] + [SAME], STUCK, []),
            ([APART] * 8 + [SAME] * 3, STUCK, [""]),
            # Predictions of the untrained model do not count.
            ([SAME], STUCK, []),
        ],
    )
    def test_spread(self, values, losses, expected):
        made = with_spread(values, losses)
        assert found("constant_predictions", made) == expected

    def test_since(self):
        made = with_spread([SAME, SAME, APART, *[SAME] * 8])
        (finding,) = findings("constant_predictions", made)
        assert finding.since == (2, 3 * STEPS)

    def test_a_fifth_of_the_epochs(self):
        for ended, expected in ((7, []), (8, [""])):
            made = run([head()], [], [classes()], STUCK[:1] * ended, epochs=40)
            _ = add(made, q.PREDICTION_SPREAD, [SAME] * (ended + 1))
            assert found("constant_predictions", made) == expected

    @pytest.mark.parametrize(
        ("std", "expected"), [(1.02, [""]), (0.98, []), (0.0, [])]
    )
    def test_of_a_regression_the_targets_give_the_scale(self, std, expected):
        spread = 100.0 * progress.SAME if std else 1.5 * progress.SAME
        target = numbers(std=100.0 * std)
        made = with_spread([spread] * 11, [1.0] * 10, regression(), target)
        assert found("constant_predictions", made) == expected

    def test_heads_are_judged_one_by_one(self):
        heads = [head(output="a"), head(output="b")]
        targets = [classes(output="a"), classes(output="b")]
        made = run(heads, [], targets, [4.6] * 10)
        _ = add(made, q.PREDICTION_SPREAD, [APART] * 11, "a")
        _ = add(made, q.PREDICTION_SPREAD, [SAME] * 11, "b")
        rules = findings("constant_predictions", made)
        assert [each.owner for each in rules] == ["b"]


def predicted(perplexity):
    """Shares of 10 classes that are predicted, with this perplexity."""
    count = int(perplexity)  # of even classes, and one that is rarer
    low, high = 0.0, 1.0 / (count + 1)
    for _ in range(60):
        rare = (low + high) / 2
        shares = np.array([(1 - rare) / count] * count + [rare])
        if np.exp(-(shares * np.log(shares)).sum()) < perplexity:
            low = rare
        else:
            high = rare
    return [*shares, *[0.0] * (9 - count)]


FEW = predicted(9.9 * progress.COLLAPSED)
MANY = predicted(10.1 * progress.COLLAPSED)
ONE = [1.0, *[0.0] * 9]


def with_classes(shares, losses=STUCK, epochs=10, target=None, given=None):
    target = classes() if target is None else target
    given = head() if given is None else given
    made = run([given], [], [target], losses, epochs=epochs)
    return add(made, q.PREDICTED_SHARE, shares)


class TestCollapse:
    @pytest.mark.parametrize(
        ("shares", "losses", "expected"),
        [
            ([FEW] * 11, STUCK, [""]),
            ([MANY] * 11, STUCK, []),
            ([FEW] * 11, WELL, []),
            ([FEW] * 9 + [MANY] + [FEW], STUCK, []),
            ([MANY] * 9 + [FEW] * 2, STUCK, [""]),
            # Before the first step.
            ([FEW], STUCK, []),
        ],
    )
    def test_classes_predicted(self, shares, losses, expected):
        assert found("class_collapse", with_classes(shares, losses)) == expected

    def test_in_the_first_half_three_checks_must_agree(self):
        for count, expected in ((2, []), (3, [""])):
            shares = [MANY] * (6 - count) + [FEW] * count
            made = with_classes(shares, STUCK[:1] * 5, epochs=20)
            assert found("class_collapse", made) == expected

    def test_since(self):
        made = with_classes([FEW, FEW, MANY, *[FEW] * 8])
        (finding,) = findings("class_collapse", made)
        assert finding.since == (2, 3 * STEPS)

    @pytest.mark.parametrize(
        ("most", "expected"),
        [
            (progress.ALL_OF_ONE - 0.001, [""]),
            (progress.ALL_OF_ONE + 0.001, []),
        ],
    )
    def test_one_class_alone_of_imbalanced_ones(self, most, expected):
        """The perplexity of the labels is near 1 itself."""
        target = classes(form="binary", shares=[1.0 - most], constant_loss=0.05)
        made = with_classes(
            [[1.0, 0.0]] * 11, [0.05] * 10, target=target, given=binary()
        )
        assert found("class_collapse", made) == expected

    def test_one_of_two_classes(self):
        """Perplexity 1 of at most 2 is not below half of the labels'."""
        target = classes(
            form="binary",
            shares=[0.13],
            constant_loss=np.log(2.0),
            uniform_loss=np.log(2.0),
        )
        made = run([binary()], [], [target], [0.693] * 10)
        _ = add(made, q.PREDICTED_SHARE, [[1.0, 0.0]] * 11)
        [finding] = findings("class_collapse", made)
        assert finding.evidence[0].name == "share of the most predicted class"
        assert finding.evidence[0][1:3] == (1.0, 1)

    def test_natural_imbalance(self):
        shares = [0.91] + [0.01] * 9
        target = classes(shares=shares, constant_loss=0.5)
        made = with_classes([shares] * 11, [0.49] * 10, target=target)
        assert found("class_collapse", made) == []

    def test_labels_of_unknown_shares(self):
        made = with_classes([ONE] * 11, target=classes(shares=None))
        assert found("class_collapse", made) == []


def weighted(shares, weights, given=None, losses=()):
    given = head() if given is None else given
    target = classes(shares=shares)
    fit = {"class_weight": {str(i): w for i, w in enumerate(weights)}}
    return run([given], [], [target], losses, fit=fit)


def alone(factor):
    """Weight of a class of share 0.4 for a part of all weight."""
    part = min(factor * progress._ALONE, 0.999)
    return part / (1.0 - part) * 0.6 / 0.4


class TestClassWeights:
    @pytest.mark.parametrize(
        ("shares", "weights", "expected"),
        [
            ([0.5, 0.5], [1.0, 1.0], []),
            # Inverse of the frequency, as usual.
            ([0.9, 0.1], [1 / 0.9, 1 / 0.1], []),
            ([0.999, 0.001], [1 / 0.999, 1 / 0.001], []),
            # The reverse of it.
            ([0.9, 0.1], [0.9, 0.01], [""]),
            ([0.9, 0.1], [0.99 * progress._FAVOUR, 1.0], []),
            ([0.9, 0.1], [1.01 * progress._FAVOUR, 1.0], [""]),
            # One class has all the weight.
            ([0.6, 0.4], [1.0, alone(0.99)], []),
            ([0.6, 0.4], [1.0, alone(1.01)], [""]),
            ([0.6, 0.4], [0.0, 1.0], [""]),
            ([0.5, 0.5], [0.0, 0.0], []),
            # A class that does not occur.
            ([1.0, 0.0], [1.0, 5.0], []),
        ],
    )
    def test_against_the_data(self, shares, weights, expected):
        for losses in ((), [0.01] * 10):
            made = weighted(shares, weights, losses=losses)
            assert found("class_weights", made) == expected

    @pytest.mark.parametrize(("factor", "expected"), [(0.99, [""]), (1.01, [])])
    def test_perplexity(self, factor, expected):
        shares = [0.1] * 10
        # The first class gets more and more of all weight.
        low, high = 0.1, 1.0
        wanted = factor * progress.COLLAPSED * 10
        for _ in range(60):
            most = (low + high) / 2
            p = np.array([most] + [(1.0 - most) / 9] * 9)
            if np.exp(-(p * np.log(p)).sum()) > wanted:
                low = most
            else:
                high = most
        assert found("class_weights", weighted(shares, p)) == expected

    def test_of_binary_labels(self):
        made = weighted([0.1], [9.0, 0.1], binary())
        assert found("class_weights", made) == [""]
        made = weighted([0.1], [1.0, 9.0], binary())
        assert found("class_weights", made) == []

    def test_weights_of_some_classes(self):
        made = weighted([0.5, 0.5], [1.0])
        assert found("class_weights", made) == []


def test_label_shares():
    def shares(given, target):
        return progress.label_shares(
            training(run([given], [], [target])), given
        )

    np.testing.assert_allclose(shares(head(), classes()), [0.1] * 10)
    one = classes(form="binary", shares=[0.3])
    np.testing.assert_allclose(shares(binary(), one), [0.7, 0.3])
    three = classes(form="multi_label", shares=[0.3, 0.2, 0.5])
    assert shares(binary(units=3), three) is None
    assert shares(regression(), numbers()) is None


class TestNeverPredicted:
    @staticmethod
    def of(recalls, count=progress._FEWEST, losses=WELL, **facts):
        made = run([head()], [], [classes()], losses, **facts)
        counts = [[30.0] * 9 + [count]] * (len(recalls) + 1)
        _ = add(made, q.PROBE_CLASS_COUNT, counts)
        return add(
            made,
            q.PROBE_RECALL,
            [[0.0] * 10, *([0.9] * 9 + [r] for r in recalls)],
        )

    @pytest.mark.parametrize(
        ("recalls", "count", "expected"),
        [
            ([0.0] * 10, progress._FEWEST, ["never"]),
            ([0.0] * 10, progress._FEWEST - 1, []),
            ([0.5] * 8 + [0.0] * 2, 10, ["never"]),
            ([0.0] * 8 + [0.1, 0.0], 10, []),
            ([0.0] * 9 + [0.1], 10, []),
        ],
    )
    def test_a_class(self, recalls, count, expected):
        assert found("class_collapse", self.of(recalls, count)) == expected

    @pytest.mark.parametrize(
        ("epochs", "steps", "expected"),
        [(4, 74, []), (4, 75, ["never"]), (5, 1, ["never"])],
    )
    def test_a_run_that_has_hardly_begun(self, epochs, steps, expected):
        made = self.of(
            [0.0] * epochs,
            losses=WELL[-epochs:],
            epochs=epochs,
            steps_per_epoch=steps,
        )
        assert found("class_collapse", made) == expected

    def test_it_only_informs_at_the_end(self):
        made = self.of([0.0] * 8, losses=WELL[:8])
        assert found("class_collapse", made) == []
        (finding,) = findings("class_collapse", self.of([0.0] * 10))
        assert finding.severity == "info"
        assert finding.evidence[0].value == "9"


class TestCodesThatSayNothing:
    """Without labels, and with a custom `train_step`."""

    @staticmethod
    def of(spreads, shape=(20,), losses=WELL, loss=None, **facts):
        own = {"own_step": ["train_step"]} | facts
        made = run(
            [head(loss=loss, kind="other", units=20, shape=[None, *shape])],
            [entry(std=0.5)],
            [],
            losses,
            **own,
        )
        return add(made, q.PREDICTION_SPREAD, spreads)

    @pytest.mark.parametrize(
        ("spread", "facts", "expected"),
        [
            (0.0049, {}, [""]),
            (0.0051, {}, []),
            (0.0, {"shape": (19,)}, []),  # a critic, say
            (0.0, {"own_step": []}, []),
            (0.0, {"losses": WELL[:4]}, []),
        ],
    )
    def test_all_are_rebuilt_alike(self, spread, facts, expected):
        made = self.of([0.3] + [spread] * 10, **facts)
        assert found("constant_predictions", made) == expected
