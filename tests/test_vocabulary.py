import json

import numpy as np
import pytest

from keras_concepts import Vocabulary

TEXTS = ["The cat sat.", "the dog sat on the cat", "A dog!"]


def test_learns_the_frequent_tokens_of_the_texts_first():
    vocabulary = Vocabulary.learn(TEXTS, min_count=1)
    # By count, then by the alphabet, whatever the order of the texts.
    assert vocabulary.tokens == ["the", "cat", "dog", "sat", "a", "on"]
    assert (
        vocabulary.tokens == Vocabulary.learn(TEXTS[::-1], min_count=1).tokens
    )
    assert Vocabulary.learn(TEXTS).tokens == ["the", "cat", "dog", "sat"]
    assert Vocabulary.learn(TEXTS, max_tokens=2).tokens == ["the", "cat"]
    assert len(Vocabulary.learn(TEXTS, max_tokens=2)) == 5


def test_rows_are_padded_and_end_with_a_mark():
    vocabulary = Vocabulary(["the", "cat"])
    rows = vocabulary.encode(["The CAT", "a cat, the cat", "", "!?"], 4)
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(
        rows, [[3, 4, 2, 0], [1, 4, 3, 2], [2, 0, 0, 0], [2, 0, 0, 0]]
    )
    assert vocabulary.encode([], 4).shape == (0, 4)


@pytest.mark.parametrize(
    ("keep", "row"), [("start", [3, 4, 2]), ("end", [4, 5, 2])]
)
def test_long_texts_lose_one_end(keep, row):
    vocabulary = Vocabulary(["a", "b", "c"], "characters")
    assert vocabulary.encode(["abc"], 3, keep=keep).tolist() == [row]
    assert vocabulary.encode(["abc"], 1, keep=keep).tolist() == [[2]]


def test_a_text_of_the_very_length_is_kept_whole():
    vocabulary = Vocabulary(["a", "b", "c"], "characters")
    for keep in ("start", "end"):
        assert vocabulary.encode(["abc"], 4, keep=keep).tolist() == [
            [3, 4, 5, 2]
        ]


def test_coverage_counts_what_is_lost():
    vocabulary = Vocabulary(["the", "cat"])
    found = vocabulary.coverage(["the cat", "", "a dog the cat sat"], 4)
    assert found.texts == 3
    assert found.empty == 1
    assert found.truncated == 1
    assert found.tokens == 7
    assert found.lost == 2
    assert found.unknown == 2  # "sat" was cut off


@pytest.mark.parametrize("unit", ["words", "characters"])
def test_saved_and_loaded(unit, tmp_path):
    texts = ["Ärger über 漢字", "e\u0301 \u2028 '\"\\ \x00"]
    vocabulary = Vocabulary.learn(texts, unit, min_count=1)
    vocabulary.save(tmp_path / "vocabulary.json")
    loaded = Vocabulary.load(tmp_path / "vocabulary.json")
    assert loaded.tokens == vocabulary.tokens
    assert loaded.unit == unit
    np.testing.assert_array_equal(
        loaded.encode(texts, 16), vocabulary.encode(texts, 16)
    )
    assert (loaded.encode(texts, 16) != 1).all()


def test_a_failure_to_save_keeps_the_file(tmp_path, monkeypatch):
    path = tmp_path / "vocabulary.json"
    Vocabulary(["a"]).save(path)
    with pytest.raises(UnicodeEncodeError):
        Vocabulary(["\ud83d"], "characters").save(path)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", _full_disk)
        with pytest.raises(OSError, match="No space"):
            Vocabulary(["b"]).save(path)
    assert Vocabulary.load(path).tokens == ["a"]
    assert list(tmp_path.iterdir()) == [path]
    Vocabulary(["b"]).save(str(path))
    assert Vocabulary.load(path).tokens == ["b"]


def _full_disk(*_):
    raise OSError("No space left on device")


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("nai\u0308ve", "na\u00efve"),
        ("NA\u00cfVE", "na\u00efve"),
        ("\u0130stanbul", "i\u0307stanbul"),
        ("I\u0307stanbul", "i\u0307stanbul"),
        (
            "\u0939\u093f\u0928\u094d\u0926\u0940",
            "\u0939\u093f\u0928\u094d\u0926\u0940",
        ),
    ],
)
def test_letters_with_marks_are_one_word(text, token):
    vocabulary = Vocabulary.learn([f"{text}, {text}!"])
    assert vocabulary.tokens == [token]
    assert Vocabulary(vocabulary.tokens).encode([text], 3).tolist() == [
        [3, 2, 0]
    ]


def test_an_accented_letter_is_one_character():
    vocabulary = Vocabulary.learn(["\u00e9"], "characters", min_count=1)
    assert vocabulary.encode(["E\u0301"], 3).tolist() == [[3, 2, 0]]


def test_tokens_of_an_iterator():
    vocabulary = Vocabulary(token for token in ["be", "to"])
    assert vocabulary.tokens == ["be", "to"]
    assert vocabulary.encode(["to be"], 3).tolist() == [[4, 3, 2]]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        json.dumps({"format": "another", "version": 1}),
        json.dumps({"format": "keras-concepts vocabulary", "version": 2}),
        json.dumps({"format": "keras-concepts vocabulary", "version": 1}),
    ],
)
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"must be a file that .*other\.json"):
        Vocabulary.load(path)
    with pytest.raises(OSError, match="missing"):
        Vocabulary.load(tmp_path / "missing.json")


def test_bad_arguments():
    with pytest.raises(ValueError, match="one of: 'words', 'characters'"):
        Vocabulary([], "bytes")
    with pytest.raises(ValueError, match=r"more than once: \['a'\]"):
        Vocabulary(["a", "b", "a"])
    with pytest.raises(ValueError, match="min_count=0"):
        Vocabulary.learn(TEXTS, min_count=0)
    with pytest.raises(TypeError, match=r"max_tokens=1\.5"):
        Vocabulary.learn(TEXTS, max_tokens=1.5)
    vocabulary = Vocabulary.learn(TEXTS)
    with pytest.raises(ValueError, match="max_length=0"):
        vocabulary.encode(TEXTS, 0)
    with pytest.raises(ValueError, match="one of: 'start', 'end'"):
        vocabulary.encode(TEXTS, 4, keep="middle")
    with pytest.raises(TypeError, match="Received: None of type NoneType"):
        vocabulary.encode(["text", None], 4)
    with pytest.raises(TypeError, match="a sequence of strings, not one"):
        vocabulary.encode("text", 4)


@pytest.mark.parametrize(
    ("tokens", "unit"),
    [
        (["to be or not", "not to be"], "words"),
        (["To"], "words"),
        (["don't"], "words"),
        ([""], "words"),
        (["ab"], "characters"),
        (["A"], "characters"),
    ],
)
def test_tokens_that_no_text_has(tokens, unit):
    with pytest.raises(ValueError, match=r"call `Vocabulary\.learn\(texts\)`"):
        Vocabulary(tokens, unit)


@pytest.mark.parametrize("tokens", ["to be", [1, 2], [b"to"]])
def test_tokens_that_are_no_strings(tokens):
    with pytest.raises(TypeError, match="`tokens` of `Vocabulary`"):
        Vocabulary(tokens)
    assert Vocabulary(np.array(["to", "be"])).tokens == ["to", "be"]
