"""Measures what the pages show: `make figures`.

    python docs/measured [PAGE ...]

A page that shows measurements, `concepts/gradient.md`, has beside it a module,
`gradient.py`, whose function `measure` trains and returns a `Measured`. From it
this command makes the figures, for light and dark pages, and the numbers in the
text. On a page, a number stands before a comment that names it, and the rows of
a table or the lines of a block of code below such a comment.

    The gradient shrinks by a factor of 0.21<!-- factor --> per layer.

A module draws its figure in `draw(series, figure)`; those that an example or a
recipe draws are copied, see `programs.py`. A number of another page is named
`page.number`, and one of a benchmark, which is in `benchmarks/results/`,
`benchmarks/benchmark.number`; see `measured.lookup`.

`--check` measures nothing: it fails if no page shows a number that was
measured, or a page shows another one than was measured. `--fill` writes the
numbers that are known into all pages.
"""

import argparse
import importlib.metadata
import json
import os
import runpy
import shutil
import sys
from typing import Any

import measured as m

DOCS = m.ROOT / "docs"
MODULES = {
    m.page_name(page): page.with_suffix(".py")
    for page in m.pages()
    if page.with_suffix(".py").exists()
}


def draw(name: str, module: dict[str, Any], found: m.Measured) -> None:
    """Saves the figures of a page, for light and for dark pages."""
    import matplotlib.pyplot as plt

    import figures

    page = DOCS / name
    images = page.parent / "images"
    images.mkdir(exist_ok=True)
    for picture, stem in (found.pictures or {}).items():
        for theme in ("light", "dark"):
            shutil.copyfile(
                f"{stem}_{theme}.png",
                images / f"{page.name}_{picture}_{theme}.png",
            )
    if "draw" in module:
        cycle = plt.cycler(color=figures.COLOURS)
        with plt.rc_context(figures.STYLE | {"axes.prop_cycle": cycle}):
            figure = plt.figure(figsize=(8, 3.4), layout="constrained")
            module["draw"](found.series, figure)
            for axes in figure.axes:
                if axes.get_xlabel() == "epoch":  # the first is 1
                    axes.set_xlim(left=max(axes.get_xlim()[0], 0.5))
            figures.save(figure, images / page.name, dpi=100)
            plt.close(figure)


def versions() -> str:
    """Of what measures."""
    import keras

    backend = keras.backend.backend()
    names = ("keras", backend, "numpy")
    found = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return ", ".join(found)


def measure(name: str) -> None:
    """Measures what a page shows, and writes it down."""
    import keras

    keras.utils.clear_session()  # or names of layers would count on
    module = runpy.run_path(str(MODULES[name]))
    found = module["measure"]()
    draw(name, module, found)
    numbers = json.loads(m.NUMBERS.read_text())
    numbers[name] = {"_with": versions(), **found.numbers}
    ordered = {key: numbers[key] for key in sorted(numbers)}
    text = json.dumps(ordered, indent=1, ensure_ascii=False)
    m.NUMBERS.write_text(text + "\n", encoding="utf-8")
    print(name, found.numbers, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what pages show.")
    parser.add_argument("pages", nargs="*", help=", ".join(MODULES))
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--fill", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.pages) - MODULES.keys():
        parser.error(f"pages are {', '.join(MODULES)}. Received: {unknown}")
    if options.check:
        sys.exit("\n".join(m.mistakes()) or 0)
    os.environ.setdefault("MPLBACKEND", "Agg")
    for name in [] if options.fill else options.pages or list(MODULES):
        measure(name)
    known = m.known_numbers()
    for page in m.pages():
        m.fill_in(page, known)


if __name__ == "__main__":
    main()
