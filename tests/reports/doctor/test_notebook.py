import dataclasses
import html
import re

import pytest

from keras_concepts._documentation import SITE
from keras_concepts.reports import report_of
from keras_concepts.reports.doctor.notebook import verdict_html
from keras_concepts.reports.doctor.verdict import verdict_of
from keras_concepts.rules import Finding, Measured

DEAD = Finding(
    "dead_units",
    "warning",
    "net/hidden",
    (0, 4),
    (1, 10),
    evidence=(Measured("share of dead units", 0.75, 0.5),),
    why="Dead units learn nothing.",
    advice="Lower the learning rate.",
    code="keras.optimizers.Adam(1e-3)",
    page="monitors/signal_monitor.md",
)
STUCK = Finding(
    *("no_progress", "warning", "", (3, 40), (3, 40)), because_of="dead_units"
)


def _text(page):
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    page = re.sub(r"</(p|li|pre)>", "\n", page)
    return html.unescape(re.sub("<[^>]+>", "", page))


def test_a_problem_and_what_it_leads_to():
    text = _text(verdict_html(verdict_of([DEAD, STUCK], unchecked=["a"])))
    assert [line.strip() for line in text.split("\n") if line.strip()] == [
        "1 problem found.",
        "Warning dead_units in net/hidden, since epoch 1 (noticed in epoch 2)",
        "Dead units learn nothing.",
        "Measured: share of dead units 0.75 (threshold 0.5)",
        "Change: Lower the learning rate.",
        "keras.optimizers.Adam(1e-3)",
        "Leads to:",
        "no_progress, since epoch 4",
        "Read more",
        "Not checked: a.",
    ]


def test_a_problem_links_to_its_page_on_the_site():
    page = verdict_html(verdict_of([DEAD]))
    [link] = re.findall(r'<a href="([^"]*)">', page)
    assert link == f"{SITE}monitors/signal_monitor/"
    hostile = dataclasses.replace(DEAD, page="javascript://%0aalert(1)")
    assert "<a" not in verdict_html(verdict_of([hostile]))


def test_most_problems_are_not_all():
    others = [dataclasses.replace(DEAD, owner=f"net/{i}") for i in range(5)]
    page = verdict_html(verdict_of(others), most=2)
    assert page.count("kc-badge kc-warning") == 2
    assert "3 more are left out." in page


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "&lt;", "[red]$x$", '"\n\x1b[31m']
)
def test_names_are_shown_as_they_are(name):
    finding = dataclasses.replace(
        DEAD,
        owner=name,
        why=name,
        advice=name,
        code=name,
        evidence=(Measured(name, name),),
    )
    page = verdict_html(verdict_of([finding]))
    tags = set(re.findall(r"<(/?\w+)", page))
    plain = verdict_html(verdict_of([DEAD]))
    assert tags == set(re.findall(r"<(/?\w+)", plain))
    shown = name.replace("\n", r"\n").replace("\x1b", r"\x1b")
    assert _text(page).count(shown) == 6


def test_no_line_is_wider_than_the_page():
    page = verdict_html(verdict_of([DEAD]))
    assert "overflow-wrap:anywhere" in page
    assert "white-space:pre-wrap" in page


def test_the_figure_fits_the_page(record_course):
    page = report_of("TrainingDoctor").html(record_course([(0.5,)] * 2))
    assert page.startswith('<div class="kc-doctor">')
    assert re.search('<img alt="[^"]+ in 2 epochs." style="max-width: 1', page)
