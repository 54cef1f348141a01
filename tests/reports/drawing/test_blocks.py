"""Which rows of a big model a table shows."""

import io

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from keras_concepts.reports.drawing.blocks import (
    block_levels,
    distance_from_the_others,
    last_rows,
    worst_first,
)
from keras_concepts.reports.drawing.table_style import NameTable

RESNET = [
    "conv1_conv",
    *(
        f"conv{stage}_block{block}_{i}_conv"
        for stage in (2, 3)
        for block in (1, 2, 3)
        for i in (1, 2, 3)
    ),
    "predictions",
]


def test_blocks_by_the_numbers_in_the_names():
    *_, stages, everything = (
        list(dict.fromkeys(b)) for b in block_levels(RESNET)
    )
    assert stages == ["conv1", "conv2", "conv3", "predictions"]
    assert everything == [""]
    levels = [len(set(blocks)) for blocks in block_levels(RESNET)]
    assert levels == [20, 20, 8, 4, 1]
    paths = ["layer_3/attention/query", "layer_3/mlp/conv2d", "layer_12/mlp"]
    assert next(block_levels(paths)) == ["layer_3", "layer_3", "layer_12"]
    assert [*block_levels([])] == [[]] * 5


def test_the_worst_of_each_block_and_then_the_next_worst():
    badness = np.zeros(20)
    badness[[4, 5, 6, 10]] = 3.0, 9.0, 4.0, 5.0
    shown = worst_first(RESNET, badness, 10)
    # Blocks: conv1, three of conv2, three of conv3, predictions.
    assert len(shown.places) == 10
    assert shown.places[:3] == [5, 6, 4]
    assert shown.places[3] == 10
    assert {0, 19} < set(shown.places)
    assert shown.note.startswith("10 of 20 rows are left out; shown are the ")
    assert "max_rows=None" in shown.note
    for all_rows in (None, 20):
        assert worst_first(RESNET, badness, all_rows) == ([*range(20)], "")


def test_rows_without_blocks_and_without_a_badness():
    names = [f"dense_{i}" for i in range(100)]
    shown = worst_first(names, np.r_[[np.nan] * 50, [np.inf], np.arange(49)], 3)
    assert shown.places == [50, 99, 98]


@pytest.mark.parametrize(
    ("wrong", "error"), [(0, ValueError), (1.5, TypeError)]
)
def test_max_rows_is_checked(wrong, error):
    for make in (
        lambda: worst_first(["a"], [0.0], wrong),
        lambda: last_rows(1, wrong, "epochs"),
    ):
        with pytest.raises(error, match="`max_rows`"):
            make()


def test_the_last_rows():
    assert last_rows(3, 3, "epochs").places == [0, 1, 2]
    shown = last_rows(100, 2, "epochs")
    assert shown.places == [98, 99]
    assert shown.note.startswith(
        "98 of 100 rows are left out; shown are the las"
    )


def test_distance_from_the_others():
    sizes = np.array([1e-3, 1.0, 1.0, 1.0, 100.0, 0.0, np.nan])
    found = distance_from_the_others(sizes, [0.0, 1.0, *[np.nan] * 5])
    np.testing.assert_allclose(found, [3.0, 3.0, 0.0, 0.0, 2.0, 1e3, 0.0])
    assert not distance_from_the_others(np.array([np.nan])).any()


def test_names_of_shown_rows_are_told_from_those_left_out():
    names = [f"block_{i}_conv_{k}_pointwise" for i in range(20) for k in (1, 2)]
    shown = worst_first(names, np.arange(40), 5)
    table = NameTable(
        "A title", names, {"x": [Text("1")] * 40}, about={}, rows=shown
    )
    console = Console(file=io.StringIO(), width=25)
    console.print(table)
    lines = console.file.getvalue().splitlines()
    cut = [line.split()[0] for line in lines if line.startswith("block")]
    assert len(cut) == 5
    for name in cut:
        head, _, tail = name.partition("...")
        assert sum(n.startswith(head) and n.endswith(tail) for n in names) == 1
    assert "35 of 40 rows are left out" in " ".join(" ".join(lines).split())
