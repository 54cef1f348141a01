"""What the pages show of measurements, and where it stands in them.

A page shows settings, too, such as the number of epochs. They stand before the
name of a constant in the code: `EPOCHS` of the page's own module, or
`keras_concepts/rules/harm.PATIENCE`.
"""

import ast
import functools
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
NUMBERS = pathlib.Path(__file__).parent / "numbers.json"
BENCHMARKS = ROOT / "benchmarks" / "results"
NAME = r"(?P<name>[\w/.]+)"
PARTS = (
    r"(?:(?P<source>[\w/]+)\.)?(?P<own>[a-z]\w*)"
    r"(?:\.(?P<row>\d+)\.(?P<column>\d+)(?:\.(?P<word>\d+))?)?"
)
CONSTANT = (
    r"(?:(?P<source>[\w/]+)\.)?(?P<own>_?[A-Z][A-Z_\d]*)(?P<percent>\.percent)?"
)
WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight"),
    *("nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen"),
    *("sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
# A number and the comment that names it.
SHOWN = re.compile(rf"(?P<shown>[^\s|(*\[]+)<!-- {NAME} -->")
# The rows of a table, or the lines of a block of code, below their name.
ROWS = re.compile(
    rf"^<!-- {NAME} -->\n\n\|.*\n\|[-:| ]+\n(?P<shown>(?:\|.*\n)*)", re.M
)
LINES = re.compile(
    rf"^<!-- {NAME} -->\n\n```\w*\n(?P<shown>.*?)^```$", re.M | re.S
)
MARKS = SHOWN, ROWS, LINES


class Measured(NamedTuple):
    """What the training runs of a page showed.

    Attributes:
        numbers: As the page prints them, by name: text, or the rows of a table.
        series: What `draw` of the page's module draws.
        pictures: Those that are drawn, without `_light.png` and `_dark.png`, by
            name.
    """

    numbers: dict[str, Any]
    series: Any = None
    pictures: dict[str, pathlib.Path] | None = None


def pages() -> list[pathlib.Path]:
    """All that may show a number."""
    texts = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("README.md")]
    texts += (ROOT / "examples").glob("*.md")
    return sorted(texts)


def page_name(page: pathlib.Path) -> str:
    """Such as `concepts/gradient`, or `README`."""
    docs = ROOT / "docs"
    name = page.relative_to(docs if page.is_relative_to(docs) else ROOT)
    return name.with_suffix("").as_posix()


def known_numbers() -> dict[str, dict[str, Any]]:
    """What was measured, by page or benchmark."""
    found: dict[str, dict[str, Any]] = json.loads(NUMBERS.read_text())
    for file in sorted(BENCHMARKS.glob("*.json")):
        found[f"benchmarks/{file.stem}"] = json.loads(file.read_text())[
            "numbers"
        ]
    return found


@functools.cache
def constants(module: pathlib.Path) -> dict[str, Any]:
    """Numbers that a module names, without importing it."""
    found: dict[str, Any] = {}
    for line in ast.parse(module.read_text(encoding="utf-8")).body:
        if not isinstance(line, ast.Assign):
            continue
        code = compile(ast.Expression(line.value), str(module), "eval")
        try:
            value = eval(code, {"__builtins__": {}}, found)
        except (NameError, AttributeError, TypeError):
            continue  # of the modules that it imports
        for target in line.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            values = value if isinstance(target, ast.Tuple) else [value]
            for name, each in zip(names, values, strict=True):
                if isinstance(name, ast.Name):
                    found[name.id] = each
    return found


def constant(page: str, name: str) -> str | None:
    """A constant of the code, as it is written on a page.

    Of a name that ends in `.percent`, it is a hundred times as large.
    """
    found = re.fullmatch(CONSTANT, name)
    if found is None:
        return None
    module = ROOT / f"{found['source'] or f'docs/{page}'}.py"
    value = constants(module).get(found["own"]) if module.exists() else None
    if not isinstance(value, int | float):
        return None
    value = round(100 * value, 9) if found["percent"] else value
    text = f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return text.replace("e-0", "e-") if "e" in text else text.replace("-", "−")


def named(
    known: dict[str, dict[str, Any]], page: str, name: str, shown: str
) -> str | None:
    """What should stand on a page in place of `shown`; `None` if not known.

    A number that stands there as a word, such as *Twelve*, stays one.
    """
    value = lookup(known, page, name)
    if value is None:
        value = constant(page, name)
    is_small = value in map(str, range(len(WORDS)))
    if value is None or not is_small or shown.lower() not in WORDS:
        return value
    word = WORDS[int(value)]
    return word.capitalize() if shown[0].isupper() else word


def lookup(
    known: dict[str, dict[str, Any]], page: str, name: str
) -> str | None:
    """The text of a number, of the page itself or `source.name`.

    Of a table, it is all rows, or the number at the start of a cell if `name`
    ends in row and column, counted from 1: `benchmarks/metrics.updates.2.1`.
    A third number says which word of the cell, without brackets and commas.
    """
    found = re.fullmatch(PARTS, name)
    if found is None:
        return None
    value = known.get(found["source"] or page, {}).get(found["own"])
    if isinstance(value, dict):  # of a benchmark
        value = [
            [label, *(row.get(column, "") for column in value["columns"])]
            for label, row in value["rows"].items()
        ]
    if isinstance(value, list) and found["row"]:
        cell = value[int(found["row"]) - 1][int(found["column"])]
        words = cell.replace("*", "").split()
        return words[int(found["word"] or 1) - 1].strip("[],")
    if isinstance(value, list):
        return "".join(f"| {' | '.join(row)} |\n" for row in value)
    return value


def fill_in(page: pathlib.Path, known: dict[str, dict[str, Any]]) -> None:
    """Writes the numbers into the page."""

    def measured(found: re.Match[str]) -> str:
        value = named(known, page_name(page), found["name"], found["shown"])
        if value is None:
            return found[0]
        start, end = (place - found.start() for place in found.span("shown"))
        return found[0][:start] + value + found[0][end:]

    text = page.read_text(encoding="utf-8")
    for mark in MARKS:
        text = mark.sub(measured, text)
    page.write_text(text, encoding="utf-8")


def marks(page: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Name of each number that the page shows, and what it shows."""
    text = page.read_text(encoding="utf-8")
    for mark in MARKS:
        for found in mark.finditer(text):
            yield found["name"], found["shown"]


def mistakes() -> list[str]:
    """What pages show otherwise than it was measured, or not at all."""
    known, wrong = known_numbers(), []
    unused = {
        f"{source}.{name}"
        for source, numbers in known.items()
        for name in numbers
        if not name.startswith("_")
    }
    for page in pages():
        for name, shown in marks(page):
            own = page_name(page)
            plain = re.sub(r"(\.\d+)+$", "", name)
            unused.discard(plain if "." in plain else f"{own}.{plain}")
            value = named(known, own, name, shown)
            if value != shown:
                wrong.append(
                    f"{own} shows {shown!r} as {name}, measured was {value!r}."
                )
    return wrong + [f"No page shows {name}." for name in sorted(unused)]
