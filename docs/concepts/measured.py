"""Measures what the concept pages show: `make figures`.

    python docs/concepts/measured.py [CONCEPT ...]

Each concept has a page, `gradient.md`, and beside it a module, `gradient.py`,
with two functions: `measure` trains and returns a `Measured`, and `draw` draws
its series. From them this command makes the figure, for light and dark pages,
and the numbers in the text: on a page, a number stands before a comment that
names it.

    The gradient shrinks by a factor of 0.21<!-- factor --> per layer.

`--check` measures nothing: it fails if a page lacks a number that was measured,
or shows another one than `numbers.json` holds.
"""

import argparse
import importlib
import json
import os
import pathlib
import re
import sys
from typing import Any, NamedTuple

HERE = pathlib.Path(__file__).parent
NUMBERS = HERE / "numbers.json"
IMAGES = HERE / "images"
CONCEPTS = (
    "gradient",
    "back_propagation",
    "sigmoid",
    "relu",
    "tanh",
    "lstm_gru",
    "softmax",
    "l1_l2",
    "dropout",
    "batch_normalization",
    "objective_functions",
    "f1",
    "cross_entropy",
)
# A number and the comment that names it
SHOWN = re.compile(r"(?P<number>[^\s|(*]+)<!-- (?P<name>\w+) -->")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
DARK = {
    "figure.facecolor": "#0f1117",
    "axes.facecolor": "#0f1117",
    "savefig.facecolor": "#0f1117",
    "text.color": "#e6e6e6",
    "axes.labelcolor": "#e6e6e6",
    "axes.edgecolor": "#8b8b8b",
    "xtick.color": "#c8c8c8",
    "ytick.color": "#c8c8c8",
    "grid.color": "#3a3d46",
    "legend.facecolor": "#0f1117",
    "lines.color": "#e6e6e6",
}
DARK_COLOURS = ("#56b4e9", "#ff8c42", "#2fd6a1", "#f0a6d0")


class Measured(NamedTuple):
    """What a concept's training runs showed.

    Attributes:
        numbers: As the page prints them, by name.
        series: What `draw` draws.
    """

    numbers: dict[str, str]
    series: dict[str, Any]


def draw(concept: str, module: Any, series: dict[str, Any]) -> None:
    """Saves the figure of a concept, for light and for dark pages."""
    import matplotlib.pyplot as plt

    themes = {"light": ({}, COLOURS), "dark": (DARK, DARK_COLOURS)}
    for theme, (style, colours) in themes.items():
        with plt.rc_context(
            {
                "font.size": 11,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.grid": True,
                "grid.alpha": 0.5,
                "legend.frameon": False,
                "axes.prop_cycle": plt.cycler(color=colours),
                **style,
            }
        ):
            figure = plt.figure(figsize=(8, 3.4), layout="constrained")
            module.draw(series, figure)
            figure.savefig(IMAGES / f"{concept}_{theme}.png", dpi=100)
            plt.close(figure)


def fill_in(page: pathlib.Path, numbers: dict[str, str]) -> None:
    """Writes the numbers into the page."""
    text = page.read_text()
    text = SHOWN.sub(
        lambda found: f"{numbers[found['name']]}<!-- {found['name']} -->", text
    )
    page.write_text(text)


def mistakes(page: pathlib.Path, numbers: dict[str, str]) -> list[str]:
    """What a page shows otherwise than it was measured, in sentences."""
    shown = [
        (found["name"], found["number"])
        for found in SHOWN.finditer(page.read_text())
    ]
    wrong = [
        f"{page.name} shows {number} as {name}, "
        f"measured was {numbers.get(name, 'nothing')}."
        for name, number in shown
        if numbers.get(name) != number
    ]
    unused = numbers.keys() - {name for name, _ in shown}
    return wrong + [f"{page.name} does not show {name}." for name in unused]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the concept pages.")
    parser.add_argument("concepts", nargs="*", default=CONCEPTS)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    numbers = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}
    if options.check:
        wrong = [
            mistake
            for concept in options.concepts
            for mistake in mistakes(HERE / f"{concept}.md", numbers[concept])
        ]
        sys.exit("\n".join(wrong) or 0)
    IMAGES.mkdir(exist_ok=True)
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.modules["measured"] = sys.modules["__main__"]
    for concept in options.concepts:
        module = importlib.import_module(concept)
        measured = module.measure()
        draw(concept, module, measured.series)
        numbers[concept] = measured.numbers
        ordered = {key: numbers[key] for key in CONCEPTS if key in numbers}
        NUMBERS.write_text(json.dumps(ordered, indent=2) + "\n")
        page = HERE / f"{concept}.md"
        if page.exists():
            fill_in(page, measured.numbers)
        print(concept, measured.numbers, flush=True)


if __name__ == "__main__":
    main()
