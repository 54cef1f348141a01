import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import gradients
from rule_facts import (
    STEPS,
    STUCK,
    WELL,
    add,
    classes,
    findings,
    found,
    head,
    kernel,
    layer,
    numbers,
    regression,
    run,
)

LAYERS = ["m/a", "m/b", "m/c"]


def recording(losses=STUCK, **facts):
    facts = {"layers": [layer(path=path) for path in LAYERS]} | facts
    return run([head()], [], [classes()], losses, **facts)


def with_errors(made, ratios, layers=LAYERS):
    """Error signals whose first is a share of the last, per check."""
    for path in layers[1:]:
        _ = add(made, q.ERROR_RMS, [1.0] * len(ratios), path)
    rows = made._series
    first = len(rows)
    _ = add(made, q.ERROR_RMS, ratios, layers[0])
    made._series[:] = rows[first:] + rows[:first]  # in the order of calls
    return made


SMALL, LARGE = 0.99 * gradients.VANISHING, 1.01 * gradients.VANISHING


class TestVanishing:
    @pytest.mark.parametrize(
        ("ratios", "losses", "expected"),
        [
            ([SMALL] * 11, STUCK, [""]),
            ([LARGE] * 11, STUCK, []),
            # A deep network of sigmoids that takes off late.
            ([SMALL] * 11, WELL, []),
            ([SMALL] * 8 + [LARGE] + [SMALL] * 2, STUCK, []),
            ([SMALL] * 7 + [LARGE] + [SMALL] * 3, STUCK, [""]),
            # A gradient that is cut off is another fault.
            ([0.0] * 11, STUCK, []),
            ([np.nan] * 11, STUCK, []),
        ],
    )
    def test_first_over_last(self, ratios, losses, expected):
        made = with_errors(recording(losses), ratios)
        assert found("vanishing_gradient", made) == expected

    def test_since_and_owner(self):
        ratios = [LARGE, SMALL, LARGE, *[SMALL] * 8]
        made = with_errors(recording(), ratios)
        (finding,) = findings("vanishing_gradient", made)
        assert finding.owner == "m/a"
        assert finding.since == (2, 30)

    def test_two_layers_are_not_deep(self):
        made = with_errors(recording(), [SMALL] * 11, LAYERS[:2])
        assert found("vanishing_gradient", made) == []

    def test_a_branch_is_not_the_first_layer(self):
        """Residual paths carry the signal past it."""
        made = recording()
        _ = add(made, q.ERROR_RMS, [1.0] * 11, "m/a")
        _ = add(made, q.ERROR_RMS, [SMALL] * 11, "m/b")
        _ = add(made, q.ERROR_RMS, [1.0] * 11, "m/c")
        assert found("vanishing_gradient", made) == []

    def test_without_a_last_error(self):
        made = recording()
        for path in LAYERS:
            _ = add(made, q.ERROR_RMS, [0.0] * 11, path)
        assert found("vanishing_gradient", made) == []


def with_steps(made, update, weight, path="m/a/kernel"):
    steps = range(len(update))
    made.append(0, path, q.UPDATE_RMS, steps, update)
    made.append(0, path, q.WEIGHT_RMS, steps, weight)
    return made


FAR, NEAR = 1.01 * gradients.JUMP, 0.99 * gradients.JUMP
KERNELS = [kernel("m/a/kernel"), kernel("m/b/kernel")]


class TestExploding:
    @pytest.mark.parametrize(
        ("update", "losses", "expected"),
        [
            ([0.1, FAR, 0.1], STUCK, [""]),
            ([0.1, NEAR, 0.1], STUCK, []),
            ([0.1, FAR, 0.1], WELL, []),
            ([0.1, np.nan, 0.1], STUCK, []),
        ],
    )
    def test_one_step(self, update, losses, expected):
        made = recording(losses, variables=KERNELS)
        made = with_steps(made, update, [1.0] * 3)
        assert found("exploding_gradient", made) == expected

    @pytest.mark.parametrize(
        ("first", "losses", "known", "expected"),
        [
            (0.3, [900.0, 9.0, 2.0, 1.0], False, [""]),
            (0.3, [900.0, 9.0, 2.0, 0.2], False, []),
            (1.5, [900.0, 9.0, 2.0, 1.0], False, []),
            (0.3, [900.0, 9.0, 2.0, 1.0], True, []),
            (None, [900.0, 9.0, 2.0, 1.0], False, []),
        ],
    )
    def test_a_loss_without_a_scale_that_only_grew(
        self, first, losses, known, expected
    ):
        """It falls from where the first steps have moved it."""
        target = numbers(constant_loss=1e4 if known else None)
        made = run(
            [regression()], [], [target], losses, epochs=20, variables=KERNELS
        )
        made = with_steps(made, [FAR, 0.1], [1.0] * 2)
        if first is not None:
            made.append(0, "", q.BATCH_LOSS, 0, first)
        assert found("exploding_gradient", made) == expected

    def test_the_first_that_jumps_is_named(self):
        made = recording(variables=KERNELS)
        made = with_steps(made, [0.0, 0.0, FAR], [1.0] * 3)
        made = with_steps(made, [0.0, FAR, 0.0], [1.0] * 3, "m/b/kernel")
        (finding,) = findings("exploding_gradient", made)
        assert (finding.owner, finding.since) == ("m/b/kernel", (0, 1))

    def test_kernels_that_start_at_zero(self):
        made = recording(variables=KERNELS)
        made = with_steps(made, [0.1, 0.1], [0.0, 0.01])
        assert found("exploding_gradient", made) == []

    @pytest.mark.parametrize(("factor", "expected"), [(1.01, [""]), (0.99, [])])
    def test_the_loss_grows(self, factor, expected):
        losses = [0.9] * 9 + [factor * gradients.GROWTH * 0.9]
        made = run([regression()], [], [numbers()], losses)
        assert found("exploding_gradient", made) == expected

    def test_since_when_the_loss_has_grown(self):
        losses = [0.9] * 5 + [9.0, 0.9, *[9.0] * 3]
        made = run([regression()], [], [numbers()], losses)
        (finding,) = findings("exploding_gradient", made)
        assert finding.since == (7, 8 * STEPS)

    def test_a_loss_that_has_come_down_again(self):
        losses = [0.9] * 5 + [9.0] + [0.9] * 4
        made = run([regression()], [], [numbers()], losses)
        assert found("exploding_gradient", made) == []

    def test_a_negative_loss_does_not_explode_by_falling(self):
        """Own losses may be below 0."""
        unknown = numbers(constant_loss=None)
        losses = [-1.0 - n for n in range(10)]
        made = run([regression()], [], [unknown], losses)
        assert found("exploding_gradient", made) == []

    def test_the_number_of_a_negative_loss(self):
        unknown = numbers(constant_loss=None)
        made = run([regression()], [], [unknown], [0.5, -1.0, *[5.0] * 8])
        [finding] = findings("exploding_gradient", made)
        loss, least = finding.evidence
        assert (loss.value, loss.threshold, least.value) == (5.0, 3.0, -1.0)


def with_distances(made, rows):
    for path, distances in rows.items():
        _ = add(made, q.DISTANCE_RMS, distances, path)
    return made


MOVED = [0.0, *[0.1] * 10]
STILL = [0.0] * 11


class TestUntrained:
    @pytest.mark.parametrize(
        ("a", "b", "losses", "owners"),
        [
            (STILL, MOVED, STUCK, ["m/a/kernel"]),
            (STILL, STILL, STUCK, [""]),
            (MOVED, MOVED, STUCK, []),
            # An output without a loss; rows of an embedding.
            (STILL, MOVED, WELL, []),
            ([0.0, *[1e-30] * 10], MOVED, STUCK, []),
        ],
    )
    def test_never_changed(self, a, b, losses, owners):
        made = recording(losses, variables=KERNELS)
        made = with_distances(made, {"m/a/kernel": a, "m/b/kernel": b})
        rules = findings("untrained_variable", made)
        assert [each.owner for each in rules] == owners

    def test_what_is_frozen_may_stay(self):
        frozen = [kernel("m/a/kernel", trainable=False), KERNELS[1]]
        made = recording(variables=frozen)
        made = with_distances(made, {"m/a/kernel": STILL, "m/b/kernel": MOVED})
        assert found("untrained_variable", made) == []

    @pytest.mark.parametrize(
        ("weights", "owners"), [(MOVED, []), (STILL, ["m/a/kernel"])]
    )
    def test_a_bias_may_cancel_out(self, weights, owners):
        bias = kernel("m/a/bias", role=q.VECTOR, shape=[10])
        made = recording(variables=[*KERNELS, bias])
        rows = {"m/a/kernel": weights, "m/b/kernel": MOVED, "m/a/bias": STILL}
        rules = findings("untrained_variable", with_distances(made, rows))
        assert [each.owner for each in rules] == owners

    @pytest.mark.parametrize(
        ("steps", "expected"), [(1, ["rate"]), (100, ["rate"]), (101, ["101"])]
    )
    def test_gradients_that_are_accumulated(self, steps, expected):
        optimizer = {
            "class": "Adam",
            "config": {"gradient_accumulation_steps": steps},
        }
        made = recording(
            variables=KERNELS, optimizer=optimizer, steps_per_epoch=STEPS
        )
        made = with_distances(made, {"m/a/kernel": STILL, "m/b/kernel": STILL})
        [each] = findings("untrained_variable", made)
        assert all(word in each.advice for word in expected)

    def test_before_the_first_update(self):
        optimizer = {"config": {"gradient_accumulation_steps": 60}}
        made = recording(
            variables=KERNELS, optimizer=optimizer, steps_per_epoch=STEPS
        )
        early = {"m/a/kernel": STILL[:6], "m/b/kernel": STILL[:6]}
        assert found("untrained_variable", with_distances(made, early)) == []

    @pytest.mark.parametrize("more", [0, 1])
    def test_enough_steps(self, more):
        """A rate of 0 in warm-up."""
        made = recording(variables=KERNELS)
        made.append(-1, "m/a/kernel", q.DISTANCE_RMS, 0, 0.0)
        steps = gradients._LEAST_STEPS - 1 + more
        made.append(0, "m/a/kernel", q.DISTANCE_RMS, steps, 0.0)
        assert found("untrained_variable", made) == [""] * more

    def test_one_that_has_begun_to_change(self):
        made = recording(variables=KERNELS)
        late = [0.0] * 8 + [0.1] * 3
        made = with_distances(made, {"m/a/kernel": late, "m/b/kernel": MOVED})
        assert found("untrained_variable", made) == []
