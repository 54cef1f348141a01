"""The page about the doctor lists the rules that there are."""

import pathlib
import re
import sys

import pytest

from keras_concepts.rules import Rule, markdown_table
from keras_concepts.rules.rule import RULES

DOCS = pathlib.Path(__file__).parents[3] / "docs"


def _function(t):
    """Finds what is wrong.

    With a long explanation.
    """
    yield from ()


def test_the_page_lists_all_rules():
    text = (DOCS / "doctor.md").read_text(encoding="utf-8")
    [table] = re.findall(
        r"^<!-- rules -->\n(.*)\n<!-- end of rules -->$", text, re.M | re.S
    )
    assert table == markdown_table(), (
        "Put what keras_concepts.rules.markdown_table() returns between "
        "the two comments in docs/doctor.md."
    )


def test_a_line_per_rule(monkeypatch):
    made = [
        Rule("b", _function, "error", "why", "", "", bool, bool),
        Rule(
            "a", _function, "info", "why", "signals.md", "a probe", bool, bool
        ),
        Rule(
            "b", _function, "error", "why", "doctor.md#b", "labels", bool, bool
        ),
    ]
    module = sys.modules["keras_concepts.rules.rule"]
    monkeypatch.setattr(module, "RULES", made)
    assert markdown_table().splitlines()[2:] == [
        '| <a id="a"></a>`a` | info | Finds what is wrong. | a probe | '
        "[page](signals.md) |",
        '| <a id="b"></a>`b` | error | Finds what is wrong. |  |  |',
        "| `b` | error | Finds what is wrong. | labels |  |",
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rules_say_what_a_reader_needs(rule):
    """A sentence for the table and the summary, and a page that exists."""
    finds = (rule.function.__doc__ or "").partition("\n")[0]
    assert finds.endswith(".")
    assert rule.why.endswith(".")
    file, _, anchor = rule.page.partition("#")
    assert (DOCS / file).is_file()
    text = (DOCS / file).read_text(encoding="utf-8")
    assert not anchor or f'id="{anchor}"' in text or f"# {anchor}" in text
