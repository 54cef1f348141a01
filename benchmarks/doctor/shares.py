"""Shares of runs, with intervals."""

import dataclasses
import math
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Share:
    """Of `count` runs of `programs` programs, how many.

    Attributes:
        hits: Runs that have it.
        count: Runs in all.
        program_hits: Sum over the programs of the share of their runs.
        programs: Programs in all.
    """

    hits: int
    count: int
    program_hits: float
    programs: int

    @property
    def value(self) -> float:
        return self.hits / self.count if self.count else math.nan

    @property
    def by_run(self) -> tuple[float, float]:
        """Wilson interval as if all runs were independent."""
        return wilson(self.hits, self.count)

    @property
    def by_program(self) -> tuple[float, float]:
        """Wilson interval as if each program had been run once.

        Runs of one program are alike; this is the honest one.
        """
        return wilson(self.program_hits, self.programs)

    def __str__(self) -> str:
        if not self.count:
            return "–"
        low, high = self.by_program
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}]"

    @property
    def full(self) -> str:
        """With both intervals and the numbers of runs and programs."""
        if not self.count:
            return "–"
        low, high = self.by_run
        return (
            f"{self} (by run [{low:.3f}, {high:.3f}]; {self.hits}/{self.count} "
            f"runs of {self.programs} programs)"
        )


def share(pairs: Iterable[tuple[str, bool]]) -> Share:
    """Of pairs of a program's name and whether its run has it."""
    runs: dict[str, list[bool]] = {}
    for name, hit in pairs:
        runs.setdefault(name, []).append(hit)
    hits = [hit for each in runs.values() for hit in each]
    means = [sum(each) / len(each) for each in runs.values()]
    return Share(sum(hits), len(hits), sum(means), len(means))


def wilson(hits: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); 0 to 1 if there is nothing."""
    if not count:
        return 0.0, 1.0
    p = hits / count
    centre = p + z * z / (2 * count)
    spread = z * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return (
        max((centre - spread) / scale, 0.0),
        min((centre + spread) / scale, 1.0),
    )
