"""Formulas between dollars become MathML, which browsers draw without a script."""

import re
import xml.etree.ElementTree as etree
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.blockprocessors import BlockProcessor
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor


def mathml(formula: str, **display: str) -> str:
    """Of a formula, with `\\sim` as a relation, which has space around it."""
    tilde = "<mi>&#x0007E;</mi>"
    return convert(formula, **display).replace(tilde, "<mo>&#x223C;</mo>")


class Inline(InlineProcessor):
    """A formula in a line: `$x$`, without a space inside the dollars."""

    def handleMatch(self, m: re.Match[str], data: str) -> Any:  # noqa: N802, of Markdown
        return self.md.htmlStash.store(mathml(m[1])), m.start(0), m.end(0)


class Block(BlockProcessor):
    """A formula of its own: `$$` to `$$`."""

    def test(self, parent: etree.Element, block: str) -> bool:
        return block.strip().startswith("$$")

    def run(self, parent: etree.Element, blocks: list[str]) -> None:
        text = blocks.pop(0).strip().removeprefix("$$")
        while "$$" not in text and blocks:
            text += "\n" + blocks.pop(0)
        formula, _, rest = text.partition("$$")
        element = etree.SubElement(parent, "p", {"class": "formula"})
        element.text = self.parser.md.htmlStash.store(
            mathml(" ".join(formula.split()), display="block")
        )
        if rest.strip(" .,\n"):
            blocks.insert(0, rest.strip())


class MathMLExtension(Extension):
    """`markdown_extensions: [mathml]`."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802, of Markdown
        md.ESCAPED_CHARS.append("$")
        # Before escapes and emphasis, after code.
        md.inlinePatterns.register(
            Inline(r"(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<![\s\\])\$(?!\w)", md),
            "mathml",
            185,
        )
        md.parser.blockprocessors.register(Block(md.parser), "mathml", 85)


def makeExtension(**kwargs: Any) -> MathMLExtension:  # noqa: N802, of Markdown
    return MathMLExtension(**kwargs)
