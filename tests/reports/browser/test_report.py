import io
import json

import pytest

from keras_concepts import reports

Image = pytest.importorskip("PIL.Image")

SCRIPT = "<script>alert(1)</script>"
WIDTHS = (360, 768, 1280)
SCHEMES = ("light", "dark")
# Of graphics against what is around them; WCAG 2.2, 1.4.11.
CONTRAST = 3.0
# Pixels on a phone, of the smallest text in a chart.
SMALLEST = 8.5

_OPEN_ALL = "document.querySelectorAll('details').forEach(x => x.open = true)"
_OUTSIDE = """
() => [...document.querySelectorAll('svg.chart')].flatMap(svg => {
    const all = svg.getBoundingClientRect()
    return [...svg.querySelectorAll('text')].filter(text => {
        const box = text.getBoundingClientRect()
        return box.left < all.left - 1 || box.right > all.right + 1
            || box.top < all.top - 1 || box.bottom > all.bottom + 1
    }).map(text => text.textContent)
})
"""
_TOUCHING = """
() => [...document.querySelectorAll('svg.chart')].flatMap(svg => {
    const boxes = [...svg.querySelectorAll('text')].map(
        text => [text.textContent, text.getBoundingClientRect()])
    return boxes.flatMap(([one, a], i) => boxes.slice(i + 1).filter(
        ([, b]) => a.left < b.right - 1 && b.left < a.right - 1
            && a.top < b.bottom - 3 && b.top < a.bottom - 3
    ).map(([other]) => `${one} | ${other}`))
})
"""
_FONT_SIZES = """
() => [...document.querySelectorAll('svg.chart text')].map(text =>
    parseFloat(getComputedStyle(text).fontSize)
        * text.ownerSVGElement.getScreenCTM().a)
"""


def test_every_chart_is_drawn(text, visit):
    page = visit(text)
    page.evaluate(_OPEN_ALL)
    charts = page.locator("svg.chart").all()
    assert charts
    for chart in charts:
        picture = Image.open(io.BytesIO(chart.screenshot())).convert("RGB")
        colours = picture.getcolors(maxcolors=1 << 24)
        assert len(colours) > 1, chart.get_attribute("aria-labelledby")


@pytest.mark.parametrize(
    ("theme", "is_dark"),
    [
        ("data-jp-theme-light=true", False),
        ("data-jp-theme-light=false", True),
        ("class=vscode-dark", True),
        ("class='vscode-high-contrast vscode-high-contrast-light'", False),
        ("", False),
    ],
)
def test_the_figure_in_a_notebook_is_as_dark_as_the_notebook(
    everything, visit, theme, is_dark
):
    shown = reports.report_of("GradientMonitor").html(everything)
    page = visit(f"<body {theme}>{shown}", color_scheme="dark")
    figure = page.locator("img")
    picture = Image.open(io.BytesIO(figure.screenshot())).convert("L")
    assert (picture.getpixel((3, 3)) < 50) == is_dark
    assert figure.bounding_box()["width"] > 600


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(text, visit, width):
    page = visit(text, width=width)
    for opened in (False, True):
        if opened:
            page.evaluate(_OPEN_ALL)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(_OUTSIDE) == []
    assert page.evaluate(_TOUCHING) == []


def test_charts_can_be_read_on_a_phone(text, visit):
    page = visit(text, width=360, height=740)
    page.evaluate(_OPEN_ALL)
    assert min(page.evaluate(_FONT_SIZES)) >= SMALLEST


def test_the_first_problem_is_on_the_first_screen(failed, visit):
    for width, height in ((360, 740), (1280, 800)):
        page = visit(failed, width=width, height=height)
        for shown in (".verdict", ".problem h3", ".advice"):
            box = page.locator(shown).first.bounding_box()
            assert box["y"] + box["height"] <= height


def test_links_lead_somewhere(text, visit):
    page = visit(text)
    links = page.locator("a[href^='#']:not(.skip)").all()
    assert links
    for link in links:
        target = link.get_attribute("href")
        link.click()
        assert page.evaluate("location.hash") == target
        assert page.locator(target).is_visible()
        # At the end of a page it cannot come to the top.
        box = page.locator(target).bounding_box()
        assert -1 <= box["y"] < 800


def test_by_keyboard(failed, visit):
    page = visit(failed)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    summaries = page.locator("summary").count()
    reached = set()
    for _ in range(6 * summaries + 20):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "[...document.querySelectorAll('summary')]"
                ".indexOf(document.activeElement)"
            )
        )
    # Those inside of closed ones are reached once these are open.
    visible = page.locator("summary:visible").count()
    assert len(reached - {-1}) == visible
    page.locator("summary:visible").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1


def test_dark_and_light(failed, visit):
    papers = set()
    for scheme in SCHEMES:
        page = visit(failed, color_scheme=scheme)
        colours = page.evaluate(
            """() => Object.fromEntries(
                ['paper', 'ink', 'blue', 'orange', 'green', 'pink', 'amber',
                    'sky', 'muted', 'error', 'warning', 'info', 'fine'].map(
                name => {
                    const probe = document.createElement('i')
                    probe.style.color = `var(--${name})`
                    document.body.append(probe)
                    return [name, getComputedStyle(probe).color]
                }))"""
        )
        paper = colours.pop("paper")
        papers.add(paper)
        for name, colour in colours.items():
            assert _contrast(colour, paper) >= CONTRAST, (scheme, name)
        line = page.locator(
            "svg.chart path[style*='stroke: var(--blue)']"
        ).first
        drawn = line.evaluate("it => getComputedStyle(it).stroke")
        assert drawn == colours["blue"]
    assert len(papers) == 2


def _contrast(one, other):
    """As WCAG defines it."""
    bright, dark = sorted(map(_luminance, (one, other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour):
    parts = colour.removeprefix("rgb(").removesuffix(")").split(",")
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (int(part) / 255 for part in parts)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_names_are_text(script, visit):
    page = visit(script)
    page.evaluate(_OPEN_ALL)
    body = page.locator("body").inner_text()
    for name in (SCRIPT, "[red]$x$", r"\u202eabc", r"\x07\ud800"):
        assert name in body
    assert page.locator("script").count() == 0
    assert page.locator("svg text", has_text="[red]$x$").count() > 0


def test_scripts_are_forbidden(tmp_path, browser, healthy):
    path = tmp_path / "page.html"
    path.write_text(
        healthy.replace("<h1>", "<script>document.title = 7</script><h1>")
    )
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.title() not in ("", "7")
    page.close()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_accessible(text, visit, axe, scheme):
    page = visit(text, color_scheme=scheme, bypass_csp=True)
    page.evaluate(_OPEN_ALL)
    page.evaluate(axe)
    # Only colours differ in the dark.
    rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    found = page.evaluate("rules => axe.run(rules)", rules)
    assert len(found["passes"]) >= (1 if rules else 15)
    violations = [
        (each["id"], each["impact"], [node["html"] for node in each["nodes"]])
        for each in found["violations"]
    ]
    assert violations == [], json.dumps(violations, indent=1)[:3000]


def test_empty(empty, visit, axe):
    page = visit(empty, bypass_csp=True)
    assert "No training run" in page.locator("main").inner_text()
    page.evaluate(axe)
    assert page.evaluate("() => axe.run()")["violations"] == []


def test_prints_on_a4(failed, visit):
    page = visit(failed, color_scheme="dark", width=718)  # without margins
    assert len(page.pdf(prefer_css_page_size=True)) > 20_000
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"


def test_a_live_page_reads_itself_again(tmp_path, browser, healthy):
    path = tmp_path / "live.html"
    refresh = '<meta http-equiv="refresh" content="1">'
    path.write_text(healthy.replace("<title>", f"{refresh}<title>", 1))
    page = browser.new_page()
    page.goto(path.as_uri())
    path.write_text(healthy.replace("<h1>", "<h1>later "))
    page.get_by_text("later").wait_for(timeout=5000)
    page.close()


def test_pages_are_small(text):
    assert len(text.encode()) < 1_000_000
