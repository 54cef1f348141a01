"""The concept pages: their code runs, their numbers are those measured."""

import json
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGES = ROOT / "docs" / "concepts"
MEASURED = ROOT / "docs" / "measured"
CONCEPTS = tuple(
    page.removeprefix("concepts/")
    for page in json.loads((MEASURED / "numbers.json").read_text())
    if page.startswith("concepts/")
)
PARTS = (
    "See it in training",
    "What the measurement does not confirm",
    "What the doctor looks for",
    "Sources",
)


def text_of(concept):
    return (PAGES / f"{concept}.md").read_text(encoding="utf-8")


def test_every_concept_has_its_page():
    assert len(CONCEPTS) == 13
    pages = {page.stem for page in PAGES.glob("*.md")}
    assert pages - {"index"} == set(CONCEPTS)


@pytest.mark.parametrize("concept", CONCEPTS)
def test_parts(concept):
    text = text_of(concept)
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == PARTS
    assert text.count("```python") == 1
    assert text.count("$$") >= 2
    for theme in ("light", "dark"):
        image = f"images/{concept}_{theme}.png"
        assert f"]({image}#only-{theme})" in text
        assert (PAGES / image).exists()


@pytest.mark.parametrize("concept", CONCEPTS)
def test_code_runs(concept, capsys):
    [code] = re.findall(r"```python\n(.+?)```", text_of(concept), re.DOTALL)
    code = re.sub(r"epochs=\d+", "epochs=1", code)
    exec(compile(code, f"{concept}.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.strip()


@pytest.mark.parametrize("concept", CONCEPTS)
def test_rules_exist(concept):
    from keras_concepts import rules

    text = text_of(concept)
    start = text.index("## What the doctor looks for")
    section = text[start : text.index("## Sources")]
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", section))
    known = set(re.findall(r"`(\w+)`", rules.markdown_table()))
    assert named & known
    assert named <= known
