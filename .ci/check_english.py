"""Finds phrases that a reader would stumble over: `make lint`.

In Markdown all text, without code; in Python docstrings, comments and strings.
"""

import ast
import io
import pathlib
import re
import sys
import tokenize
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[1]
PLACES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "examples")
PLACES += ("callbacks", "benchmarks", "keras_concepts")
NOUNS = "row|number|line|file|bar|column|count|value|point|step|class|process"
# What to avoid, and what to write.
PHRASES = {
    r"\btrainings\b(?!:)": "training runs",
    r"\b(a|each|this|one) training(?=[.,;:)]| (is|was|ends|that|and)\b)": (
        "a training run"
    ),
    rf"(?<!\bof )\ba ({NOUNS}) an? [a-z]+\b": "one ... per ...",
    r"\b(is|are) heard\b|\bhears\b": "is captured, reports, records",
    r"\bby heart\b": "memorised",
    r"\banew\b": "again",
    r"\b(mends?|mended)\b": "fix, fixed",
    r"\bhops? about\b": "oscillates",
    r"\bfor who\b": "for someone who",
    r"\bgoes neither with\b": "cannot be combined with",
    r"\bwhich is none\b": "say what the value is",
    r"\bif it is nothing\b": "say what the value is",
    r"\b(at|in) (step|epoch) \d+ came\b": "First ... at step ...",
    r"\bnobody can tell\b": "is not known",
    r"\bhands? (it|them|one|none|this) on\b|\bhands on an?\b": "passes on",
    r"\bat the very most\b": "at most",
    r"\bone upon the other\b": "stacked",
    r"\bseveral-hot\b": "multi-hot",
    r"\bas of any\b": "as in any, as for any",
    r"\bis no (Keras model|sequence|integer|problem)\b": "is not a",
    r"\b(is|are) told from\b": "is distinguished from",
    r"\b(somebody|nobody)\b": "say who, or use the passive",
    r"\bto one's heart\b|\bthe likes of\b": "plain words",
}
# From Python 3.12 on an f-string is several tokens.
_FSTRING = getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)
FOUND = [(re.compile(p, re.IGNORECASE), use) for p, use in PHRASES.items()]


def prose_of_markdown(text: str) -> Iterator[tuple[int, str]]:
    """Lines outside of blocks of code, without what stands in backticks."""
    in_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code:
            yield number, re.sub(r"`[^`]*`", "`x`", line)


def prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    """Comments and strings, docstrings among them, line by line."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
        elif token.type in (tokenize.STRING, _FSTRING):
            try:
                value = ast.literal_eval(token.string)
            except (SyntaxError, ValueError):  # an f-string, or a part of one
                value = token.string
            if isinstance(value, str) and " " in value:
                for n, line in enumerate(value.splitlines()):
                    yield token.start[0] + n, re.sub(r"`[^`]*`", "`x`", line)


def files() -> Iterator[pathlib.Path]:
    """All that a person may read."""
    for place in PLACES:
        path = ROOT / place
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (each for each in found if each.suffix in (".md", ".py"))


def main() -> None:
    """Print what was found, and fail if it is anything."""
    wrong = []
    for path in files():
        text = path.read_text(encoding="utf-8")
        read = prose_of_markdown if path.suffix == ".md" else prose_of_python
        for number, line in read(text):
            wrong += [
                f"{path.relative_to(ROOT)}:{number}: {match[0]!r} is {use!r}"
                for pattern, use in FOUND
                for match in pattern.finditer(line)
            ]
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
