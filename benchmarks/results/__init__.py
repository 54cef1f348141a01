"""What benchmarks measured, for the pages that show it.

`--keep` of a benchmark writes its figures into the file of its name here, with
machine, versions, date and command. `python docs/measured --fill` takes them
into the pages, and a test compares both.
"""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import sys

HERE = pathlib.Path(__file__).parent
Cells = dict[str, dict[str, str]]


def keep(benchmark: str, table: str, cells: Cells) -> None:
    """Writes figures into a table, and leaves its other cells.

    Args:
        benchmark: Name of the file.
        table: Name in the file.
        cells: Figures by row and column, as the page shows them. A column that
            is new stands last.
    """
    path = HERE / f"{benchmark}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    numbers = kept.setdefault("numbers", {})
    found = numbers.setdefault(table, {"columns": [], "rows": {}})
    for row, figures in cells.items():
        found["rows"].setdefault(row, {}).update(figures)
        new = [each for each in figures if each not in found["columns"]]
        found["columns"] += new
    columns = sorted({each for row in cells.values() for each in row})
    kept.setdefault("measured", {})[f"{table}: {', '.join(columns)}"] = facts()
    text = json.dumps(kept, indent=1, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")
    print(f"Kept in {path}. Now run: python docs/measured --fill")


def facts() -> dict[str, str]:
    """Where, when and with what it was measured."""
    import keras

    backend = keras.backend.backend()
    versions = [
        f"{name} {importlib.metadata.version(name)}"
        for name in ("keras", backend, "numpy")
    ]
    return {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": f"Python {platform.python_version()}, "
        f"{', '.join(versions)}",
    }
