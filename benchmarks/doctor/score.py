"""What the doctor found, compared with the outcomes of the runs.

    python -m benchmarks.doctor.score FOLDER
        [--half tune|score|fresh|wild-tune|wild-score|all] [--replay]
        [--baselines] [--markdown FILE] [--jobs 2]

reads `FOLDER/outcomes.jsonl`, as `run.py` writes it. `--replay` judges the
recordings again, so that rules can be changed without training again; else the
findings are those of the live doctor. `--baselines` puts the published rules of
`baselines.py` beside them.

| figure | of | meaning |
|---|---|---|
| detected | failed runs | a warning or error was raised |
| open at the end | failed runs | and still stood when training ended |
| early | failed runs | before a quarter of the planned steps |
| right cause | detected, faulty programs | the first problem is expected |
| ever raised | healthy runs | a warning or error was raised |
| open | healthy runs | and still stood when training ended |

The first problem is the first finding that is a warning or an error and is not
listed as the consequence of another; of those that still stand, if any does.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.doctor import baselines
from benchmarks.doctor.programs import PROGRAMS
from benchmarks.doctor.registry import PARTS, Program, half_of
from benchmarks.doctor.shares import Share, share
from benchmarks.results import Cells, keep
from keras_concepts.recording import Recording
from keras_concepts.rules.judge import diagnose

Row = dict[str, Any]
PROBLEMS = ("warning", "error")


@dataclasses.dataclass(frozen=True)
class Judged:
    """One run: its outcome, and what was found."""

    program: Program
    row: Row
    findings: list[Row]
    path: pathlib.Path

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def label(self) -> str:
        return f"{self.name}-{self.row['seed']}"

    @property
    def failed(self) -> bool:
        return self.row["failed"]

    @property
    def problems(self) -> list[Row]:
        return [f for f in self.findings if f["severity"] in PROBLEMS]

    @property
    def open(self) -> list[Row]:
        return [f for f in self.problems if f.get("resolved") is None]

    @property
    def first(self) -> Row | None:
        """The first problem."""
        found = self.open or self.problems
        causes = [f for f in found if not f.get("because_of")]
        return next(iter(causes or found), None)

    @property
    def is_early(self) -> bool:
        quarter = self.row["steps"] / 4
        return any(f["noticed"][1] < quarter for f in self.problems)

    @property
    def is_right(self) -> bool:
        first = self.first
        if first is None:
            return False
        rule, variant = first["rule"], first.get("variant", "")
        return bool({rule, f"{rule}:{variant}"} & self.program.expected)

    @property
    def names_a_fault(self) -> bool:
        """Whether a fault was named correctly, although it did no harm."""
        return self.program.is_faulty and self.is_right


@dataclasses.dataclass(frozen=True)
class Figures:
    detected: Share
    open_at_end: Share
    early: Share
    right: Share
    ever: Share
    open: Share
    ever_unfounded: Share

    @classmethod
    def of(cls, runs: Iterable[Judged]) -> "Figures":
        runs = list(runs)
        failed = [run for run in runs if run.failed]
        healthy = [run for run in runs if not run.failed]
        named = [r for r in failed if r.program.is_faulty and r.problems]
        return cls(
            share((r.name, bool(r.problems)) for r in failed),
            share((r.name, bool(r.open)) for r in failed),
            share((r.name, r.is_early) for r in failed),
            share((r.name, r.is_right) for r in named),
            share((r.name, bool(r.problems)) for r in healthy),
            share((r.name, bool(r.open)) for r in healthy),
            share(
                (r.name, bool(r.problems) and not r.names_a_fault)
                for r in healthy
            ),
        )

    @property
    def cells(self) -> list[str]:
        return [
            str(each)
            for each in (
                self.detected,
                self.open_at_end,
                self.early,
                self.right,
                self.ever,
                self.open,
            )
        ]


# As docs/doctor.md names them.
SHOWN = {
    "failed runs in which something is found": "detected",
    "found before a quarter of the planned steps": "early",
    "right cause, of those found": "right",
    "healthy runs with a false alarm, ever or at the end": "ever",
}
HEADERS = [
    "detected",
    "open at the end",
    "early",
    "right cause",
    "ever raised",
    "open",
]

# What was found.


def outcomes(folder: pathlib.Path, half: str) -> list[tuple[Program, Row]]:
    path = folder / "outcomes.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        (PROGRAMS[row["name"]], row)
        for row in rows
        if row["name"] in PROGRAMS
        and (half == "all" or half_of(PROGRAMS[row["name"]]) == half)
    ]


def replayed(path: pathlib.Path) -> list[Row]:
    """Findings of a recording, judged now."""
    recording = Recording.load(path)
    return [finding.to_json() for finding in diagnose(recording)]


def judged(
    given: list[tuple[Program, Row]],
    folder: pathlib.Path,
    judge: Callable[[pathlib.Path], list[Row]] | None,
    jobs: int,
) -> list[Judged]:
    """The runs that ended without an exception, with findings."""
    given = [(program, row) for program, row in given if "gain" in row]
    paths = [folder / f"{p.name}-{row['seed']}.jsonl" for p, row in given]
    if judge is None:
        found = [row["findings"] for _, row in given]
    elif jobs > 1:
        with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
            found = list(pool.map(judge, paths, chunksize=8))
    else:
        found = list(map(judge, paths))
    return [
        Judged(program, row, findings, path)
        for (program, row), findings, path in zip(
            given, found, paths, strict=True
        )
    ]


# Tables.


def table(headers: list[str], rows: Iterable[list[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_kind(runs: list[Judged]) -> str:
    rows = []
    kinds = sorted({(not r.program.is_faulty, r.program.kind) for r in runs})
    for healthy, kind in kinds:
        mine = [
            r
            for r in runs
            if r.program.kind == kind and r.program.is_faulty != healthy
        ]
        figures = Figures.of(mine)
        failed = [r for r in mine if r.failed]
        rows.append(
            [
                "healthy" if healthy else "faulty",
                kind,
                str(len({r.name for r in mine})),
                f"{len(failed)} of {len(mine)}",
                *(
                    f"{each.hits}/{each.count}" if each.count else "–"
                    for each in (
                        figures.detected,
                        figures.early,
                        figures.right,
                        figures.ever,
                        figures.open,
                    )
                ),
            ]
        )
    return table(
        ["meant", "kind", "programs", "failed", "detected", "early",
         "right cause", "ever raised", "open"],
        rows,
    )  # fmt: skip


def by_rule(runs: list[Judged]) -> str:
    count: dict[str, collections.Counter[str]] = {}
    for run in runs:
        if run.failed and run.first is not None:
            tally = count.setdefault(run.first["rule"], collections.Counter())
            tally["first"] += run.program.is_faulty
            tally["right"] += run.is_right
        if not run.failed:
            for which, found in (("ever", run.problems), ("open", run.open)):
                for rule in {f["rule"] for f in found}:
                    tally = count.setdefault(rule, collections.Counter())
                    tally[which] += 1
    keys = ("first", "right", "ever", "open")
    return table(
        ["rule", "first problem of a failed run", "rightly",
         "raised on a healthy run", "open on a healthy run"],
        [[rule, *(str(tally[k]) for k in keys)]
         for rule, tally in sorted(count.items())],
    )  # fmt: skip


def worst(runs: list[Judged]) -> str:
    """Misses, wrong causes and false alarms, with the recordings."""
    rows = []
    for run in sorted(runs, key=lambda r: r.label):
        if run.failed and not run.problems:
            what = "missed"
        elif run.failed and run.program.is_faulty and not run.is_right:
            what = "wrong cause"
        elif not run.failed and run.open:
            what = "false alarm"
        elif not run.failed and run.problems:
            what = "withdrawn alarm"
        else:
            continue
        if not run.failed and run.names_a_fault:
            what = "harmless fault"
        rules = [
            f["rule"] + ("" if f.get("resolved") is None else " (withdrawn)")
            for f in run.problems
        ]
        rows.append(
            [
                what,
                run.label,
                run.program.kind,
                f"{run.row['gain']:.2f} of {run.row['yardstick']:.2f}",
                ", ".join(dict.fromkeys(rules)) or "–",
                ", ".join(sorted(run.program.expected)) or "–",
                str(run.path),
            ]
        )
    return table(
        ["", "run", "kind", "gain", "found", "expected", "recording"],
        sorted(rows),
    )  # fmt: skip


def shown(compared: dict[str, Figures]) -> Cells:
    """What docs/doctor.md shows: `.90 [.82, .93]`, the doctor's in bold."""
    cells: Cells = {}
    for name, figures in compared.items():
        for words, number in SHOWN.items():
            text = re.sub(
                r"\d+\.\d+",
                lambda found: f"{float(found[0]):.2f}".removeprefix("0"),
                str(getattr(figures, number)),
            )
            if name == "doctor":
                text = re.sub(r"^(\S+)", r"**\1**", text)
            cells.setdefault(words, {})[name] = text
    return cells


def report(options: argparse.Namespace) -> str:
    given = outcomes(options.folder, options.half)
    judge = replayed if options.replay else None
    runs = judged(given, options.folder, judge, options.jobs)
    figures = Figures.of(runs)
    programs = {r.name: r.program for r in runs}
    as_meant = [r for r in runs if r.failed == r.program.is_faulty]
    faulty = sum(program.is_faulty for program in programs.values())
    failed = sum(run.failed for run in runs)
    parts = [
        f"{len(programs)} programs ({faulty} faulty), {len(runs)} runs, of "
        f"which {failed} failed; "
        f"{len(runs) - len(as_meant)} came out otherwise than meant. "
        f"{len(given) - len(runs)} broke off with an exception.",
        "\n".join(
            f"- {name}: {value.full}"
            for name, value in (
                ("detected", figures.detected),
                ("open at the end", figures.open_at_end),
                ("early", figures.early),
                ("right cause", figures.right),
                ("false alarms ever raised", figures.ever),
                ("false alarms open at the end", figures.open),
                ("ever raised, without faults that did no harm",
                 figures.ever_unfounded),
            )
        ),
    ]  # fmt: skip
    if options.baselines:
        compared = {"doctor": figures}
        for name, rules in baselines.BASELINES.items():
            theirs = judged(given, options.folder, rules, options.jobs)
            compared[name] = Figures.of(theirs)
        rows = [[name, *each.cells] for name, each in compared.items()]
        parts.append(table(["", *HEADERS], rows))
        if options.keep:
            keep("doctor", options.half.replace("-", "_"), shown(compared))
    parts += [by_kind(runs), by_rule(runs), worst(runs)]
    broken = [(p, row) for p, row in given if "gain" not in row]
    if broken:
        parts.append(
            table(
                ["exception in", "error"],
                [
                    [f"{p.name}-{row['seed']}", row["error"]]
                    for p, row in broken
                ],
            )
        )
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--half", choices=(*PARTS, "all"), default="tune")
    parser.add_argument("--replay", action="store_true")
    parser.add_argument("--baselines", action="store_true")
    parser.add_argument("--markdown", type=pathlib.Path)
    parser.add_argument(
        "--keep",
        action="store_true",
        help="with --baselines, see benchmarks/results/",
    )
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    text = report(options)
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n")


if __name__ == "__main__":
    main()
