import pathlib
import re

import pytest

from keras_concepts.rules.causes import EFFECTS, cause_of, reached
from keras_concepts.rules.finding import Finding
from keras_concepts.rules.judge import in_order
from keras_concepts.rules.rule import RULES

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def finding(rule, since=(0, 0), noticed=(0, 0), **fields):
    severity = fields.pop("severity", "warning")
    return Finding(rule, severity, "", since, noticed, **fields)


def explained(*findings):
    """Rule of the cause of each."""
    causes = {each.rule: cause_of(each, findings) for each in findings}
    return {
        rule: None if cause is None else cause.rule
        for rule, cause in causes.items()
    }


def ordered(*findings):
    """The order in which they are reported."""
    causes = [cause_of(each, findings) for each in findings]
    known = [
        Finding(
            **{
                **vars(each),
                "because_of": None if cause is None else cause.rule,
            }
        )
        for each, cause in zip(findings, causes, strict=True)
    ]
    return [each.rule for each in in_order(known)]


def test_the_graph_has_no_circle():
    for cause in EFFECTS:
        assert cause not in reached(cause), cause


def test_every_rule_is_in_the_graph():
    names = {place.partition(":")[0] for place in EFFECTS}
    assert {rule.name for rule in RULES} <= names


def test_the_graph_holds_nothing_but_rules():
    names = {rule.name for rule in RULES}
    places = {*EFFECTS, *(e for effects in EFFECTS.values() for e in effects)}
    assert {place.partition(":")[0] for place in places} <= names


def test_effects_have_a_place():
    """A variant has a place of its own, or none of its rule's has."""
    for cause, effects in EFFECTS.items():
        assert len(set(effects)) == len(effects), cause
        assert set(effects) <= set(EFFECTS), cause


def test_unscaled_inputs_that_kill_units_are_one_problem():
    findings = [
        finding("no_progress", (3, 30), (5, 60)),
        finding("vanishing_gradient", (1, 20), (4, 50)),
        finding("dead_units", (0, 10), (2, 30)),
        finding("unscaled_input", (0, 0), (2, 30)),
    ]
    assert explained(*findings) == {
        "unscaled_input": None,
        "dead_units": "unscaled_input",
        "vanishing_gradient": "dead_units",
        "no_progress": "vanishing_gradient",
    }
    assert ordered(*findings) == [
        "unscaled_input",
        "dead_units",
        "vanishing_gradient",
        "no_progress",
    ]


def test_what_is_unrelated_is_two_problems():
    overlap = finding("validation_overlap")
    assert explained(overlap, finding("overfitting")) == {
        "validation_overlap": None,
        "overfitting": None,
    }


def test_opposite_variants_have_causes_of_their_own():
    dead = finding("dead_units")
    high = finding("update_ratio", variant="high")
    low = finding("update_ratio", variant="low")
    assert cause_of(dead, [dead, high]) is high
    assert cause_of(dead, [dead, low]) is None
    vanishing = finding("vanishing_gradient")
    assert cause_of(low, [low, vanishing]) is vanishing
    assert cause_of(high, [high, vanishing]) is None


def test_nan_in_the_data_is_one_problem():
    data = finding("non_finite", variant="data", severity="error")
    spread = finding("non_finite", (0, 3), (0, 10), severity="error")
    assert cause_of(spread, [data, spread]) is data
    assert cause_of(data, [data, spread]) is None


def test_what_only_informs_explains_nothing():
    short = finding("short_memory", severity="info")
    stuck = finding("no_progress")
    assert cause_of(stuck, [short, stuck]) is None


@pytest.mark.parametrize(
    ("resolved", "is_cause"), [(None, True), ((2, 20), False), ((4, 50), True)]
)
def test_a_cause_must_have_been_there(resolved, is_cause):
    cause = finding("dead_units", resolved=resolved)
    effect = finding("no_progress", (2, 20), (3, 40))
    assert (cause_of(effect, [cause, effect]) is cause) == is_cause


def test_errors_come_before_warnings_and_what_is_over_last():
    assert ordered(
        finding("overfitting", resolved=(1, 1), severity="error"),
        finding("validation_overlap"),
        finding("non_finite", severity="error"),
    ) == ["non_finite", "validation_overlap", "overfitting"]


def anchors(page):
    """Of a page: its headings as GitHub names them, and `<a id>`."""
    text = (DOCS / page).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    named = {
        re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-")
        for each in headings
    }
    return named | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_page_explains_the_concept(rule):
    page, _, anchor = rule.page.partition("#")
    assert (DOCS / page).is_file(), f"docs/{page}"
    assert not anchor or anchor in anchors(page), rule.page


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_says_what_it_finds_and_where_it_may_be_wrong(rule):
    text = " ".join(rule.function.__doc__.split())
    assert rule.why.endswith(".")
    assert rule.function.__doc__.partition("\n")[0].endswith((".", ":"))
    certain = rule.name in ("short_memory",)
    assert certain or "Known false alarm" in text
