import dataclasses
import sys

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.tensorboard import (
    TensorBoardWriter,
    markdown,
    write_tensorboard,
)
from keras_concepts.rules import Evidence, Finding, Measured

event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator"
)

PATH = "model/a/kernel"
RMS = np.array([1e-3, 0.1, 0.0, np.nan, 1e-25, 2.5, np.inf, 0.5])


@pytest.fixture
def recording():
    """Eight steps in two epochs of four."""
    recording = Recording(monitor="GradientMonitor")
    for epoch in (0, 1):
        steps = np.arange(4) + 4 * epoch
        recording.append(epoch, "", q.GRADIENT_NORM, steps, steps / 8)
        recording.append(epoch, PATH, q.GRADIENT_RMS, steps, RMS[steps])
        recording.append(epoch, "model/a", q.UNITS, steps[-1], 16)
        recording.append(
            epoch, "model/a", q.ZERO_GRADIENT_UNITS, steps[-1], 2 + epoch
        )
        recording.append(
            epoch,
            "model/a",
            q.ZERO_GRADIENT_UNIT,
            steps[-1],
            [1, 1],
            index=[5, 9],
        )
    return recording


def _read(log_dir):
    everything = {"scalars": 0, "histograms": 0}
    events = event_accumulator.EventAccumulator(str(log_dir), everything)
    return events.Reload()


def _scalars(events, tag):
    return {event.step: event.value for event in events.Scalars(tag)}


def test_scalars_are_the_recording(recording, tmp_path):
    write_tensorboard(recording, tmp_path)
    events = _read(tmp_path)
    assert set(events.Tags()["scalars"]) == {
        "gradient_norm",
        f"gradient_rms/{PATH}",
        "zero_gradient_units/model/a",
    }
    norms = _scalars(events, "gradient_norm")
    assert norms == {step: step / 8 for step in range(8)}
    rms = _scalars(events, f"gradient_rms/{PATH}")
    assert list(rms) == list(range(8))
    np.testing.assert_array_equal(
        np.float32([*rms.values()]), RMS.astype(np.float32)
    )
    assert _scalars(events, "zero_gradient_units/model/a") == {3: 2.0, 7: 3.0}


def test_a_second_fit_goes_on(tmp_path):
    """Without a file each `fit` counts from 0; TensorBoard shows both."""
    writer = TensorBoardWriter(tmp_path)
    for _ in range(2):
        recording = Recording(monitor="GradientMonitor")
        for step in range(3):
            recording.append(0, "", q.GRADIENT_NORM, step, step / 8)
            writer.write(recording)
    writer.close()
    norms = _scalars(_read(tmp_path), q.GRADIENT_NORM)
    assert norms == {step: step % 3 / 8 for step in range(6)}


def test_histograms_count_finite_positive_logs(recording, tmp_path):
    write_tensorboard(recording, tmp_path)
    events = _read(tmp_path)
    tag = f"gradient_rms_log10/{PATH}"
    assert events.Tags()["histograms"] == [tag]
    first, second = events.Histograms(tag)
    assert (first.step, second.step) == (3, 7)
    for event, rms in ((first, [1e-3, 0.1]), (second, [1e-25, 2.5, 0.5])):
        histogram, logs = event.histogram_value, np.log10(rms)
        assert histogram.num == sum(histogram.bucket) == len(logs)
        assert histogram.min == pytest.approx(logs.min())
        assert histogram.max == pytest.approx(logs.max())
        assert histogram.sum == pytest.approx(logs.sum())
        # Each value lies in a bucket that is a tenth wide.
        limits = np.array(histogram.bucket_limit)
        filled = limits[np.array(histogram.bucket) > 0]
        assert (filled >= np.sort(logs) - 1e-9).all()
        assert (filled <= np.sort(logs) + 0.1 + 1e-9).all()


def test_epoch_without_a_finite_gradient_has_no_histogram(tmp_path):
    recording = Recording(monitor="GradientMonitor")
    recording.append(0, PATH, q.GRADIENT_RMS, [0, 1], [np.nan, 0.0])
    write_tensorboard(recording, tmp_path)
    assert _read(tmp_path).Tags()["histograms"] == []


def test_each_write_adds_what_is_new_and_is_readable_at_once(tmp_path):
    recording = Recording(monitor="GradientMonitor")
    writer = TensorBoardWriter(tmp_path / "missing" / "folder")
    for epoch in range(3):
        steps = [2 * epoch, 2 * epoch + 1]
        recording.append(epoch, PATH, q.GRADIENT_RMS, steps, [0.1, 0.2])
        writer.write(recording)
        events = _read(tmp_path / "missing" / "folder")
        scalars = events.Scalars(f"gradient_rms/{PATH}")
        assert [e.step for e in scalars] == list(range(2 * epoch + 2))
        histograms = events.Histograms(f"gradient_rms_log10/{PATH}")
        assert [e.step for e in histograms] == [
            2 * i + 1 for i in range(epoch + 1)
        ]
    writer.write(recording)
    assert len(_read(writer.log_dir).Scalars(f"gradient_rms/{PATH}")) == 6
    writer.close()
    writer.close()


def test_a_second_writer_leaves_the_first_ones_file(recording, tmp_path):
    write_tensorboard(recording, tmp_path)
    more = Recording()
    more.append(0, "", q.GRADIENT_NORM, [8, 9], [1.0, 2.0])
    write_tensorboard(more, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    norms = _scalars(_read(tmp_path), "gradient_norm")
    assert list(norms) == list(range(10))


def test_missing_tensorboardx_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"keras-concepts\[tensorboard\]"):
        TensorBoardWriter(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def _tags_and_steps(log_dir):
    """Every tag and step of a folder, as often as it was written."""
    from tensorboard.backend.event_processing import event_file_loader

    found = []
    for file in sorted(log_dir.iterdir()):
        loader = event_file_loader.RawEventFileLoader(str(file))
        for raw in loader.Load():
            event = event_pb2.Event.FromString(raw)
            found += [(v.tag, event.step) for v in event.summary.value]
    return found


def test_no_tag_has_two_values_at_a_step(everything, joined, tmp_path):
    everything = everything.select(run=0)
    guard = Recording(monitor="NonFiniteGuard")
    guard.append(0, "", q.BATCH_LOSS, 9, 9.0)  # which both monitors record
    write_tensorboard(joined(everything, guard), tmp_path)
    found = _tags_and_steps(tmp_path)
    assert len(found) > 250
    assert len(set(found)) == len(found)


def test_what_the_vocabulary_says_is_no_curve_is_left_out(
    everything, record_signals, joined, tmp_path
):
    some = record_signals({"a": {q.SATURATED_UNIT: [1, 1]}}, run=2)
    write_tensorboard(joined(everything, some), tmp_path)
    tags = {tag for tag, _ in _tags_and_steps(tmp_path)}
    names = {tag.split("/")[0] for tag in tags}
    assert names.isdisjoint(
        {q.UNITS, q.SATURATED_UNIT, q.NON_FINITE_BATCH, q.NON_FINITE_GRADIENT}
    )
    assert {"error_rms/model/a", "mean_shift/model/bn/1"} <= tags
    assert "state_error_rms/model/lstm/11" in tags


def test_channels_have_tags_of_their_own(record_shifts, tmp_path):
    shifts = {"bn": ([0.5, -2.0], [0.0, 1.0])}
    write_tensorboard(record_shifts(shifts, 1), tmp_path)
    events = _read(tmp_path)
    assert _scalars(events, "mean_shift/model/bn/0") == {9: 0.5}
    assert _scalars(events, "mean_shift/model/bn/1") == {9: -2.0}


def test_the_second_probe_has_tags_of_its_own(record_signals, joined, tmp_path):
    first = record_signals({"a": {}}, measured=1)
    second = record_signals(
        {"a": {q.ERROR_RMS: 0.5}}, measured=1, monitor="SignalMonitor (2)"
    )
    write_tensorboard(joined(first, second), tmp_path)
    events = _read(tmp_path)
    assert _scalars(events, "error_rms/model/a") == {0: pytest.approx(0.1)}
    assert _scalars(events, "error_rms (2)/model/a") == {0: 0.5}


def test_the_start_of_a_run_is_written_beside_the_end_of_another(
    record_signals, joined, tmp_path
):
    first = record_signals({"a": {q.ERROR_RMS: 0.25}}, measured=2)
    second = record_signals(
        {"a": {q.ERROR_RMS: 0.5}}, measured=2, first_step=10, run=1
    )
    write_tensorboard(joined(second, first), tmp_path)
    events = _read(tmp_path).Scalars("error_rms/model/a")
    assert [(e.step, e.value) for e in events] == [
        (0, 0.25),
        (10, 0.25),
        (10, 0.5),
        (20, 0.5),
    ]


def test_steps_go_on_over_runs(everything, tmp_path):
    write_tensorboard(everything, tmp_path)
    norms = _scalars(_read(tmp_path), "gradient_norm")
    assert list(norms) == list(range(40))


DEAD = Finding(
    "dead_units",
    "warning",
    "net/hidden",
    (0, 4),
    (1, 10),
    evidence=(Measured("share of dead units", 0.75, 0.5),),
    why="Dead units learn nothing.",
    advice="Lower the learning rate.",
    code="keras.optimizers.Adam(1e-3)",
)


def _texts(log_dir):
    """`(step, Markdown)` of each finding, by its tag."""
    events = _read(log_dir)
    return {
        tag: [
            (event.step, event.tensor_proto.string_val[0].decode())
            for event in events.Tensors(tag)
        ]
        for tag in events.Tags()["tensors"]
    }


class TestFindings:
    def test_a_finding_is_a_text_where_it_was_noticed(self, tmp_path):
        recording = Recording(monitor="GradientMonitor")
        writer = TensorBoardWriter(tmp_path)
        for epoch in range(4):
            step = 10 * epoch + 9
            recording.append(epoch, "", q.GRADIENT_NORM, step, 1.0)
            findings = [DEAD] if epoch else []
            if epoch == 3:
                findings = [dataclasses.replace(DEAD, resolved=(3, 39))]
            writer.write(recording, findings)
        writer.close()
        ((tag, texts),) = _texts(tmp_path).items()
        assert tag == "findings/dead_units/text_summary"
        assert [step for step, _ in texts] == [10, 39]
        assert texts[0][1] == markdown(DEAD)
        assert texts[1][1].startswith(
            r"**warning: dead\_units in net/hidden**, from epoch 1 to 4, withd"
        )

    def test_those_of_a_recording_are_found_again(
        self, record_course, judged_by, tmp_path
    ):
        judged_by(
            {
                "name": "dead_units",
                "evidence": Evidence("a", (0, 4), (), "Do it."),
                "steps": (15, 25),
            }
        )
        write_tensorboard(record_course([(0.5,)] * 3), tmp_path)
        ((_, texts),) = _texts(tmp_path).items()
        assert [step for step, _ in texts] == [20, 30]

    @pytest.mark.parametrize(
        "name",
        [
            "<script>alert(1)</script>",
            '<img src=x onerror="alert(1)">',
            "[click](javascript:alert(1))",
            "![x](http://a/b.png)",
            "[red]$x$",
            "**bold** _it_ `code`",
            "a\n\n# title\n\n- b",
            "a\n\n    code\n",
            r"back\slash \\* *star*",
            "a|b\n-|-\nc|d",
            "&lt;b&gt; &#35;",
            "```\nx",
        ],
    )
    @pytest.mark.filterwarnings("ignore:html5lib:DeprecationWarning")
    def test_names_are_shown_as_they_are(self, name):
        import html
        import re

        from tensorboard.plugin_util import markdown_to_safe_html

        finding = dataclasses.replace(
            DEAD,
            owner=name,
            evidence=(Measured(name, name),),
            why=name,
            advice=name,
            code=name,
        )
        page = markdown_to_safe_html(markdown(finding))
        tags = set(re.findall(r"<(/?\w+)", page))
        plain = markdown_to_safe_html(markdown(DEAD))
        assert tags == set(re.findall(r"<(/?\w+)", plain))
        text = html.unescape(re.sub("<[^>]+>", "", page))
        shown = name.replace("\n", r"\n")
        assert text.count(shown) == 6


def test_layers_can_be_left_out(everything, tmp_path):
    write_tensorboard(everything, tmp_path, layers=False)
    tags = {tag for tag, _ in _tags_and_steps(tmp_path)}
    assert {"gradient_norm", "batch_loss"} <= tags
    assert not [tag for tag in tags if "model" in tag]
