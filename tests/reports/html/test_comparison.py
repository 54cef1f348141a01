import pytest

from keras_concepts import reports
from keras_concepts.recording import Recording

pytest.importorskip("jinja2")


@pytest.fixture
def pair(record_course, judged_by):
    judged_by({"name": "fine"})
    facts = {
        "optimizer": {"class": "Adam", "config": {"learning_rate": 0.001}},
        "backend": "torch",
        "layers": [
            {"path": "a", "class": "Dense", "units": 3, "activation": "relu"}
        ],
    }
    other = facts | {
        "optimizer": {"class": "SGD", "config": {"learning_rate": 0.1}},
        "layers": [
            {"path": "b", "class": "Dense", "units": 3, "activation": "tanh"}
        ],
    }
    return {
        "one": record_course([(2.0, 3.0), (1.0, 4.0)], facts=facts),
        "two": record_course([(5.0, 7.0)], facts=other),
    }


def _row(text, name):
    """Cells of a row of a table."""
    row = text.split(f'<th scope="row"><div>{name}</div></th>')[1]
    cells = row.split("</tr>")[0].split("<td>")[1:]
    return [cell.split("</td>")[0] for cell in cells]


def test_results_and_differences(pair):
    text = reports.comparison_html(pair)
    assert _row(text, "loss, last") == ["1", "5"]
    assert _row(text, "val_loss, smallest") == ["3", "7"]
    assert _row(text, "epochs") == ["2", "1"]
    assert _row(text, "Optimizer: class") == ["Adam", "SGD"]
    assert _row(text, "Optimizer: learning rate") == ["0.001", "0.1"]
    assert _row(text, "Layer 1") == [
        "Dense, units 3, activation relu",
        "Dense, units 3, activation tanh",
    ]
    assert "Run: backend" not in text  # the same in both
    assert "one goes from 2 in epoch 1 to 1 in epoch 2; two is 5" in text


def test_a_run_with_itself(pair):
    text = reports.comparison_html({"a": pair["one"], "b": pair["one"]})
    assert "No fact that was recorded differs." in text


def test_with_an_empty_recording(pair, tmp_path):
    reports.write_comparison({**pair, "none": Recording()}, tmp_path / "c.html")
    text = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "No training run has been checked yet." in text
    assert _row(text, "loss, last") == ["1", "5", "–"]


@pytest.mark.parametrize("count", [0, 7])
def test_how_many(pair, count):
    recordings = {str(i): pair["one"] for i in range(count)}
    with pytest.raises(ValueError, match=f"Received: {count} recordings"):
        _ = reports.comparison_html(recordings)
