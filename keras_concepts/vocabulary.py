"""Texts as rows of numbers, without TensorFlow."""

import collections
import json
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, Self

import numpy as np

from keras_concepts._validation import check_choice, check_positive_int

PADDING, UNKNOWN, END = 0, 1, 2
_FIRST = 3
_FORMAT = "keras-concepts vocabulary"
_VERSION = 1
# Marks, such as vowel signs, belong to the letter before; `\w` has none.
_MARKS = "".join(
    char
    for char in map(chr, range(0x20000))
    if unicodedata.category(char)[0] == "M"
)
_WORD = re.compile(rf"\w+(?:[{_MARKS}]+\w*)*")


class Coverage(NamedTuple):
    """Counts of the effects of encoding some texts.

    Attributes:
        texts: Number of texts.
        empty: Number of texts without a token.
        truncated: Number of texts that lose tokens to `max_length`.
        tokens: Number of tokens in all texts.
        lost: Number of tokens that are cut off.
        unknown: Number of kept tokens that are not known.
    """

    texts: int
    empty: int
    truncated: int
    tokens: int
    lost: int
    unknown: int


class Vocabulary:
    """Numbers for the words or characters of a text, as input of layers.

    `keras.layers.TextVectorization` needs TensorFlow, and a dictionary in a
    script is lost when the script ends. A vocabulary needs only NumPy and is
    saved as JSON, next to the model.

    `encode` pads at the end with 0, which `Embedding(mask_zero=True)` masks.
    Every row ends with an end mark, so no row is only padding, not even that of
    an empty text, and averages over the steps of a row are always defined.

    Upper and lower case are the same, and so is an accented letter whether it
    is one character or two (Unicode NFC).

    Args:
        tokens: The known tokens, in the order of their numbers. Numbers 0, 1
            and 2 are padding, an unknown token and the end; the first token
            has number 3.
        unit: `"words"`, runs of letters with their marks, digits and
            underscores; or `"characters"`.

    Raises:
        TypeError: `tokens` are not strings, or are a single string.
        ValueError: `unit` is neither of the two, or a token occurs twice or
            cannot occur in a text: it has more than one word or character, or
            upper case.

    Example:

    >>> vocabulary = Vocabulary.learn(["to be or", "not to be"], min_count=1)
    >>> vocabulary.tokens
    ['be', 'to', 'not', 'or']
    >>> vocabulary.encode(["Be not afraid", ""], max_length=5).tolist()
    [[3, 5, 1, 2, 0], [2, 0, 0, 0, 0]]
    >>> len(vocabulary)  # the `input_dim` of an `Embedding`
    7
    """

    def __init__(
        self,
        tokens: Iterable[str],
        unit: Literal["words", "characters"] = "words",
    ) -> None:
        check_choice("Vocabulary", "unit", unit, ("words", "characters"))
        self.tokens = _checked_tokens(tokens, unit)
        self.unit = unit
        self._numbers = {
            token: _FIRST + i for i, token in enumerate(self.tokens)
        }
        if len(self._numbers) < len(self.tokens):
            counts = collections.Counter(self.tokens)
            twice = [token for token, n in counts.items() if n > 1]
            raise ValueError(
                "`tokens` of `Vocabulary` must differ from one another. "
                f"Received more than once: {twice}."
            )

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        unit: Literal["words", "characters"] = "words",
        *,
        max_tokens: int | None = None,
        min_count: int = 2,
    ) -> Self:
        """Collects the tokens of `texts`, the most frequent first.

        Pass training texts only: tokens of other texts must stay unknown.

        Args:
            texts: Texts to learn from.
            unit: See `Vocabulary`.
            max_tokens: Keep at most this many, the most frequent.
            min_count: Keep those that occur at least this often.
        """
        check_positive_int("Vocabulary.learn", "min_count", min_count)
        if max_tokens is not None:
            check_positive_int("Vocabulary.learn", "max_tokens", max_tokens)
        counts = collections.Counter(
            token for tokens in _split(texts, unit) for token in tokens
        )
        # Sorted, so that ties do not depend on the order of the texts.
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        known = [token for token in ranked if counts[token] >= min_count]
        return cls(known[:max_tokens], unit)

    def __len__(self) -> int:
        return _FIRST + len(self.tokens)

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self.tokens):,} {self.unit}>"

    def encode(
        self,
        texts: Iterable[str],
        max_length: int,
        *,
        keep: Literal["start", "end"] = "start",
    ) -> np.ndarray:
        """Each text as a row of `max_length` numbers, int32.

        Args:
            texts: Texts to encode.
            max_length: Length of all rows, including the end mark.
            keep: The part of a text to keep if it is too long.

        Returns:
            `(n, max_length)`.
        """
        rows = list(self._rows(texts, max_length, keep))
        encoded = np.full((len(rows), max_length), PADDING, "int32")
        for row, (_, kept) in zip(encoded, rows, strict=True):
            row[: len(kept)] = kept
            row[len(kept)] = END
        return encoded

    def coverage(
        self,
        texts: Iterable[str],
        max_length: int,
        *,
        keep: Literal["start", "end"] = "start",
    ) -> Coverage:
        """Counts what `encode`, with the same arguments, leaves out."""
        total: collections.Counter[str] = collections.Counter()
        for length, kept in self._rows(texts, max_length, keep):
            total["texts"] += 1
            total["empty"] += length == 0
            total["truncated"] += len(kept) < length
            total["tokens"] += length
            total["lost"] += length - len(kept)
            total["unknown"] += kept.count(UNKNOWN)
        return Coverage(*(total[name] for name in Coverage._fields))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file.

        An existing file is replaced as a whole, or left unchanged.

        Raises:
            OSError: `path` cannot be written.
            UnicodeEncodeError: A token is not Unicode text: it has half of a
                surrogate pair.
        """
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "unit": self.unit,
            "tokens": self.tokens,
        }
        text = json.dumps(content, ensure_ascii=False, indent=0)
        encoded = text.encode("utf-8")
        path = pathlib.Path(path)
        part = path.with_name(f"{path.name}.part")
        try:
            _ = part.write_bytes(encoded)
            _ = part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a file written by `save`.

        Raises:
            OSError: `path` cannot be read.
            ValueError: `path` holds something else.
        """
        try:
            content = json.loads(pathlib.Path(path).read_text("utf-8"))
            if content["format"] != _FORMAT or content["version"] > _VERSION:
                raise ValueError("another format")
            return cls(content["tokens"], content["unit"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                "`path` of `Vocabulary.load` must be a file that "
                f"`Vocabulary.save` wrote. Received: path={str(path)!r} "
                f"({type(error).__name__}: {error})."
            ) from error

    def _rows(
        self, texts: Iterable[str], max_length: int, keep: str
    ) -> Iterator[tuple[int, list[int]]]:
        """Length of each text, and the numbers of the tokens that are kept."""
        check_positive_int("Vocabulary", "max_length", max_length)
        check_choice("Vocabulary", "keep", keep, ("start", "end"))
        for tokens in _split(texts, self.unit):
            room = max_length - 1
            start = max(0, len(tokens) - room) if keep == "end" else 0
            kept = tokens[start : start + room]
            yield len(tokens), [self._numbers.get(t, UNKNOWN) for t in kept]


def _checked_tokens(tokens: Iterable[str], unit: str) -> list[str]:
    """The tokens, if a text can be split into each of them."""
    if isinstance(tokens, str):
        raise TypeError(
            "`tokens` of `Vocabulary` must be a sequence of strings, not one "
            f"string. Received: tokens={tokens!r}."
        )
    tokens = list(tokens)
    for token in tokens:
        if not isinstance(token, str):
            raise TypeError(
                "`tokens` of `Vocabulary` must be strings. "
                f"Received: {token!r} of type {type(token).__name__}."
            )
        if _parts(token, unit) != [token]:
            raise ValueError(
                f"`tokens` of `Vocabulary` must be single {unit} in lower "
                "case. To take them from texts, call "
                f"`Vocabulary.learn(texts)`. Received: {token!r}."
            )
    return [str(token) for token in tokens]


def _parts(text: str, unit: str) -> list[str]:
    # Composed, so that a letter with a mark is one character however it was
    # typed.
    low = unicodedata.normalize("NFC", text).lower()
    low = unicodedata.normalize("NFC", low)
    return _WORD.findall(low) if unit == "words" else list(low)


def _split(texts: Iterable[str], unit: str) -> Iterator[list[str]]:
    if isinstance(texts, str):
        raise TypeError(
            "`texts` of `Vocabulary` must be a sequence of strings, not one "
            f"string. Received: {texts!r}."
        )
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(
                "`texts` of `Vocabulary` must be strings. "
                f"Received: {text!r} of type {type(text).__name__}."
            )
        yield _parts(text, unit)
