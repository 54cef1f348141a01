"""What pages show of measurements is what was measured."""

import importlib.util
import json
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
MEASURED = ROOT / "docs" / "measured"


@pytest.fixture(scope="module")
def measured():
    path = MEASURED / "measured.py"
    spec = importlib.util.spec_from_file_location("measured", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["measured"] = module  # as its NamedTuple needs
    spec.loader.exec_module(module)
    yield module
    del sys.modules["measured"]


def test_numbers_are_those_that_were_measured(measured):
    assert measured.mistakes() == []


def of_tests(source):
    """Files of tests that were run, where no benchmark measured."""
    found = json.loads((ROOT / "benchmarks/results" / source).read_text())
    commands = [each["command"] for each in found["measured"].values()]
    assert all(each.startswith("make test") for each in commands)
    return [ROOT / each.partition("ARGS=")[2] for each in commands]


def test_every_measurement_has_its_module(measured):
    for source in measured.known_numbers():
        if source == "benchmarks/reliability":
            assert all(map(pathlib.Path.exists, of_tests("reliability.json")))
            continue
        module = ROOT / f"{source}.py"
        if not source.startswith("benchmarks/"):
            module = ROOT / "docs" / f"{source}.py"
        # The doctor's is a folder.
        assert module.exists() or module.with_suffix("").is_dir(), source


def test_every_module_of_a_page_was_run(measured):
    known = measured.known_numbers()
    for module in (ROOT / "docs").rglob("*.py"):
        if module.with_suffix(".md").exists():
            assert measured.page_name(module) in known


def test_all_figures_of_a_page_have_both_forms():
    images = {path.name for path in (ROOT / "docs").rglob("images/*.png")}
    for light in [name for name in images if not name.endswith("_dark.png")]:
        assert light.endswith("_light.png"), light
        assert light.replace("_light.png", "_dark.png") in images
    text = "".join(
        page.read_text(encoding="utf-8")
        for page in (ROOT / "docs").rglob("*.md")
    )
    for name in images:
        theme = name.removesuffix(".png").rpartition("_")[2]
        assert f"images/{name}#only-{theme})" in text, name


def test_alt_texts_say_what_both_forms_show():
    for page in (ROOT / "docs").rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        found = re.findall(r"!\[(.*?)\]\((\S+?)_(light|dark)\.png", text)
        light, dark = (
            [each[:2] for each in found if each[2] == theme]
            for theme in ("light", "dark")
        )
        assert light == dark
        for alt, _ in light:
            assert len(alt.split()) >= 10, alt


@pytest.fixture
def page(measured, monkeypatch, tmp_path):
    """A page with a number, a table and a block, and what was measured."""
    path = tmp_path / "docs" / "page.md"
    path.parent.mkdir()
    path.write_text(
        "It shrinks (by 0.3<!-- factor -->); 7<!-- speed.torch -->.\n\n"
        "<!-- rows -->\n\n| a | b |\n|---|---|\n| old | 1 |\n\n"
        "<!-- printed -->\n\n```\nold\n```\n"
    )
    known = {
        "page": {
            "_with": "keras",
            "factor": "0.21",
            "rows": [["new", "2"], ["newer", "3"]],
            "printed": "new\nlines\n",
        },
        "speed": {"torch": "1.5"},
    }
    monkeypatch.setattr(measured, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "known_numbers", lambda: known)
    return path


def test_a_page_that_shows_something_else_is_found(measured, page):
    told = measured.mistakes()
    starts = [
        "page shows '0.3' as factor, measured",
        "page shows '7' as speed.torch, measured",
        "page shows '| old | 1 |\\n' as rows, measured",
        "page shows 'old\\n' as printed, measured",
    ]
    for sentence, start in zip(told, starts, strict=True):
        assert start in sentence


def test_a_page_is_filled_in(measured, page):
    measured.fill_in(page, measured.known_numbers())
    assert measured.mistakes() == []
    assert page.read_text() == (
        "It shrinks (by 0.21<!-- factor -->); 1.5<!-- speed.torch -->.\n\n"
        "<!-- rows -->\n\n| a | b |\n|---|---|\n| new | 2 |\n| newer | 3 |\n\n"
        "<!-- printed -->\n\n```\nnew\nlines\n```\n"
    )


def test_one_word_of_a_cell_is_a_number(measured):
    cells = {"columns": ["a"], "rows": {"x": {"a": "**.74** [.60, .84]"}}}
    known = {"benchmarks/b": {"t": cells}}
    found = [
        measured.lookup(known, "page", f"benchmarks/b.t.1.1{word}")
        for word in ("", ".2", ".3")
    ]
    assert found == [".74", ".60", ".84"]


def test_a_number_that_no_page_shows_is_found(measured, page):
    measured.known_numbers()["speed"]["jax"] = "2"
    measured.fill_in(page, measured.known_numbers())
    assert measured.mistakes() == ["No page shows speed.jax."]


def test_settings_are_those_of_the_code(measured, monkeypatch, tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    path = folder / "page.md"
    path.write_text(
        "Twelve<!-- DEPTH --> layers, 900<!-- ROWS --> rows, 5<!-- SHARE --> "
        "%, 2<!-- rules/units._HIGH.percent --> %, -8<!-- BIAS -->, "
        "a<!-- RATE --> rate.\n"
    )
    path.with_suffix(".py").write_text(
        "import numpy as np\nROWS, DEPTH = 1_200, 7\nBIAS = -8.0\n"
        "SHARE = np.array(3)\nLOW, _ = BOTH = (1e-5, 2)\nRATE = LOW * 10\n"
    )
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "units.py").write_text("_HIGH: int = 1\n_HIGH = 0.07")
    monkeypatch.setattr(measured, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "known_numbers", lambda: {"page": {}})
    wrong = measured.mistakes()
    assert len(wrong) == 6
    assert "shows '900' as ROWS, measured was '1,200'" in wrong[1]
    assert "shows '5' as SHARE, measured was None" in wrong[2]
    measured.fill_in(path, measured.known_numbers())
    assert path.read_text() == (
        "Seven<!-- DEPTH --> layers, 1,200<!-- ROWS --> rows, 5<!-- SHARE --> "
        "%, 7<!-- rules/units._HIGH.percent --> %, −8<!-- BIAS -->, "
        "0.0001<!-- RATE --> rate.\n"
    )
