"""The pages that show how to extend the package show what works."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")


def _applied(page, folder):
    """Applies the diffs of a page to a copy of package, tests and pages.

    Returns the files that it changes or adds.
    """
    for name in ("keras_concepts", "tests", "docs"):
        ignored = shutil.ignore_patterns("__pycache__", "images")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    diffs = re.findall(r"^```diff\n(.*?)^```$", text, re.M | re.S)
    for diff in diffs:
        done = subprocess.run(
            ["git", "apply", "-"],
            cwd=folder,
            input=diff,
            text=True,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
    return re.findall(r"^\+\+\+ b/(\S+)", "".join(diffs), re.M)


def _run(folder, *arguments):
    done = subprocess.run(
        [*PYTEST, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(autouse=True)
def git():
    if shutil.which("git") is None:
        pytest.skip("needs git to apply a diff")


def test_add_a_monitor(tmp_path):
    changed = _applied("add_a_monitor.md", tmp_path)
    assert len(changed) <= 6
    assert sum((ROOT / name).exists() for name in changed) <= 2
    printed = _run(
        tmp_path,
        "tests/callbacks/test_stalled_weight_monitor.py",
        "tests/test_quantities.py",
        "tests/test_architecture.py",
    )
    assert " passed" in printed


def test_add_a_rule(tmp_path):
    changed = _applied("add_a_rule.md", tmp_path)
    assert sum((ROOT / name).exists() for name in changed) <= 2
    printed = _run(
        tmp_path,
        "tests/rules/test_steps.py",
        "tests/rules/test_causes.py",
        "tests/test_architecture.py",
        "-k",
        "test_steps or test_causes or rules",
    )
    assert int(re.findall(r"(\d+) passed", printed)[0]) > 50


def test_add_a_metric(tmp_path):
    _ = _applied("add_a_metric.md", tmp_path)
    printed = _run(
        tmp_path,
        "tests/metrics/test_geometric_mean.py",
        "keras_concepts/metrics/geometric_mean.py",
        "tests/test_contract.py",
        "-k",
        "geometric_mean or GeometricMean",
    )
    assert int(re.findall(r"(\d+) passed", printed)[0]) > 15
