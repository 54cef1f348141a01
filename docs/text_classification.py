"""German nouns and licence texts: three quarters of an hour, most of it `fit`.

Needs the extra `keras-concepts[text]`.
"""

import sys

import numpy as np

import programs
from measured import ROOT, Measured

SCRIPT = "examples/text_classification.py"
NETWORKS = ("order-blind", "SimpleRNN", "GRU", "LSTM")
# What is taken from the GRU, and by which option.
PARTS = {
    "padding is read as text": "--no-mask",
    "19 words of each text and the end mark": "--max-length 20",
    "words in random order": "--shuffle",
}


def rows(ran: programs.Ran, units: str, ngrams: str) -> list[list[str]]:
    """Accuracy, macro F1, parameters and CPU seconds of each classifier."""
    names = {name: name for name in NETWORKS}
    names["order-blind"] = f"order-blind: mean of the {units}' embeddings"
    names = {"TF-IDF": f"TF-IDF of {ngrams}, logistic regression"} | names
    found = []
    for name, shown in names.items():
        accuracy, f1, parameters, *_, cpu = ran.row(name)
        found.append([shown, point(accuracy), point(f1), parameters, cpu])
    for column in (1, 2):
        best = max(row[column] for row in found)
        for row in found:
            if row[column] == best:
                row[column] = f"**{best}**"
    return found


def point(number: str) -> str:
    return number.removeprefix("0")


def without(data: str, *options: str, network: str = "GRU") -> list[str]:
    """Accuracy and macro F1 of one network with options."""
    ran = programs.run(SCRIPT, "--data", data, *options, "--models", network)
    return [point(cell) for cell in ran.row(network)[:2]]


def counts() -> dict[str, str]:
    """How many texts there are, and what share of them a class has."""
    sys.path.insert(0, str(ROOT / "examples"))
    import text_data

    nouns, licenses = text_data.nouns(), text_data.licenses()
    parts = [len(rows) for rows in text_data.split(nouns, False, 0)]
    names = "nouns_learn", "nouns_choose", "nouns_test"
    found = dict(zip(names, parts, strict=True))
    *_, test = text_data.split(licenses, True, 0)
    found |= {"all_nouns": sum(parts), "all_licenses": len(licenses.texts)}
    found["licenses_test"] = len(test)
    shares = np.bincount(licenses.labels) / len(licenses.labels)
    found |= {
        "fewest": round(100 * shares.min()),
        "most": round(100 * shares.max()),
    }
    return {name: f"{count:,}" for name, count in found.items()}


def measure() -> Measured:
    nouns = programs.run(SCRIPT, "--data", "nouns")
    licenses = programs.run(SCRIPT, "--data", "licenses")
    parts = [["unchanged", *map(point, licenses.row("GRU")[:2]), ""]]
    parts += [
        [shown, *without("licenses", *option.split()), f"`{option}`"]
        for shown, option in PARTS.items()
    ]
    random = programs.run(
        *(SCRIPT, "--data", "licenses", "--split", "random"),
        *("--models", "order-blind"),
    )
    shuffled = without("nouns", "--shuffle")
    cut_off, longer = licenses.find(
        r"([\d.]+)% are cut off \(([\d,]+) texts are longer"
    )
    numbers = {
        "nouns": rows(nouns, "letters", "1- to 5-grams"),
        "licenses": rows(licenses, "words", "words and pairs"),
        "parts": parts,
        "random_accuracy": point(random.row("TF-IDF")[0]),
        "random_f1": point(random.row("TF-IDF")[1]),
        "shuffled_accuracy": shuffled[0],
        "shuffled_f1": shuffled[1],
        "cut_off": cut_off,
        "longer": longer,
        **counts(),
    }
    for data, ran in (("nouns", nouns), ("licenses", licenses)):
        chosen, gain, margin = ran.find(
            r"validation chose (\w+)\. .* TF-IDF \(\S+, "
            r"difference (\S+)% ± (\S+)%"
        )
        numbers |= {
            f"{data}_chosen": chosen,
            f"{data}_gain": gain.replace("-", "−"),
            f"{data}_margin": margin,
        }
    pictures = {
        "nouns_curves": nouns.picture("curves"),
        "licenses_confusion": licenses.picture("confusion"),
        "licenses_through_time": licenses.picture("through_time"),
    }
    return Measured(numbers, pictures=pictures)
