"""Why does it not learn?

    KERAS_BACKEND=jax python callbacks/why_does_it_not_learn.py

A network with two common faults: its inputs are unscaled pixels, 0 to 255, and
its last layer outputs logits where the loss expects probabilities. `preflight`
reports both before training, and the doctor the harm they do; the second
network is repaired as they advise.
"""

import argparse
import pathlib

import keras
from keras import layers, losses
from sklearn.datasets import load_digits

import keras_concepts as kc
from keras_concepts.callbacks import TrainingDoctor


def main() -> None:
    epochs, out = parse()
    x, y = load_digits(return_X_y=True)
    x = x / 16 * 255  # as in most images
    picture = out / "why_does_it_not_learn.png"
    faulty = network(losses.SparseCategoricalCrossentropy())
    found = kc.preflight(faulty, x, y)
    doctor, before = train(faulty, x, y, epochs)
    doctor.summary()
    doctor.plot(picture)

    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    healthy, after = train(network(loss), x / 255, y, epochs)
    left = causes(healthy.findings) or "nothing"
    print(
        f"Picture: {picture}\nPreflight names {causes(found)} before training "
        f"and the doctor {causes(doctor.findings)}: {before:.0%} of new digits "
        f"are recognized. Repaired as advised: {after:.0%}, it names {left}."
    )


def network(loss: losses.Loss) -> keras.Model:
    keras.utils.set_random_seed(0)
    hidden = [layers.Dense(64, "relu", name=f"hidden_{i}") for i in (1, 2)]
    model = keras.Sequential([*hidden, layers.Dense(10, name="out")])
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def train(model, x, y, epochs: int) -> tuple[TrainingDoctor, float]:
    """The doctor, and the accuracy on held-out digits."""
    doctor = TrainingDoctor(sink=lambda text: None)  # printed by `main`
    watch = {"epochs": epochs, "callbacks": [doctor], "verbose": 0}
    log = model.fit(x, y, validation_split=0.2, **watch).history
    return doctor, log["val_accuracy"][-1]


def causes(findings: list[kc.Finding]) -> str:
    """The remaining problems, without their consequences."""
    return " and ".join(
        finding.rule
        for finding in findings
        if finding.because_of is None and finding.resolved is None
    )


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="Why does it not learn?")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
