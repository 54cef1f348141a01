"""Trains the programs with a doctor and writes down the outcomes.

    KERAS_BACKEND=torch python -m benchmarks.doctor.run --out FOLDER \
        [--half tune|score|fresh|wild-tune|wild-score|all] [--seeds 3] \
        [--jobs 2] [--only NAME ...]

For each program and seed, `FOLDER/NAME-SEED.jsonl` is the doctor's recording,
and a line of `FOLDER/outcomes.jsonl` says what was learned and found. What is
there already is not run again. `--references` trains the sane programs alone
and writes them to `reference_gains.json`, the yardstick of all others.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import argparse
import fnmatch
import json
import math
import pathlib
import subprocess
import sys
import time
import traceback
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import keras

from benchmarks.doctor import outcome
from benchmarks.doctor.programs import PROGRAMS
from benchmarks.doctor.recipe import Fit
from benchmarks.doctor.registry import PARTS, Program, half_of
from keras_concepts.callbacks import TrainingDoctor

OUTCOMES = "outcomes.jsonl"


def watched(path: pathlib.Path) -> Any:
    """The doctor, whose findings are read at the end."""
    path.unlink(missing_ok=True)
    # Measure everything: what a busy machine leaves out is not the question.
    return TrainingDoctor(
        record_to=path, on_finding=lambda finding: None, time_budget=None
    )


def run(
    program: Program,
    seed: int,
    folder: pathlib.Path | None,
    gains: dict[str, list[float]],
) -> dict[str, Any]:
    """One program once: what was learned, what was found, how long it took."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    row: dict[str, Any] = {"name": program.name, "seed": seed}
    started = time.perf_counter()
    try:
        fit = program.build()
        doctor: Any = None
        if folder is not None:
            doctor = watched(folder / f"{program.name}-{seed}.jsonl")
        keras.utils.set_random_seed(seed)
        histories, findings = [], []
        for history in trained(fit, [doctor] if doctor else []):
            if doctor:  # it forgets them when the next `fit` begins
                findings += [f.to_json() for f in doctor.findings]
            histories.append(history)
        logs = joined(histories)
        gain = fit.gain(fit.model)
        reported = fit.reported(fit.model) if fit.reported else None
        row |= {
            "epochs": sum(h.params["epochs"] for h in histories),
            "epochs_run": sum(len(h.epoch) for h in histories),
            "steps": sum(steps_of(fit, h) for h in histories),
            "gain": gain,
            "reported": reported,
            "loss": numbers(logs.get("loss", [])),
            "val_loss": numbers(logs.get("val_loss", [])),
            **outcome.verdict(
                program, gain, reported, logs, fit.constant_loss, gains
            ),
            "findings": findings,
        }
    except Exception as error:
        row |= {
            "error": f"{type(error).__name__}: {error}"[:300],
            "trace": traceback.format_exc(limit=-4)[-1500:],
        }
    row["seconds"] = round(time.perf_counter() - started, 3)
    return row


def trained(fit: Fit, callbacks: list[Any]) -> Iterator[Any]:
    """The history of each call of `fit`."""
    if fit.train is not None:
        yield from fit.train(callbacks)
        return
    arguments = dict(fit.arguments)
    given = arguments.pop("callbacks", [])
    yield fit.model.fit(**arguments, verbose=0, callbacks=[*given, *callbacks])


def joined(histories: list[Any]) -> dict[str, list[float]]:
    """The logs of all calls, one after the other."""
    logs: dict[str, list[float]] = {}
    for history in histories:
        for key, values in history.history.items():
            logs.setdefault(key, []).extend(values)
    return logs


def numbers(values: Any) -> list[float | None]:
    return [
        float(f"{float(v):.5g}") if math.isfinite(v) else None for v in values
    ]


def steps_of(fit: Fit, history: Any) -> int:
    """Steps of all planned epochs."""
    steps, epochs = history.params.get("steps"), history.params["epochs"]
    x: Any = fit.arguments.get("x")
    batch = fit.arguments.get("batch_size")
    if not steps and batch and hasattr(x, "__len__"):
        share = 1.0 - fit.arguments.get("validation_split", 0.0)
        steps = math.ceil(len(x) * share / batch)
    return int(steps or 1) * epochs


def chosen(options: argparse.Namespace) -> list[tuple[Program, int]]:
    # Shuffled, so that a part of them represents all.
    programs = sorted(
        PROGRAMS.values(), key=lambda p: zlib.crc32(p.name[::-1].encode())
    )
    if options.references:
        sane = {p.sane or p.name for p in programs}
        programs = [p for p in programs if p.name in sane]
    elif options.half != "all":
        programs = [p for p in programs if half_of(p) == options.half]
    if options.only:
        programs = [
            p
            for p in programs
            if any(
                fnmatch.fnmatch(p.name, o) or o in (p.kind, module(p))
                for o in options.only
            )
        ]
    runs = [(p, seed) for seed in range(options.seeds) for p in programs]
    index, count = map(int, options.part.split("/"))
    return runs[index::count]


def module(program: Program) -> str:
    return "faulty" if program.is_faulty else "healthy"


def done(path: pathlib.Path) -> set[tuple[str, int]]:
    if not path.exists():
        return set()
    rows = map(json.loads, path.read_text().splitlines())
    return {(row["name"], row["seed"]) for row in rows}


def one_part(options: argparse.Namespace) -> None:
    path = options.out / OUTCOMES
    gains = {} if options.references else outcome.reference_gains()
    finished = done(path)
    watched = None if options.plain or options.references else options.out
    runs = chosen(options)
    for index, (program, seed) in enumerate(runs):
        if (program.name, seed) in finished:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row = run(program, seed, watched, gains)
        line = json.dumps(row) + "\n"
        with path.open("a") as file:  # one write: several parts append
            file.write(line)
        print(
            f"{index + 1:4}/{len(runs)} {described(program, row)}", flush=True
        )


def described(program: Program, row: dict[str, Any]) -> str:
    label = f"{program.name}-{row['seed']}"
    if "error" in row:
        return f"{label:36} ERROR {row['error'][:100]}"
    meant = "faulty" if program.is_faulty else "healthy"
    rules = [f["rule"] for f in row["findings"]]
    return (
        f"{label:36} {meant:7} gain {row['gain']:6.3f} of "
        f"{row['yardstick']:.3f} {', '.join(row['reasons']) or 'learned':14} "
        f"{row['seconds']:5.1f} s {' '.join(rules)}"
        f"{'   <-- not as meant' if row['failed'] != program.is_faulty else ''}"
    )


def write_references(path: pathlib.Path) -> None:
    """Of the programs that were run; what is known of others stays."""
    gains: dict[str, list[float]] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if "gain" in row:
            gains.setdefault(row["name"], []).append(round(row["gain"], 4))
    gains = outcome.reference_gains() | gains
    outcome.GAINS.write_text(json.dumps(dict(sorted(gains.items())), indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--out", type=pathlib.Path, required=True)
    add("--half", choices=(*PARTS, "all"), default="tune")
    add("--seeds", type=int, default=3)
    add("--jobs", type=int, default=1, help="processes")
    add(
        "--only",
        action="append",
        help="a name, in which * matches; a kind; 'faulty' or 'healthy'",
    )
    add("--plain", action="store_true", help="train without the doctor")
    add("--references", action="store_true")
    add("--part", default="0/1", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.jobs > 1:
        command = [sys.executable, "-m", "benchmarks.doctor.run", *sys.argv[1:]]
        parts = [
            subprocess.Popen(
                [*command, "--jobs", "1", "--part", f"{i}/{options.jobs}"]
            )
            for i in range(options.jobs)
        ]
        failed = [part.wait() for part in parts]
        if any(failed):
            raise SystemExit(1)
    else:
        one_part(options)
    if options.references and options.part == "0/1":
        write_references(options.out / OUTCOMES)


if __name__ == "__main__":
    main()
