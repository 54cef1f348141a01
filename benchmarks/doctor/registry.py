"""The programs by name."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable
from typing import Any, Literal, get_args

from benchmarks.doctor.recipe import Fit, Recipe

Half = Literal["tune", "score", "fresh", "wild-tune", "wild-score"]
PARTS: tuple[Half, ...] = get_args(Half)
LOOKED_AT = frozenset(
    pathlib.Path(__file__).with_name("looked_at.txt").read_text().split()
)


@dataclasses.dataclass(frozen=True)
class Program:
    """One training program.

    Attributes:
        name: Stable and unique.
        kind: Kind of fault, or of healthy program.
        build: Makes a new model and the arguments of `fit`.
        expected: Names of rules, each a right first finding; empty for a
            healthy program.
        sane: Name of the program whose gain is the yardstick; the empty string
            for one that is its own.
    """

    name: str
    kind: str
    build: Callable[[], Fit]
    expected: frozenset[str] = frozenset()
    sane: str = ""

    @property
    def is_faulty(self) -> bool:
        """Whether it is meant to fail; what counts is whether it does."""
        return bool(self.expected)


PROGRAMS: dict[str, Program] = {}
RECIPES: dict[str, Recipe] = {}


def add(program: Program) -> None:
    if program.name in PROGRAMS:
        raise ValueError(f"Two programs are named {program.name!r}.")
    PROGRAMS[program.name] = program


def healthy(
    name: str,
    kind: str,
    recipe: Recipe | Callable[[], Fit],
    sane: str = "",
    **changes: Any,
) -> None:
    """Adds a program that is meant to learn."""
    if isinstance(recipe, Recipe):
        recipe = dataclasses.replace(recipe, **changes)
        RECIPES[name] = recipe
        add(Program(name, kind, recipe.build, sane=sane))
    else:
        add(Program(name, kind, recipe, sane=sane))


def variant(name: str, kind: str, of: str, **changes: Any) -> None:
    """Adds a healthy program that differs from another, its yardstick."""
    healthy(name, kind, RECIPES[of], of, **changes)


def faulty(
    name: str,
    kind: str,
    expected: frozenset[str],
    sane: str,
    **changes: Any,
) -> None:
    """Adds a program that is meant to fail: a sane one with changes."""
    recipe = dataclasses.replace(RECIPES[sane], **changes)
    faulty_fit(name, kind, expected, sane, recipe.build)


def faulty_fit(
    name: str,
    kind: str,
    expected: frozenset[str],
    sane: str,
    build: Callable[[], Fit],
) -> None:
    """Adds a program that is meant to fail and is not a recipe."""
    add(Program(name, kind, build, expected, sane))


# Of 20,000, the one with which most kinds are cut nearly in half.
_SALT = 10778
_FRESH = "fresh-"
_WILD = "wild-"
# Of 2,000, the one that cuts the unlike programs and their kinds best.
_WILD_SALT = 788


def half_of(program: Program) -> Half:
    """The part that a program belongs to, by the hash of its name.

    So that a new program moves no other. Whatever was looked at while rules
    were tuned (`looked_at.txt`) is never in the half that is only scored. What
    was written later, when figures of that half by kind had been seen, is a
    third part. The unlike programs are two further halves.
    """
    if program.name.startswith(_FRESH):
        return "fresh"
    if program.name.startswith(_WILD):
        return "wild-score" if _is_odd(_WILD_SALT, program) else "wild-tune"
    if program.name in LOOKED_AT:
        return "tune"
    return "score" if _is_odd(_SALT, program) else "tune"


def _is_odd(salt: int, program: Program) -> bool:
    digest = hashlib.sha256(f"{salt}/{program.name}".encode()).digest()
    return digest[0] % 2 == 1
