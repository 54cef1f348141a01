"""Links work, code can be parsed, every public name has its page."""

import ast
import importlib
import itertools
import pathlib
import re

import pytest

import keras_concepts as kc
from keras_concepts._documentation import SITE, page_link, page_url
from keras_concepts.cli import main
from keras_concepts.rules.rule import RULES

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
REPOSITORY = "https://github.com/keras-concepts/keras-concepts/blob/main/"
FOLDERS = ("benchmarks", "callbacks", "docs", "examples")
PAGES = sorted(ROOT.glob("*.md")) + sorted(
    page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")
)
MODULES = (
    "callbacks",
    "constraints",
    "initializers",
    "instruments",
    "layers",
    "losses",
    "metrics",
    "regularizers",
    "reports",
    "rules",
)


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def without_code(text):
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(page):
    """Of headings as GitHub and the site make them, and those given by hand."""
    text = page.read_text(encoding="utf-8")
    found = set(re.findall(r'<a id="([^"]+)"', text))
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for heading in re.findall(r"^#+ (.+)$", prose, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", plain)))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links(page):
    text = without_code(page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)\s]+)\)|\b(?:src|srcset)=\"([^\"]+)\"", text)
    links = [link or picture for link, picture in links]
    for link in links:
        if link.startswith(REPOSITORY):
            assert (ROOT / link.removeprefix(REPOSITORY)).exists(), link
            continue
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if anchor.startswith("only-"):  # one image for each theme
            anchor = ""
        assert target.exists(), link
        if page.is_relative_to(DOCS):  # or it would not be on the site
            assert target.resolve().is_relative_to(DOCS), link
            assert target.suffix in (".md", ".png", ".ipynb"), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_is_python(page):
    text = page.read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.+?)^```", text, re.S | re.M):
        _ = ast.parse(code)


def commands(page):
    """Lines of code, blocks included, that are typed into a shell."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(r"^ *```\n(.+?)^ *```", text, re.S | re.M)
    found += re.findall(r"^    (\S.*)$", text, re.M)
    found += re.findall(r"`([^`\n]+)`", re.sub("```", "", text))
    for line in "\n".join(found).splitlines():
        words = line.partition(" #")[0].split()
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words.pop(0)  # a variable of the environment
        if words:
            yield words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for first, *words in commands(page):
        if first == "make" and words and re.fullmatch("[a-z-]+", words[0]):
            assert words[0] in targets, words
        if first == "python" and words and words[0].endswith(".py"):
            if "/" not in words[0]:
                continue  # the reader's own
            script = (ROOT / words[0]).read_text()
            for option in words[1:]:
                if option.startswith("--"):
                    assert option.lstrip("-") in script, words
        if first == "keras-concepts" and words and words[0].isalpha():
            known = main.commands[words[0]].params
            for option in itertools.takewhile(
                lambda word: word.startswith("-"), words[1:]
            ):
                assert any(option in each.opts for each in known), words


def test_every_public_name_is_in_the_reference():
    text = "\n".join(
        page.read_text(encoding="utf-8")
        for page in (ROOT / "docs" / "reference").glob("*.md")
    )
    shown = re.findall(r"^::: keras_concepts\.(\S+)$", text, re.MULTILINE)
    assert len(shown) == len(set(shown))
    names = {
        name for name in kc.__all__ if name not in (*MODULES, "recording")
    } - {"quantities"}
    for module in MODULES:
        public = importlib.import_module(f"keras_concepts.{module}").__all__
        names |= {f"{module}.{name}" for name in public}
    # Shown where they belong: at the top, and among the rules.
    names -= {"rules.Finding", "reports.sparsity", "rules.diagnose"}
    assert set(shown) >= names
    for name in shown:
        module, _, attribute = f"keras_concepts.{name}".rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)


def test_findings_name_pages_of_the_site():
    assert f"\nsite_url: {SITE}\n" in (ROOT / "mkdocs.yml").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    assert f'\nDocumentation = "{SITE}"\n' in project
    # `use_directory_urls` in mkdocs.yml.
    assert page_url("doctor.md#no_progress") == f"{SITE}doctor/#no_progress"
    assert page_url("concepts/relu.md") == f"{SITE}concepts/relu/"
    assert page_url("concepts/index.md#a") == f"{SITE}concepts/#a"
    assert page_url("index.md") == SITE
    assert page_url("") == page_link("") == ""
    assert page_link("https://keras.io/api") == "https://keras.io/api"
    assert page_link("javascript://%0aalert(1)") == ""
    # All but one fit a terminal of 80 characters, indented by 3.
    addresses = {page_url(rule.page) for rule in RULES}
    assert len([each for each in addresses if len(each) > 77]) <= 1


def test_the_readme_is_short():
    text = re.sub(r"<!--.*?-->", "", (ROOT / "README.md").read_text())
    assert len(text.split()) < 900


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in sorted((ROOT / "docs").rglob("*.md")):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert f"- {name}\n" in navigation
