"""Figures and reports are shown where their reader looks, once."""

import sys
import threading

import pytest

from keras_concepts import reports
from keras_concepts._figures import new_figure
from keras_concepts._shown_as_text import ShownText, show_text
from keras_concepts.recording import Recording

pyplot = pytest.importorskip("matplotlib.pyplot")

PLOTS = [name for name in reports.__all__ if name.startswith("plot_")]


@pytest.mark.parametrize("name", sorted(set(PLOTS) - {"plot_recording"}))
def test_scripts_show_every_figure_with_pyplot(name):
    rows = Recording()
    data = {"a": rows} if name == "plot_gradient_stacks" else rows
    figure = getattr(reports, name)(data)
    assert pyplot.get_fignums() == [figure.number]
    pyplot.close(figure)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_figure_of_a_page_is_not_shown_beside_it():
    recording = Recording(monitor="GradientMonitor")
    recording.append(0, "a/kernel", "gradient_rms", 0, 1.0)
    assert "<img" in reports.report_of("GradientMonitor").html(recording)
    assert pyplot.get_fignums() == []
    _ = new_figure(2.0, 2.0)
    assert len(pyplot.get_fignums()) == 1


def test_a_figure_without_a_display_can_be_saved(monkeypatch, tmp_path):
    def fail(**options):
        raise ImportError("Cannot load backend 'TkAgg'")

    monkeypatch.setattr(pyplot, "figure", fail)
    figure = new_figure(2.0, 2.0)
    figure.savefig(tmp_path / "figure.png")
    assert pyplot.get_fignums() == []


def test_a_thread_opens_no_window():
    thread = threading.Thread(target=lambda: new_figure(2.0, 2.0))
    thread.start()
    thread.join()
    assert pyplot.get_fignums() == []


def test_a_notebook_shows_a_figure_once(monkeypatch):
    """IPython calls `_ipython_display_` of whatever it is about to show."""
    module = "module://matplotlib_inline.backend_inline"
    for backend, left in (("agg", 1), (module, 0)):
        figure = new_figure(2.0, 2.0)
        monkeypatch.setattr(pyplot, "get_backend", lambda name=backend: name)
        with pytest.raises(NotImplementedError):
            figure._ipython_display_()
        assert len(pyplot.get_fignums()) == left
        assert figure._repr_png_().startswith(b"\x89PNG")
        pyplot.close("all")


class Printer:
    def __init__(self):
        self.texts = []

    def text(self, text):
        self.texts.append(text)


def test_text_is_shown_line_by_line():
    printer = Printer()
    text = ShownText("a\nb")
    text._repr_pretty_(printer, False)
    assert printer.texts == ["a\nb"]
    assert text == "a\nb"


def test_what_has_a_text_shows_it_in_a_notebook():
    pytest.importorskip("keras")
    import keras_concepts as kc
    from keras_concepts.callbacks.non_finite_guard import NonFinite
    from keras_concepts.instruments.masks.mask_finding import MaskFinding

    for shown in (
        *(kc.MaskReport, kc.GradientCheck, kc.reports.Sparsity),
        *(NonFinite, MaskFinding),
    ):
        # IPython looks at each class before it looks at its bases.
        assert vars(shown)["_repr_pretty_"] is show_text
        assert vars(shown)["__str__"] is not object.__str__


@pytest.mark.parametrize(
    ("module", "extra", "act"),
    [
        ("pandas", "pandas", lambda folder: Recording().to_pandas()),
        ("matplotlib.figure", "plot", lambda folder: new_figure(1.0, 1.0)),
        (
            "tensorboardX",
            "tensorboard",
            lambda folder: reports.TensorBoardWriter(folder),
        ),
        ("mlflow", "mlflow", lambda folder: reports.MLflowWriter()),
        ("wandb", "wandb", lambda folder: reports.WandbWriter()),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    module, extra, act, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError) as caught:
        act(tmp_path)
    package = module.split(".")[0]
    assert str(caught.value).endswith(
        f'need {package}: pip install "keras-concepts[{extra}]"'
    )


def test_the_extras_that_are_named_exist():
    import pathlib
    import tomllib

    root = pathlib.Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for package, extra in (
        *(("matplotlib", "plot"), ("pandas", "pandas")),
        *(("tensorboardX", "tensorboard"), ("wandb", "wandb")),
        ("mlflow-skinny", "mlflow"),
    ):
        assert any(line.startswith(package) for line in extras[extra])
