"""Matplotlib figures as SVG inside a page."""

import contextlib
import io
import re
import threading
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

from keras_concepts._extras import missing
from keras_concepts.reports.drawing.names import printable

# Points. A phone is about this many pixels wide, so text has the size drawn.
WIDTH = 340.0
# Colours of the reports' figures, and variables of the page's style.
COLOURS = {
    "#0072b2": "blue",
    "#d55e00": "orange",
    "#009e73": "green",
    "#cc79a7": "pink",
    "#e69f00": "amber",
    "#56b4e9": "sky",
    "#000000": "ink",
    "#ffffff": "paper",
    "#4d4d4d": "muted",
    "#595959": "muted",
    "#666666": "muted",
    "#737373": "muted",
    "#808080": "muted",
    "#b0b0b0": "line",
    "#d9d9d9": "line",
}
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "keras-concepts",
    "image.composite_image": False,
    "axes.formatter.use_mathtext": False,
    "font.family": "DejaVu Sans",
    "path.simplify": True,
}
# matplotlib's settings are global to the process: one report at a time.
_drawing = threading.RLock()
_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Draws figures for a page, whatever the user's settings.

    These are restored afterwards. In the meantime, other threads also draw with
    the settings of the page.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise missing("HTML reports", "matplotlib", "report") from error
    settings: Any = {
        key: value
        for key, value in matplotlib.rcParamsDefault.items()
        if key not in ("backend", "backend_fallback", "interactive", "timezone")
    }
    with _drawing, warnings.catch_warnings(), matplotlib.rc_context():
        # Names may have letters missing from fonts here but not from the
        # reader's.
        warnings.simplefilter("ignore")
        matplotlib.rcParams.update(settings | _SETTINGS)
        yield


def new_figure(height: float) -> Any:
    """A figure for `svg_of`, `WIDTH` × `height` points.

    Args:
        height: Height in points.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72.0, height / 72.0), dpi=72)
    figure.patch.set_visible(False)
    return figure


def svg_of(figure: Any, name: str, title: str, description: str) -> str:
    """A figure as an `<svg>` element whose colours follow the page's.

    Text stays text, and identifiers do not clash with those of other figures on
    the page.

    Args:
        figure: From `new_figure`.
        name: Name of the figure on its page; its identifiers begin with it.
        title: Short name for a screen reader.
        description: What the figure shows, in a sentence.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text()))
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata=_METADATA)
    root = ET.fromstring(file.getvalue())
    for element in root.iter():
        _forget_namespaces(element)
    _ = _leave_out(root)
    _rename(root, name)
    for element in root.iter():
        _restyle(element)
    _flatten(root)
    for size in ("width", "height"):
        del root.attrib[size]
    root.set("class", "chart")
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    for place, (tag, text) in enumerate(
        (("title", title), ("desc", description))
    ):
        element = ET.Element(tag, {"id": f"{name}-{tag}"})
        element.text = printable(text)
        root.insert(place, element)
    return ET.tostring(root, encoding="unicode")


def _forget_namespaces(element: ET.Element) -> None:
    """A page needs no XML namespaces."""
    names = [element.tag, *element.attrib]
    tag, *keys = (name.rpartition("}")[2] for name in names)
    values = [*element.attrib.values()]
    element.tag = tag
    element.attrib.clear()
    element.attrib.update(zip(keys, values, strict=True))


def _leave_out(element: ET.Element) -> bool:
    """Removes what a page does not need; returns whether nothing is left."""
    for child in list(element):
        if _leave_out(child):
            element.remove(child)
    element.tail = None
    if element.tag == "text":
        return not element.text
    element.text = None
    if element.tag in ("g", "defs"):
        return not len(element)
    return element.tag in ("metadata", "style")


def _flatten(element: ET.Element) -> None:
    """Replaces groups without attributes by their contents."""
    children: list[ET.Element] = []
    for child in element:
        _flatten(child)
        is_plain = child.tag == "g" and not child.attrib
        children.extend(child if is_plain else [child])
    element[:] = children


def _rename(root: ET.Element, name: str) -> None:
    """Shortens identifiers that are referred to, and removes others."""
    texts = [v for e in root.iter() for v in e.attrib.values()]
    used = {
        found: f"{name}-{number}"
        for number, found in enumerate(
            dict.fromkeys(
                match
                for text in texts
                for match in re.findall(r"(?:^|url\()#([^)]+)", text)
            )
        )
    }
    for element in root.iter():
        attributes = element.attrib
        if "id" in attributes:
            identifier = attributes.pop("id")
            if identifier in used:
                attributes["id"] = used[identifier]
        for key, value in attributes.items():
            if "#" in value and key in ("href", "clip-path"):
                attributes[key] = re.sub(
                    r"#([^)]+)", lambda m: f"#{used[m[1]]}", value
                )
            elif key in ("d", "x", "y", "transform"):
                attributes[key] = _shortened(value)


def _shortened(numbers: str) -> str:
    """Rounds coordinates to a hundredth of a point."""
    text = re.sub(
        r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", numbers
    ).replace("\n", "")
    return re.sub(r" +", " ", text).strip()


def _restyle(element: ET.Element) -> None:
    """Replaces colours by variables, and fonts by those of the page."""
    style = element.get("style")
    if style:
        style = re.sub(r"font-family: [^;]*;? ?", "", style)
        style = re.sub(
            r"#[0-9a-f]{6}",
            lambda m: f"var(--{COLOURS[m[0]]})" if m[0] in COLOURS else m[0],
            style,
        )
        element.set("style", style)
    if element.get("transform", "").startswith(("rotate(-0 ", "rotate(0 ")):
        del element.attrib["transform"]
    if element.get("href", "").startswith("data:"):
        element.set("href", re.sub(r"\s", "", element.attrib["href"]))
