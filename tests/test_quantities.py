"""The vocabulary, and that nothing is recorded or drawn past it."""

import ast
import copy
import pathlib
import pickle
import typing

import pytest

from keras_concepts import quantities as q

PACKAGE = pathlib.Path(q.__file__).parent
# Where quantities are measured, recorded and drawn. Parts have arguments that
# bear the same words.
FOLDERS = ("callbacks", "instruments", "reports")
# Words that mean something else there, too: attributes of Keras' layers and
# optimizers, and keys of the logs.
WORDS = {
    "callbacks/_run_log.py": {"learning_rate"},
    "callbacks/batch_norm_shift_monitor.py": {"batch_norm_shift"},
    "callbacks/gradient_monitor.py": {"gradient_norm"},
    "callbacks/penalty_reporter.py": {"penalty", "penalty_share"},
    "callbacks/signal_monitor.py": {
        "error_attenuation",
        "memory_horizon",
        "saturated_units",
    },
    "instruments/data/array_facts.py": {"units"},
    "instruments/data/batch_facts.py": {"units"},
    "instruments/data/constant_loss.py": {"units"},
    "instruments/data/labels.py": {"units"},
    "instruments/data/target_statistics.py": {"units"},
    "instruments/facts.py": {"units"},
    "instruments/heads.py": {"units"},
    "instruments/non_finite/fault.py": {"penalty"},
    "reports/doctor/curves.py": {"batch_norm_shift", "saturated_units"},
    "reports/doctor/panels.py": {"log"},
    "reports/gradients/curves.py": {"log"},
    "instruments/step/capture_updates.py": {"learning_rate"},
    "reports/html/chart.py": {"log"},
    "reports/html/differences.py": {"frozen", "units"},
    "reports/html/lines.py": {"log"},
    "reports/html/losses.py": {"penalty"},
    "reports/html/page.py": {"checked"},
    "reports/html/problems.py": {"log"},
    "reports/html/sections.py": {"units"},
}


def test_one_name_has_one_meaning():
    constants = {
        name: value
        for name, value in vars(q).items()
        if isinstance(value, q.Quantity)
    }
    assert {name.lower() for name in constants} == set(q.QUANTITIES)
    for name, quantity in constants.items():
        assert quantity == name.lower()
        assert q.QUANTITIES[quantity] is quantity
    assert not set(q.RENAMED) & set(q.QUANTITIES)


@pytest.mark.parametrize("quantity", q.QUANTITIES.values())
def test_says_what_it_means(quantity):
    assert quantity.owner in typing.get_args(q.Owner)
    assert quantity.cadence in typing.get_args(q.Cadence)
    assert quantity.indexed_by in ("", "unit", "channel", "class", "lag")
    assert quantity.better in ("", "lower", "higher")
    assert quantity.of_run in ("", "sum", "largest")
    assert quantity.label
    assert quantity.meaning
    assert not quantity.meaning.endswith(".")
    # A row of the run is distinguished from those of owners by its empty owner.
    assert not (quantity.of_run and quantity.owner == "run")


def test_copies_know_it_too():
    for same in (
        copy.deepcopy(q.GRADIENT_RMS),
        pickle.loads(pickle.dumps(q.GRADIENT_RMS)),
    ):
        assert same is q.GRADIENT_RMS


def test_described():
    assert q.described("gradient_rms") is q.GRADIENT_RMS
    assert q.described("user/colour").label == "colour"
    with pytest.raises(ValueError, match=r"`quantity` must be .*'colour'"):
        q.described("colour")


def test_concept_of():
    for name in ("SignalMonitor", "SignalMonitor (2)"):
        concept = q.concept_of(name)
        assert concept is not None
        assert concept.name == "signals"
    assert q.concept_of("Signal") is None


def test_markdown_table_has_a_line_for_each():
    lines = q.markdown_table("BatchNormShiftMonitor").splitlines()
    assert len(lines) == 2 + 10
    assert lines[2].startswith("| `mean_shift` | layer, by channel | epoch | ")
    assert " | epoch | largest | median over" in lines[4]


def _bare_strings(path):
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    file = path.relative_to(PACKAGE).as_posix()
    return [
        f"{file}:{node.lineno}: {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and id(node) not in docstrings
        and node.value in set(q.QUANTITIES) - WORDS.get(file, set())
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_quantity_is_a_bare_string(folder):
    found = [
        place
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        for place in _bare_strings(path)
    ]
    assert found == []


@pytest.mark.parametrize(
    "concept", [c for c in q.CONCEPTS if c.name != q.FIT], ids=lambda c: c.name
)
def test_monitors_document_what_they_record(concept):
    """Read as text: the monitors themselves need Keras."""
    [source] = [
        path.read_text()
        for path in (PACKAGE / "callbacks").glob("*.py")
        if f"class {concept.monitor}(" in path.read_text()
    ]
    tree = ast.parse(source)
    [documentation] = [
        ast.get_docstring(node) or ""
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == concept.monitor
    ]
    missing = [x for x in concept.quantities if f"`{x}`" not in documentation]
    assert missing == []
