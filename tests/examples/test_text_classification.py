"""A newcomer's path: train, measure, save, reload, classify; and missteps."""

import csv
import importlib.util
import json
import pathlib
import re
import runpy
import sys

import numpy as np
import pytest

import keras_concepts as kc
from scripts import assert_drawn, run

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "text_classification.py"
NETWORKS = ["order-blind", "SimpleRNN", "GRU", "LSTM"]
LICENSES = {
    "alpha": "Permissive",
    "beta": "Permissive",
    "gamma": "Copyleft",
    "delta": "Copyleft",
    "epsilon": "Commercial",
    "zeta": "CLA",
}
needs_nouns = pytest.mark.skipif(
    importlib.util.find_spec("german_nouns") is None,
    reason="needs german-nouns",
)


@pytest.fixture
def data(monkeypatch):
    """The module `text_data`, as the script finds it."""
    monkeypatch.syspath_prepend(EXAMPLES)
    yield importlib.import_module("text_data")
    del sys.modules["text_data"]


@pytest.fixture
def script(data, monkeypatch, tmp_path):
    """Runs the script in this process."""

    def main(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [SCRIPT.name, *map(str, arguments)])
        runpy.run_path(str(SCRIPT), run_name="__main__")

    return main


@needs_nouns
def test_from_the_words_to_a_saved_classifier(tmp_path):
    out = tmp_path / "new" / "folder"
    output = run(SCRIPT, "--quick", "--out", out, cwd=tmp_path)
    folder = out / "nouns"
    for name in NETWORKS:
        assert f"{name}: No finding; a mask reaches" in output
        assert (folder / f"{name.lower().replace('-', '_')}.keras").exists()

    table = {
        name: cells.split()
        for name, cells in re.findall(
            r"^(TF-IDF|order-blind|SimpleRNN|GRU|LSTM) +(\d.*\d) *$",
            output,
            re.MULTILINE,
        )
    }
    assert list(table) == ["TF-IDF", *NETWORKS]
    with (folder / "results.csv").open() as file:
        results = {line["name"]: line for line in csv.DictReader(file)}
    for name, (accuracy, f1, parameters, *_) in table.items():
        assert accuracy == f"{float(results[name]['accuracy']):.3f}"
        assert f1 == f"{float(results[name]['macro_f1']):.3f}"
        assert parameters == f"{int(results[name]['parameters']):,}"
        assert 1 / 3 < float(accuracy) < 1.0
    assert table["TF-IDF"][0] > table["order-blind"][0]

    verdicts = re.findall(r"^TrainingDoctor on ([\w-]+)", output, re.MULTILINE)
    assert verdicts == NETWORKS
    for name in NETWORKS:
        stem = name.lower().replace("-", "_")
        recording = kc.Recording.load(folder / f"{stem}.jsonl")
        said = f"TrainingDoctor on {name}: no problem found by "
        held = [f for f in kc.diagnose(recording) if f.resolved is None]
        assert (said in output) == (not held)

    pictures = ["curves", "through_time", "confusion"]
    pictures += ["gru_gradients", "lstm_penalties"]
    for picture in pictures:
        assert_drawn(folder / f"{picture}.png")
    assert output.endswith(
        "\n\n--quick only shows that it runs, not which is best.\n"
    )

    answers = run(
        SCRIPT, "predict", "Freundlichkeit", "Motor", "--out", out, cwd=tmp_path
    )
    origin, *answers = answers.splitlines()
    assert re.fullmatch(
        r"\w+\.keras, learned from [\d,]+ texts \(German nouns of Wiktionary, "
        r"CC BY-SA 4.0\), macro F1 0\.\d{3} of validation texts",
        origin,
    )
    for line, word in zip(answers, ("Freundlichkeit", "Motor"), strict=True):
        percents = re.fullmatch(
            rf"'{word}': (\w+) (\d+)%, (\w+) (\d+)%, (\w+) (\d+)%", line
        )
        assert percents
        assert sorted(percents.groups()[::2]) == [
            "feminine",
            "masculine",
            "neuter",
        ]
        numbers = [int(n) for n in percents.groups()[1::2]]
        assert numbers == sorted(numbers, reverse=True)
        assert 98 <= sum(numbers) <= 102


@needs_nouns
def test_what_no_mask_no_order_and_little_text_cost(tmp_path):
    options = ("--no-mask", "--shuffle", "--max-length", 9, "--epochs", 1)
    output = run(
        *(SCRIPT, "--quick", "--models", "GRU", "--chrono", 9),
        *(*options, "--out", tmp_path),
        cwd=tmp_path,
    )
    text = " ".join(output.split())
    assert re.search(r"GRU: \d findings?; a mask reaches no layer", text)
    assert "mask_zero=True" in text
    lost = re.search(r"([\d.]+)% are cut off \((\d+) texts are longer", text)
    assert 20 < float(lost[1]) < 50
    assert 250 < int(lost[2]) < 400


def test_nouns_have_one_gender_and_are_there_once(data, monkeypatch, tmp_path):
    (tmp_path / "german_nouns").mkdir()
    (tmp_path / "german_nouns" / "nouns.csv").write_text(
        "lemma,pos,genus\nSonne,Substantiv,f\nsonne,Substantiv,f\n"
        "Mond,Substantiv,m\nSee,Substantiv,m\nSee,Substantiv,f\n"
        'U-Boot,Substantiv,n\nRom,"Substantiv,Toponym",n\n-ung,Suffix,f\n'
        "Leute,Substantiv,\nBüro,Substantiv,n\n",
        encoding="utf-8",
    )
    use(monkeypatch, data, tmp_path / "german_nouns")
    corpus = data.nouns()
    assert corpus.texts == ["büro", "mond", "sonne"]
    genders = [corpus.classes[label] for label in corpus.labels]
    assert genders == ["neuter", "masculine", "feminine"]
    assert (corpus.unit, corpus.keep) == ("characters", "end")


def use(monkeypatch, data, folder):
    monkeypatch.setattr(data, "installed", lambda module, package: folder)


@pytest.fixture
def licenses(data, monkeypatch, tmp_path):
    """Six licences, ten texts each; some of them must be left out."""
    for folder, ending, rules in (
        ("licenses", "LICENSE", [(k, c, "") for k, c in LICENSES.items()]),
        (
            "rules",
            "RULE",
            [
                *(
                    (key, "", f"words of {key} {i} are: 1 2 3 4 5 6 7 8 9")
                    for key in LICENSES
                    for i in range(10)
                ),
                ("alpha", "", "too short"),
                ("alpha AND beta", "", "two licences " * 5),
                ("alpha", "is_deprecated", "deprecated " * 10),
                ("alpha", "is_false_positive", "no licence " * 10),
                ("beta", "", "WORDS of beta 0 are:\n1 2 3 4 5 6 7 8 9"),
            ],
        ),
    ):
        place = tmp_path / "licensedcode" / "data" / folder
        place.mkdir(parents=True)
        for number, (key, more, text) in enumerate(rules):
            facts = f"key: {key}\nlicense_expression: {key}\n"
            if folder == "licenses":
                facts += f"category: {more}\n"
            elif more:
                facts += f"{more}: yes\n"
            (place / f"{number:03}.{ending}").write_text(
                f"---\n{facts}---\n\n{text}\n---\nas written\n"
            )
    use(monkeypatch, data, tmp_path / "licensedcode")
    return data.licenses()


def test_licences_are_those_with_one_category(licenses):
    assert len(licenses.texts) == 50
    assert len(set(licenses.texts)) == 50
    assert sorted(set(licenses.groups)) == sorted(set(LICENSES) - {"zeta"})
    for text, label, key in zip(
        licenses.texts, licenses.labels, licenses.groups, strict=True
    ):
        assert f" of {key} " in text
        assert licenses.classes[label] == LICENSES[key]


@pytest.mark.parametrize("by_group", [True, False])
def test_parts_are_disjoint_and_by_group_if_asked(data, licenses, by_group):
    parts = data.split(licenses, by_group, seed=0)
    assert sorted(np.concatenate(parts)) == list(range(50))
    keys = [set(licenses.groups[rows]) for rows in parts]
    shared = [keys[0] & keys[1], keys[0] & keys[2], keys[1] & keys[2]]
    assert any(shared) != by_group


def test_a_held_back_part_is_the_test(data, licenses):
    corpus = licenses._replace(test=np.arange(40, 50), groups=None)
    *_, test = data.split(corpus, True, seed=0)
    assert test.tolist() == list(range(40, 50))


def test_words_of_keras_are_words_again(data, monkeypatch):
    words = {"the": 1, "film": 2, "good": 3}
    rows = [[1, 4, 5], [1, 4, 5, 6]], [0, 1]
    source = data.keras.datasets.imdb
    monkeypatch.setattr(source, "load_data", lambda: (rows, rows))
    monkeypatch.setattr(source, "get_word_index", lambda: words)
    corpus = data.imdb()
    assert [text.split() for text in corpus.texts[:2]] == [
        ["the", "film"],
        ["the", "film", "good"],
    ]
    assert corpus.test.tolist() == [2, 3]


@pytest.mark.parametrize("name", ["imdb", "reuters"])
def test_no_network(name, data, script, monkeypatch):
    def fail():
        raise Exception("URL fetch failure on https://example.org")

    module = getattr(data.keras.datasets, name)
    monkeypatch.setattr(module, "load_data", fail)
    with pytest.raises(SystemExit) as stopped:
        script("--data", name)
    message = str(stopped.value)
    assert "URL fetch failure" in message
    assert f"`--data {name}` is downloaded by Keras" in message
    assert "`--data nouns` and `--data licenses` need no network" in message


@pytest.mark.parametrize(
    ("name", "package"),
    [("nouns", "german-nouns"), ("licenses", "licensedcode-data")],
)
def test_missing_package(name, package, script, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        script("--data", name)
    message = str(stopped.value)
    assert f"`{package}`, which is not installed" in message
    assert 'pip install "keras-concepts[text]"' in message


def test_unknown_data_set(script, capsys):
    with pytest.raises(SystemExit) as stopped:
        script("--data", "verbs")
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "invalid choice: 'verbs'" in error
    assert "licenses" in error


def test_nothing_trained_yet(script, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        script("predict", "Sonne", "--out", tmp_path)
    assert "There is no classifier in" in str(stopped.value)
    assert "--data nouns" in str(stopped.value)


def test_a_classifier_without_its_vocabulary(script, trained):
    (trained / "nouns" / "vocabulary.json").unlink()
    with pytest.raises(SystemExit) as stopped:
        script("predict", "abc", "--out", trained)
    assert "There is no classifier in" in str(stopped.value)
    assert "vocabulary.json" in str(stopped.value)


@needs_nouns
def test_too_few_texts(script, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        script("--rows", "5", "--out", tmp_path)
    assert "cannot be split, try more --rows" in str(stopped.value)


@pytest.fixture
def trained(tmp_path):
    import keras

    folder = tmp_path / "nouns"
    folder.mkdir()
    kc.Vocabulary(list("abc"), "characters").save(folder / "vocabulary.json")
    layers = [keras.layers.Embedding(6, 4, mask_zero=True), keras.layers.GRU(2)]
    model = keras.Sequential([keras.layers.Input((8,)), *layers])
    model.save(folder / "gru.keras")
    about = {"model": "gru.keras", "classes": ["yes", "no"], "max_length": 8}
    about |= {"keep": "start", "trained": "3 texts", "validation_f1": 0.5}
    (folder / "classifier.json").write_text(json.dumps(about))
    return tmp_path


@pytest.mark.parametrize("text", ["", "123", "\udcff\udcfe", "§ß"])
def test_nothing_to_classify(text, script, trained):
    with pytest.raises(SystemExit) as stopped:
        script("predict", text, "--out", trained)
    assert "must hold characters that the classifier has seen in" in str(
        stopped.value
    )
    assert repr(text) in str(stopped.value)


def test_several_texts(script, trained, capsys):
    script("predict", "abc", "xa", "--out", trained)
    origin, *lines = capsys.readouterr().out.splitlines()
    assert origin.startswith("gru.keras, learned from 3 texts, macro F1 0.500")
    assert [line.split(":")[0] for line in lines] == ["'abc'", "'xa'"]
    with pytest.raises(SystemExit):
        script("predict", "--out", trained)
    assert "TEXT" in capsys.readouterr().err
