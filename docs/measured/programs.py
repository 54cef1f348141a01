"""Runs an example or a recipe as its users do, and keeps what comes out.

    python docs/measured/programs.py SCRIPT [ARGUMENT ...]

does the same with figures that are saved for light and for dark pages.
"""

import functools
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
from typing import NamedTuple

from figures import saved_twice

ROOT = pathlib.Path(__file__).parents[2]
RUNS = ROOT / "runs" / "figures"


class Ran(NamedTuple):
    """What a program left.

    Attributes:
        printed: All that it printed.
        folder: Its pictures and files.
    """

    printed: str
    folder: pathlib.Path

    @property
    def sentence(self) -> str:
        """All that it printed, in one line."""
        return " ".join(self.printed.split())

    def picture(self, name: str) -> pathlib.Path:
        """Where it is, without `_light.png` and `_dark.png`."""
        [found] = self.folder.rglob(f"{name}_light.png")
        return found.with_name(name)

    def row(self, name: str) -> list[str]:
        """Cells of the printed table's row of this name."""
        pattern = rf"^ *{re.escape(name)} +(\S.*?) *$"
        found = re.search(pattern, self.printed, re.MULTILINE)
        if found is None:
            raise ValueError(f"There is no row {name!r} in:\n{self.printed}")
        return re.split(r"\s+", found[1])

    def find(self, pattern: str) -> tuple[str, ...]:
        """Groups of the pattern in what was printed, as one line."""
        found = re.search(pattern, self.sentence)
        if found is None:
            raise ValueError(f"{pattern!r} is not in: {self.sentence}")
        return found.groups()


@functools.cache
def run(script: str, *arguments: str) -> Ran:
    """Runs a program of the repository, once for all pages.

    With `REUSE=1` in the environment, a program that has run before with the
    same arguments is not run again.

    Args:
        script: Such as `callbacks/which_units_saturate.py`.
        arguments: Other than `--out`.
    """
    words = [pathlib.Path(script).stem, *arguments]
    out = RUNS / "_".join(word.strip("-") for word in words)
    printed = out / "printed.txt"
    if not (os.environ.get("REUSE") and printed.exists()):
        shutil.rmtree(out, ignore_errors=True)
        done = subprocess.run(
            [sys.executable, __file__, script, *arguments, "--out", str(out)],
            cwd=ROOT,
            env=os.environ | {"COLUMNS": "100", "MPLBACKEND": "Agg"},
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=True,
        )
        printed.write_text(done.stdout, encoding="utf-8")
    return Ran(printed.read_text(encoding="utf-8"), out)


if __name__ == "__main__":
    script, *arguments = sys.argv[1:]
    sys.argv = [script, *arguments]
    sys.path[0] = str(ROOT / pathlib.Path(script).parent)
    sys.path.append(str(ROOT))
    with saved_twice():
        runpy.run_path(str(ROOT / script), run_name="__main__")
