"""Data sets: real ones that pip installs, and synthetic tasks.

Each comes as a `Data` with rows that are held back, shuffled, with inputs that
are scaled as they should be. What is wrong with the data of a faulty program is
done to them by `changes.py`.
"""

from benchmarks.doctor.data.pictures import (
    digit_images,
    mnist,
    mnist_images,
    patches,
    to_itself,
)
from benchmarks.doctor.data.rows import (
    Array,
    Data,
    split,
)
from benchmarks.doctor.data.sequences import (
    adding,
    backwards,
    nouns,
    prose,
    recall,
    shares,
    topics,
    waves,
)
from benchmarks.doctor.data.synthetic import (
    blobs,
    friedman,
    hard,
    imbalanced,
    moons,
    parity,
    spirals,
)
from benchmarks.doctor.data.tables import (
    boston,
    cancer,
    cars,
    diabetes,
    digit_columns,
    digits,
    even_digits,
    fitness,
    iris,
    rare_digit,
    raw,
    terrain,
    wine,
)

__all__ = [
    "Array",
    "Data",
    "adding",
    "backwards",
    "blobs",
    "boston",
    "cancer",
    "cars",
    "diabetes",
    "digit_columns",
    "digit_images",
    "digits",
    "even_digits",
    "fitness",
    "friedman",
    "hard",
    "imbalanced",
    "iris",
    "mnist",
    "mnist_images",
    "moons",
    "nouns",
    "parity",
    "patches",
    "prose",
    "rare_digit",
    "raw",
    "recall",
    "shares",
    "spirals",
    "split",
    "terrain",
    "to_itself",
    "topics",
    "waves",
    "wine",
]
