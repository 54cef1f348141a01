"""Published rules, on the same recordings.

Each gives its alarms in the form of findings. None is withdrawn, and all count
as problems. Rules are named as the doctor's where they mean the same, so that
the right cause can be counted.
"""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_concepts.recording import Recording

Row = dict[str, Any]
Values = NDArray[np.float64]


def alarm(rule: str, epoch: Any, step: Any) -> Row:
    return {
        "rule": rule,
        "severity": "warning",
        "noticed": [int(epoch), int(step)],
        "resolved": None,
        "because_of": None,
    }


class Run:
    """What the rules need from a recording."""

    def __init__(self, path: pathlib.Path) -> None:
        self.recording = Recording.load(path)
        facts = self.recording.facts
        self.epochs = int(facts.get("epochs", 1))
        self.variables = [
            v for v in facts.get("variables", []) if v["trainable"]
        ]
        self.loss_name = str(facts.get("loss"))
        self.relu_layers = {
            layer["path"]
            for layer in facts.get("layers", [])
            if layer.get("activation") == "relu" or layer["class"] == "ReLU"
        }

    def rows(self, owner: str | None, quantity: str) -> Recording:
        return self.recording.select(owner=owner, quantity=quantity)

    def log(self, *keys: str) -> tuple[Values, NDArray[np.int64]]:
        """Values of the first key that exists, and their steps."""
        for key in keys:
            rows = self.rows(key, "log")
            if len(rows):
                return rows.value, rows.step
        return np.zeros(0), np.zeros(0, np.int64)

    def norms(self, epoch: int, variable: Row) -> Values:
        """L2 norms of a variable's gradient in the steps of an epoch."""
        rows = self.recording.select(
            owner=variable["path"], quantity="gradient_rms", epoch=epoch
        )
        return rows.value * np.sqrt(np.prod(variable["shape"]))

    def accuracy(self) -> Values:
        """Accuracy on the training rows, or the closest substitute.

        Where neither `fit` nor the doctor recorded one: the geometric mean
        probability of the right class, or of numbers the share of the first
        epoch's loss that is gone.
        """
        logged, _ = self.log("accuracy", "binary_accuracy")
        if len(logged):
            return logged
        probe = self.rows(None, "probe_accuracy")
        if len(probe):
            return probe.value
        loss, _ = self.log("loss")
        if "entropy" in self.loss_name:
            return np.exp(-np.maximum(loss, 0.0))
        return 1.0 - loss / loss[0] if len(loss) and loss[0] > 0 else loss * 0.0


# AUTOTRAINER: Zhang, Zhai, Ma and Shen, ICSE 2021; thresholds and order of
# the decisions as in the authors' code, `AutoTrainer/utils/monitor.py`.
RATIO_VANISHING = 1e-3  # beta_1: norm of the first kernel's gradient over last
NORM_VANISHING = 1e-4  # beta_2: and of the first one's alone
RATIO_EXPLODING = 70.0  # beta_3
DEAD_SHARE = 0.7  # gamma: of the gradient's entries that are 0
OSCILLATION = 0.03  # zeta: size of a swing of the accuracy
OSCILLATING_SHARE = 0.2  # eta: swings an epoch
SLOW = 0.01  # delta: best rise of the accuracy in an epoch
SATISFIED = 0.7  # Theta: accuracy that is enough
FROM = 0.3  # of the planned epochs on, accuracies are judged
EXPLODED = 1e5  # validation loss


def autotrainer(path: pathlib.Path) -> list[Row]:
    """After each epoch; the first issue ends it, as there.

    Approximated: gradients are those of the epoch's last measured step instead
    of another pass over one batch; entries that are 0 are those of units
    without a gradient; without validation data the training accuracy stands for
    both; see `Run.accuracy` where none is recorded.
    """
    run = Run(path)
    losses, steps = run.log("loss")
    held, _ = run.log("val_loss")
    accuracy = run.accuracy()
    held_accuracy, _ = run.log("val_accuracy")
    kernels = [v for v in run.variables if v["role"] == "weight"]
    seen: set[str] = set()
    for epoch, step in enumerate(steps):
        bad = run.recording.select(quantity="gradient_nonfinite", epoch=epoch)
        last = held[epoch] if epoch < len(held) else losses[epoch]
        broken = not np.isfinite([losses[epoch], last]).all() or bad.value.any()
        if broken or last >= EXPLODED:
            return [alarm("exploding_gradient", epoch, step)]
        seen |= gradient_issues(run, kernels, epoch)
        so_far = accuracy[: epoch + 1]
        if epoch + 1 < FROM * run.epochs or not len(so_far):
            continue
        both = [so_far, held_accuracy[: epoch + 1]]
        both = [each for each in both if len(each)]
        slow = all(largest_rise(each) < SLOW for each in both)
        if slow or any(each.max() < SATISFIED for each in both):
            for issue in ("dead_units", "exploding_gradient",
                          "vanishing_gradient"):  # fmt: skip
                if issue in seen:
                    return [alarm(issue, epoch, step)]
            if slow:
                return [alarm("no_progress", epoch, step)]
        elif swings(so_far) >= OSCILLATING_SHARE * len(so_far):
            return [alarm("oscillating_loss", epoch, step)]
    return []


def gradient_issues(run: Run, kernels: list[Row], epoch: int) -> set[str]:
    issues: set[str] = set()
    if len(kernels) < 2:
        return issues
    first, last = (run.norms(epoch, v)[-1:] for v in (kernels[0], kernels[-1]))
    if len(first) and len(last) and last[0] > 0.0:
        ratio = first[0] / last[0]
        if ratio < RATIO_VANISHING and first[0] < NORM_VANISHING:
            issues.add("vanishing_gradient")
        if ratio > RATIO_EXPLODING:
            issues.add("exploding_gradient")
    if zero_share(run, epoch) >= DEAD_SHARE:
        issues.add("dead_units")
    return issues


def zero_share(run: Run, epoch: int) -> float:
    """Share of the gradient's entries that belong to units without any."""
    size = {}
    for variable in run.variables:
        entries = int(np.prod(variable["shape"]))
        size[variable["layer"]] = size.get(variable["layer"], 0) + entries
    zeros = 0.0
    for layer, entries in size.items():
        dead = run.recording.select(
            layer_of(layer), "zero_gradient_units", epoch
        )
        units = run.recording.select(layer_of(layer), "units", epoch)
        if len(dead) and len(units):
            zeros += entries * dead.value[-1] / units.value[-1]
    return zeros / max(sum(size.values()), 1)


def layer_of(path: str) -> str:
    """A pattern that matches only this path."""
    return path.replace("[", "[[]")


def largest_rise(accuracy: Values) -> float:
    return max(np.diff(accuracy).max(initial=0.0), 0.0)


def swings(accuracy: Values) -> int:
    before, here, after = accuracy[:-2], accuracy[1:-1], accuracy[2:]
    tops = here[(here >= before) & (here >= after)]
    bottoms = here[(here <= before) & (here <= after)]
    count = min(len(tops), len(bottoms))
    return int(np.sum(tops[:count] - bottoms[:count] >= OSCILLATION))


# Amazon SageMaker Debugger, list of built-in rules with their defaults:
# https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html
MEAN_VANISHING = 1e-7  # VanishingGradient: threshold
DEAD_LAYER = 0.5  # DeadRelu: threshold_layer
LOSS_FALLS = 0.001  # LossNotDecreasing: diff_percent, of the earlier loss
LOSS_STEPS = 10  # LossNotDecreasing: num_steps
OVERFIT = 0.1  # Overfit: ratio_threshold
# Mean absolute entry over the RMS, of a normal distribution.
MEAN_OF_RMS = float(np.sqrt(2.0 / np.pi))


def sagemaker(path: pathlib.Path) -> list[Row]:
    """VanishingGradient, ExplodingTensor, DeadRelu, LossNotDecreasing, Overfit.

    Approximated: the mean absolute gradient is that of a normal distribution
    with the same RMS; units are dead that are 0 in every row of the probe
    (there: active in less than 1 % of the rows of a batch); the loss is
    compared epoch by epoch, since single batches are noise and that rule would
    fire in every run.
    """
    run = Run(path)
    alarms = [
        *first_where(run, "gradient_rms", "vanishing_gradient",
                     lambda v: v * MEAN_OF_RMS < MEAN_VANISHING),
        *first_where(run, "gradient_nonfinite", "non_finite", lambda v: v > 0),
        *first_where(run, "batch_loss", "non_finite",
                     lambda v: ~np.isfinite(v)),
        *dead_relus(run),
        *loss_not_decreasing(run),
        *overfit(run),
    ]  # fmt: skip
    return sorted(alarms, key=lambda row: row["noticed"])


def first_where(
    run: Run, quantity: str, rule: str, test: Callable[[Values], Any]
) -> Iterator[Row]:
    rows = run.rows(None, quantity)
    trainable = {v["path"] for v in run.variables} | {""}
    mine = np.array([owner in trainable for owner in rows.owner], bool)
    hits = np.flatnonzero(test(rows.value) & mine) if len(rows) else []
    if len(hits):
        first = min(hits, key=lambda i: rows.step[i])
        yield alarm(rule, max(rows.epoch[first], 0), rows.step[first])


def dead_relus(run: Run) -> Iterator[Row]:
    for layer in sorted(run.relu_layers):
        dead = run.rows(layer_of(layer), "zero_activation_units")
        units = run.rows(layer_of(layer), "units")
        units = units.select(monitor=dead.monitors[0] if len(dead) else None)
        if not len(dead) or not len(units):
            continue
        share = dead.value / units.value[-1]
        hits = np.flatnonzero(share > DEAD_LAYER)
        if len(hits):
            first = int(hits[0])
            yield alarm(
                "dead_units", max(dead.epoch[first], 0), dead.step[first]
            )
            return


def loss_not_decreasing(run: Run) -> Iterator[Row]:
    losses, steps = run.log("loss")
    for epoch in range(1, len(losses)):
        apart = steps[epoch] - steps[epoch - 1] >= LOSS_STEPS
        fall = losses[epoch - 1] - losses[epoch]
        if apart and fall < LOSS_FALLS * abs(losses[epoch - 1]):
            yield alarm("no_progress", epoch, steps[epoch])
            return


def overfit(run: Run) -> Iterator[Row]:
    losses, steps = run.log("loss")
    held, _ = run.log("val_loss")
    for epoch, (train, test) in enumerate(zip(losses, held, strict=False)):
        if train > 0.0 and (test - train) / train > OVERFIT:
            yield alarm("overfitting", epoch, steps[epoch])
            return


# What many tutorials and logging tools offer: an alarm if the gradient's norm
# leaves a fixed range. The numbers are the usual ones; there is no one source.
TOO_SMALL = 1e-5
TOO_LARGE = 100.0


def constant_norms(path: pathlib.Path) -> list[Row]:
    """Norm of any kernel's gradient, at any measured step."""
    run = Run(path)
    alarms = []
    for variable in run.variables:
        if variable["role"] != "weight":
            continue
        rows = run.rows(layer_of(variable["path"]), "gradient_rms")
        norms = rows.value * np.sqrt(np.prod(variable["shape"]))
        for rule, hits in (
            ("vanishing_gradient", norms < TOO_SMALL),
            ("exploding_gradient", ~(norms <= TOO_LARGE)),
        ):
            if hits.any():
                first = int(np.argmax(hits))
                alarms.append(alarm(rule, rows.epoch[first], rows.step[first]))
    alarms.sort(key=lambda row: row["noticed"])
    return alarms


BASELINES: dict[str, Callable[[pathlib.Path], list[Row]]] = {
    "AUTOTRAINER's rules (2021)": autotrainer,
    "SageMaker Debugger's rules": sagemaker,
    "constant thresholds of norms": constant_norms,
}
