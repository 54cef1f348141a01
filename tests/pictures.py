"""What can be seen of a figure."""

import itertools

import numpy as np
from matplotlib.collections import QuadMesh
from matplotlib.text import Text


def meshes(axes):
    """The heatmaps in these axes."""
    return [c for c in axes.collections if isinstance(c, QuadMesh)]


def colours(axes):
    """What is seen of each cell, `(layers, columns, 4)`."""
    axes.figure.canvas.draw()
    shape = meshes(axes)[0].get_array().shape
    seen = np.zeros((*shape, 4))
    for mesh in meshes(axes):
        drawn = mesh.get_facecolor().reshape(*shape, 4)
        seen = np.where(drawn[..., 3:] > 0.0, drawn, seen)
    return seen


def _drawn_texts(figure, monkeypatch):
    drawn = {}
    draw = Text.draw

    def note(text, *args, **kwargs):
        if text.get_visible() and text.get_text().strip():
            drawn[id(text)] = text
        draw(text, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", note)
        figure.canvas.draw()
    return list(drawn.values())


def check_layout(figure, monkeypatch):
    """All texts are inside of the figure and apart."""
    texts = _drawn_texts(figure, monkeypatch)
    assert len(texts) > 10
    boxes = [(text, text.get_window_extent()) for text in texts]
    for text, box in boxes:
        inside = figure.bbox.padded(1)
        assert inside.contains(box.x0, box.y0), text
        assert inside.contains(box.x1, box.y1), text
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        # The two titles of a panel share lines on purpose.
        if not one.get_text().endswith("\n "):
            assert not a.padded(-1).overlaps(b.padded(-1)), (one, other)
