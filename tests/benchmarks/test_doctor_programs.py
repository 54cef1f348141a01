"""The programs on which the doctor is scored: counts, halves, and two runs."""

import json
import pathlib
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks/doctor").exists(), reason="an installed package"
)


@pytest.fixture(scope="module", autouse=True)
def _root_on_path():
    sys.path.insert(0, str(ROOT))
    yield
    sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def programs(_root_on_path):
    from benchmarks.doctor.programs import PROGRAMS

    return PROGRAMS


def test_there_are_enough_of_them(programs):
    faulty = [p for p in programs.values() if p.is_faulty]
    healthy = [p for p in programs.values() if not p.is_faulty]
    assert len(faulty) >= 80
    assert len({p.kind for p in faulty}) >= 20
    assert len(healthy) >= 200


def test_every_yardstick_is_a_healthy_program(programs):
    yardsticks = {p.sane for p in programs.values() if p.sane}
    assert all(not programs[name].is_faulty for name in yardsticks)
    assert all(p.sane for p in programs.values() if p.is_faulty)


def test_halves_are_of_like_size_and_hold_most_kinds(programs):
    from benchmarks.doctor.registry import half_of

    parts = {name: half_of(p) for name, p in programs.items()}
    fresh = {name for name, part in parts.items() if part == "fresh"}
    assert len(fresh) >= 60
    assert 20 < sum(programs[name].is_faulty for name in fresh) < 80
    # The other parts are neither half.
    halves = {n: p for n, p in parts.items() if p in ("tune", "score")}
    programs = {n: p for n, p in programs.items() if n in halves}
    tune = [name for name, half in halves.items() if half == "tune"]
    # What was looked at while rules were tuned is in no other half.
    assert 1 / 3 < len(tune) / len(halves) < 2 / 3
    kinds = {p.kind for p in programs.values()}
    scored = {programs[n].kind for n, half in halves.items() if half == "score"}
    assert len(scored) > 0.9 * len(kinds)


def test_unlike_programs_are_two_halves_of_their_own(programs):
    from benchmarks.doctor.registry import half_of

    wild = [p for n, p in programs.items() if n.startswith("wild-")]
    halves = {
        name: [p for p in wild if half_of(p) == name]
        for name in ("wild-tune", "wild-score")
    }
    assert sum(map(len, halves.values())) == len(wild) >= 60
    for faulty in (False, True):
        tune, score = (
            sum(p.is_faulty == faulty for p in half) for half in halves.values()
        )
        assert abs(tune - score) <= 0.1 * (tune + score)
    tune, score = ({p.kind for p in half} for half in halves.values())
    assert len(tune & score) > 0.7 * len(tune | score)


def test_loop_of_fits_is_one_run(programs, tmp_path):
    import keras

    from benchmarks.doctor.recipe import Fit
    from benchmarks.doctor.registry import Program
    from benchmarks.doctor.run import run

    def build():
        x = np.linspace(-1.0, 1.0, 32, dtype="float32")[:, None]
        head = keras.layers.Dense(1, kernel_initializer="ones")  # no sigmoid
        model = keras.Sequential([keras.Input((1,)), head])
        model.compile("sgd", "binary_crossentropy")

        def train(callbacks):
            for epochs in (2, 3):
                yield model.fit(
                    x,
                    x > 0,
                    epochs=epochs,
                    batch_size=8,
                    verbose=0,
                    callbacks=callbacks,
                )

        return Fit(model, {}, lambda m: 1.0, train=train)

    row = run(Program("loop", "loop", build), 0, tmp_path, {})
    assert row.get("error") is None
    assert (row["epochs"], row["epochs_run"], row["steps"]) == (5, 5, 20)
    assert len(row["loss"]) == 5
    # What was found in either call, with the steps of both counted.
    found = [f for f in row["findings"] if f["rule"] == "head_loss_mismatch"]
    assert [f["noticed"][1] for f in found] == [0, 8]


@pytest.mark.parametrize(
    ("name", "failed"), [("wine-mlp", False), ("wine-raw-sgd", True)]
)
def test_outcome_is_measured(programs, tmp_path, name, failed):
    from benchmarks.doctor.run import run

    row = run(programs[name], 0, tmp_path, {"wine-mlp": [0.97]})
    assert row.get("error") is None
    assert row["failed"] == failed
    assert row["steps"] == 9 * 25
    assert (tmp_path / f"{name}-0.jsonl").exists()
    assert json.loads(json.dumps(row))["name"] == name


def test_gain_is_0_for_constants_and_1_for_the_truth():
    from benchmarks.doctor.data import Data
    from benchmarks.doctor.recipe import binary, gain

    y = np.array([0, 0, 0, 1])
    x = np.zeros((4, 1))
    data = Data(x, y, x, y, "binary", 1)
    assert gain(data, np.full((4, 1), 0.2)) == 0.0
    assert gain(data, np.array([[0.1], [0.1], [0.1], [0.9]])) == 1.0
    assert binary(np.array([[0.2, 0.8]]), 0.5).tolist() == [1]
    real = Data(x, y, x, y.astype(float), "real", 1)
    assert gain(real, np.full(4, 0.25)) == 0.0
    assert gain(real, np.full(4, np.nan)) == -1.0
    tokens = Data(x, y, x, np.array([[0, 0, 0, 1]]), "tokens", 2)
    assert gain(tokens, np.eye(2)[[[0, 0, 0, 0]]]) == 0.0


def test_wilson_interval():
    from benchmarks.doctor.shares import share, wilson

    # Brown, Cai and DasGupta 2001 print these for n = 10.
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    both = share([("a", True), ("a", False), ("b", True)])
    assert (both.hits, both.count, both.programs) == (2, 3, 2)
    assert both.program_hits == 1.5
