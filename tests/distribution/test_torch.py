"""`DistributedDataParallel` on 2 gloo processes, as in Keras' guide."""

import pathlib
import re

import keras
import pytest

from distribution.processes import HERE, free_port, rows_of, run_together

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="`DistributedDataParallel`"
)
PAGE = HERE.parents[1] / "docs" / "distributed_training.md"
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"}


def test_every_component(tmp_path):
    port = free_port()
    outputs = run_together(
        [[HERE / "on_torch.py", port, rank, tmp_path] for rank in (0, 1)],
        timeout=300,
        **LOOPBACK,
    )
    first, second = map(rows_of, outputs)
    assert first == second
    came = dict(first)
    assert came.pop("written") == [
        "doctor.jsonl",
        "gradients.jsonl",
        "report.html",
    ]
    assert "Pass `num_classes`" in came.pop("uneven")
    # Each process measures the layers that it has.
    assert came.pop("layers") == "share"
    refused = [name for name in came if name.endswith("(wrapper)")]
    assert len(refused) == 9
    for name in refused:
        sentence = came.pop(name)
        assert sentence.startswith("TypeError: "), name
        assert "Pass what it wraps, `model.module`." in sentence, name
    assert len(came) > 15
    assert set(came.values()) == {"right"}, came


def test_the_recipe_of_the_page(tmp_path):
    if not PAGE.exists():
        pytest.skip("the page is not written yet")
    blocks = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S
    )
    [recipe] = [each for each in blocks if "init_process_group" in each]
    script = pathlib.Path(tmp_path) / "recipe.py"
    _ = script.write_text(recipe, "utf-8")
    # As `torchrun` sets them for each process.
    port = str(free_port())
    commands = [
        [
            "-c",
            f"import os, runpy; os.environ['RANK'] = '{rank}'; "
            f"runpy.run_path({str(script)!r})",
        ]
        for rank in (0, 1)
    ]
    first, second = run_together(
        commands,
        timeout=300,
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=port,
        WORLD_SIZE="2",
        **LOOPBACK,
    )
    assert first == second
    assert "F1 of all rows" in first
