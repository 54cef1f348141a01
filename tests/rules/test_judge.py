import warnings

import pytest

import keras_concepts as kc
from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.judge import Judge, diagnose, in_order
from keras_concepts.rules.rule import RULES, Rule
from keras_concepts.rules.training import ENDED
from rule_facts import (
    STEPS,
    STUCK,
    WELL,
    add,
    classes,
    entry,
    head,
    kernel,
    layer,
    log,
    run,
)


def high_loss(t):
    """A loss above 1 in the last epoch, with the epoch since which it is."""
    loss = t.logs("loss")
    if loss and loss.values[-1] > 1.0:
        yield Evidence(
            "",
            loss.since(loss.values > 1.0),
            (Measured("loss", float(loss.values[-1]), 1.0),),
            "Lower it.",
        )


def made(name, function, known=lambda t: True, meant=lambda t: True):
    return Rule(name, function, "warning", "why", "", "luck", known, meant)


def judged(losses, *rules):
    """A judge that has judged after each epoch, and what it found new."""
    recording = run()
    judge = Judge(recording, rules=rules or [made("high", high_loss)])
    new = []
    for epoch, loss in enumerate(losses):
        step = STEPS * (epoch + 1)
        recording.append(epoch, "loss", q.LOG, step, loss)
        new.append([each.rule for each in judge.check((epoch, step))])
    return judge, new


class TestLife:
    def test_new_and_continuing(self):
        judge, new = judged([0.5, 2.0, 3.0])
        assert new == [[], ["high"], []]
        (finding,) = judge.findings
        assert (finding.since, finding.noticed) == ((1, 20), (1, 20))
        assert finding.resolved is None
        # The evidence is that of the last check.
        assert finding.evidence[0].value == 3.0

    def test_noticed_later_than_it_began(self):
        def late(t):
            if len(t.logs("loss").values) > 2:
                yield from high_loss(t)

        judge, _ = judged([2.0, 2.0, 2.0], made("high", late))
        (finding,) = judge.findings
        assert (finding.since, finding.noticed) == ((0, 10), (2, 30))

    def test_withdrawn(self):
        judge, _ = judged([2.0, 0.5, 0.5])
        (finding,) = judge.findings
        assert finding.resolved == (1, 20)
        assert finding.noticed == (0, 10)

    def test_reappearing(self):
        judge, new = judged([2.0, 0.5, 2.0])
        (finding,) = judge.findings
        assert finding.resolved is None
        # It is the same finding, and not reported a second time.
        assert finding.since == finding.noticed == (0, 10)
        assert new == [["high"], [], []]

    def test_variants_and_parts_are_findings_of_their_own(self):
        def two(t):
            for part in "ab":
                yield Evidence("x", (0, 0), (), "", part=part)
            if len(t.logs("loss").values) == 1:
                yield Evidence("x", (0, 0), (), "", variant="v")

        judge, new = judged([1.0, 1.0], made("two", two))
        assert new == [["two"] * 3, []]
        resolved = {each.variant: each.resolved for each in judge.findings}
        assert resolved == {"": None, "v": (1, 20)}


class TestUnknown:
    def test_it_is_named(self):
        rule = made("high", high_loss, known=lambda t: False)
        judge, new = judged([2.0], rule)
        assert new == [[]]
        assert judge.unchecked == ["high: luck"]
        assert judge.checked == []

    def test_it_is_not_withdrawn(self):
        """Without further checks, it is not known that it is over."""
        rule = made(
            "high", high_loss, known=lambda t: len(t.logs("loss").values) < 2
        )
        judge, _ = judged([2.0, 0.1], rule)
        assert judge.findings[0].resolved is None

    def test_one_of_two_rules_of_a_name(self):
        """A finding of the other one is withdrawn."""
        unknown = made("high", high_loss, known=lambda t: False)
        judge, _ = judged([2.0, 0.5], made("high", high_loss), unknown)
        assert judge.findings[0].resolved == (1, 20)

    def test_what_is_not_meant_is_neither_checked_nor_missed(self):
        rule = made("high", high_loss, meant=lambda t: False)
        judge, new = judged([2.0], rule)
        assert (new, judge.checked, judge.unchecked) == ([[]], [], [])


def broken(t):
    yield Evidence("", (0, 0), (), "")
    raise KeyError("what")


class TestRulesThatRaise:
    @pytest.mark.parametrize(
        "rule",
        [
            made("broken", broken),
            made("broken", high_loss, known=lambda t: t.facts["no"]),
            made("broken", high_loss, meant=lambda t: t.facts["no"]),
        ],
    )
    def test_no_other_is_silenced(self, rule):
        with pytest.warns(UserWarning, match="The rule broken failed"):
            judge, new = judged([2.0], rule, made("high", high_loss))
        assert new == [["high"]]
        (text,) = judge.unchecked
        assert text.startswith("broken failed (KeyError: ")
        assert judge.checked == ["high"]

    def test_what_they_found_before_is_not_withdrawn(self):
        def later(t):
            yield from high_loss(t)
            if len(t.logs("loss").values) > 1:
                raise ValueError("no")

        with pytest.warns(UserWarning, match="high failed"):
            judge, _ = judged([2.0, 0.5], made("high", later))
        assert judge.findings[0].resolved is None


def healthy(t):
    yield from ()


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"layers": None, "heads": None, "data": None, "fit": None},
        {"epochs": None, "optimizer": None, "variables": []},
        {"epochs": 5, "steps_per_epoch": None, "checks": {}},
        {"epochs": 5, "is_preflight": True, "checks": {"batch": None}},
    ],
)
@pytest.mark.parametrize("losses", [[], [1.0], [1.0, float("nan")], STUCK])
def test_no_rule_fails_on_missing_facts(facts, losses):
    recording = Recording(
        facts={k: v for k, v in facts.items() if v is not None}
    )
    _ = log(recording, "loss", losses)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _ = Judge(recording).check((9, 100))
        _ = diagnose(recording)


def full_recording(values):
    """Rows of every quantity that the doctor knows, each check the same."""
    path = "model/dense/kernel"
    recording = run(
        [head()],
        [entry()],
        [classes()],
        variables=[kernel(path, regularizer={"class": "L2"})],
        layers=[
            layer("Functional", "model"),
            layer("Dense", "model/dense", activation="relu"),
            layer("BatchNormalization", "model/bn", momentum=0.99),
            layer("LSTM", "model/lstm"),
            layer("Dropout", "model/dropout", rate=0.9),
        ],
        fit={"class_weight": {"0": 1.0}},
        steps_per_epoch=10,
        masks=[],
        validation={
            "rows": 100,
            "overlap": 0.0,
            "repeated": 0.0,
            "targets": [{"output": "", "shares": [0.1] * 10}],
        },
    )
    for epoch in range(-1, 6):
        step = STEPS * (epoch + 1)
        for name, quantity in q.QUANTITIES.items():
            if quantity in (q.CHECKED, q.LOG):
                continue
            owners = [""]
            if quantity.owner == "layer":
                owners = ["model/dense", "model/bn", "model/lstm"]
            elif quantity.owner == "variable":
                owners = [path]
            for owner in owners:
                index = range(len(values)) if quantity.indexed_by else None
                given = values if quantity.indexed_by else values[0]
                recording.append(epoch, owner, name, step, given, index=index)
        if epoch >= 0:
            for key in ("loss", "val_loss", "accuracy"):
                recording.append(epoch, key, q.LOG, step, values[0])
        recording.append(epoch, "", q.CHECKED, step, 1.0)
    return recording


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 1e30])
@pytest.mark.parametrize("other", [0.0, float("nan"), float("inf")])
def test_no_rule_fails_on_any_number(value, other):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values in ([value, other], [other, value]):
            _ = diagnose(full_recording(values))


def unchecked_in_training(recording):
    judge = Judge(recording)
    judge.replay()
    return {each.partition(":")[0] for each in judge.unchecked}


def test_a_training_run_does_not_miss_a_preflight():
    recording = run([head()], [entry()], [classes()], STUCK)
    _ = add(recording, q.DISTANCE_RMS, [0.0] * 11, "model/dense/kernel")
    missed = unchecked_in_training(recording)
    assert not missed & {"no_progress", "untrained_variable"}


def test_no_progress_is_withdrawn():
    """A plateau that ends after half of the epochs."""
    losses = [2.3] * 11 + [1.5, 1.0, 0.5, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1]
    recording = run([head()], [entry()], [classes()], losses, epochs=20)
    found = {each.rule: each for each in diagnose(recording)}
    assert found["no_progress"].noticed == (9, 100)
    assert found["no_progress"].resolved is not None


class TestReplay:
    def recordings(self, losses=STUCK):
        live = run([head()], [entry()], [classes()])
        judge = Judge(live)
        for epoch, loss in enumerate(losses):
            step = STEPS * (epoch + 1)
            live.append(epoch, "loss", q.LOG, step, loss)
            spread = 0.5 if epoch == 3 else 0.001
            live.append(epoch, "", q.PREDICTION_SPREAD, step, spread)
            mark = ENDED if epoch + 1 == len(losses) else 1.0
            live.append(epoch, "", q.CHECKED, step, mark)
            _ = judge.check((epoch, step))
        return live, judge

    @pytest.mark.parametrize("losses", [STUCK, STUCK[:3], WELL])
    def test_it_equals_what_was_said_live(self, losses):
        live, judge = self.recordings(losses)
        assert diagnose(live) == judge.findings
        assert bool(judge.findings) == (losses is not WELL)

    def test_through_a_file(self, tmp_path):
        live, judge = self.recordings()
        path = tmp_path / "run.jsonl"
        with Recording(path, monitor="TrainingDoctor", facts=live.facts) as one:
            for each in live:
                one.append(
                    each.epoch,
                    each.owner,
                    each.quantity,
                    each.steps,
                    each.values,
                    monitor=each.monitor,
                )
        loaded = kc.Recording.load(path)
        assert kc.diagnose(loaded) == judge.findings

    def test_without_a_doctor_epochs_are_judged(self):
        live, judge = self.recordings()
        others = live._with(s for s in live if s.quantity != q.CHECKED)
        noticed = [(each.rule, each.noticed) for each in diagnose(others)]
        assert noticed == [(each.rule, each.noticed) for each in judge.findings]

    def test_of_a_run(self):
        recording = run([head()], [entry()], [classes()], STUCK)
        recording.run = 1
        recording._runs[1] = type(recording.runs[0])(1)
        assert diagnose(recording) == []
        assert diagnose(recording, run=0)


def test_findings_can_be_written_as_json():
    for finding in TestReplay().recordings()[1].findings:
        fields = finding.to_json()
        assert type(finding).from_json(fields) == finding


def test_the_rules_of_the_design_are_there():
    names = {each.name for each in RULES}
    assert names >= {
        "batch_norm_shift",
        "class_collapse",
        "class_weights",
        "constant_input",
        "constant_predictions",
        "dead_units",
        "degenerate_target",
        "exploding_gradient",
        "frozen_body",
        "head_loss_mismatch",
        "heavy_dropout",
        "initial_loss",
        "label_mismatch",
        "lost_mask",
        "metric_disagrees",
        "no_progress",
        "non_finite",
        "oscillating_loss",
        "overfitting",
        "penalty_dominates",
        "saturated_units",
        "short_memory",
        "sorted_labels",
        "symmetric_init",
        "unscaled_input",
        "unscaled_target",
        "untrained_variable",
        "update_ratio",
        "validation_overlap",
        "vanishing_gradient",
    }


def test_in_order_has_each_once():
    findings = TestReplay().recordings()[1].findings
    assert sorted(in_order(findings), key=str) == sorted(findings, key=str)
