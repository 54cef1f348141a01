import xml.etree.ElementTree as ET

import numpy as np
import pytest

from keras_concepts.reports.html.chart import power_label, shown, thinned
from keras_concepts.reports.html.lines import course
from keras_concepts.reports.html.svg import drawing, new_figure, svg_of
from keras_concepts.rules.training import Curve


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (12.0, "12"),
        (-3.25, "−3.25"),
        (1234.5, "1,234"),
        (0.00012345, "0.000123"),
        (1.5e-10, "1.5e-10"),
        (-2e-7, "−2e-7"),
        (3e20, "3e20"),
        (np.nan, "NaN"),
        (np.inf, "infinite"),
        (-np.inf, "−infinite"),
    ],
)
def test_numbers(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (0.01, "0.01"),
        (5000.0, "5000"),
        (1e-3, "10⁻³"),
        (2e-4, "2·10⁻⁴"),
        (1e12, "10¹²"),
        (0.0, "0"),
    ],
)
def test_labels(value, text):
    assert power_label(value) == text


def test_thinned():
    assert thinned(3, 5) == [0, 1, 2]
    assert thinned(100, 5) == [0, 25, 50, 74, 99]


def _curve(*values):
    count = len(values)
    epochs = np.arange(count)
    return Curve(epochs, 10 * epochs + 10, np.array(values), epochs * 0 - 1)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((3.0, 2.0, 1.0), "x goes from 3 in epoch 1 to 1 in epoch 3"),
        ((1.0, 9.0, 2.0), "x goes from 1 in epoch 1, up to 9 in epoch 2, to 2"),
        ((2.0, 0.5, 3.0), "x goes from 2 in epoch 1, down to 0.5 in epoch 2,"),
        ((2.0, 2.0), "x is 2 throughout"),
        ((2.0001, 2.0002, 2.0), "x is about 2 throughout"),
        ((2.0, np.nan, np.nan), "x is NaN in epoch 2, after 2 at first and 2"),
        ((np.inf,), "x is infinite in epoch 1"),
    ],
)
def test_course(values, text):
    assert course("x", _curve(*values)).startswith(text)


@pytest.fixture
def svg():
    _ = pytest.importorskip("matplotlib")
    with drawing():
        figure = new_figure(100.0)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], "o-", color="#0072b2", label="#0072b2")
        axes.set_title("#0072b2 <b> url(#a) \ud800")
        return svg_of(figure, "name", "a < b", "c & d")


def test_colours_are_variables(svg):
    root = ET.fromstring(svg)
    styles = [each.get("style", "") for each in root.iter()]
    assert any("stroke: var(--blue)" in style for style in styles)
    assert any("var(--ink)" in style for style in styles)
    assert not any("#" in style for style in styles)
    assert not any("font-family" in style for style in styles)


def test_text_stays_text(svg):
    root = ET.fromstring(svg)
    texts = [each.text for each in root.iter("text")]
    assert r"#0072b2 <b> url(#a) \ud800" in texts
    assert [each.text for each in root.iter("title")] == ["a < b"]
    assert [each.text for each in root.iter("desc")] == ["c & d"]


def test_identifiers_begin_with_the_name(svg):
    root = ET.fromstring(svg)
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert ids
    assert len(ids) == len(set(ids))
    assert all(each.startswith("name-") for each in ids)
    used = [each.get("href") for each in root.iter("use")]
    assert {each.removeprefix("#") for each in used} <= set(ids)
