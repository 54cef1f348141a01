"""Whether a sequence model is asked to repeat its input."""

from collections.abc import Iterator

from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Training


@rule(
    "copied_labels",
    severity="info",
    why="Each step sees its own label, so the model only learns to copy. A "
    "language model that predicts the next token needs labels that are shifted "
    "by one step.",
    page="doctor.md#copied_labels",
    needs="the inputs and labels of sequences",
    known=lambda t: bool(t.targets),
    meant=lambda t: any(
        head.get("kind") == "multiclass" and len(head.get("shape") or ()) == 3
        for head in t.heads
    ),
)
def copied_labels(t: Training) -> Iterator[Evidence]:
    """The labels of a sequence are the integers of its input, step by step.

    They are equal in every entry that counts, in up to 256 rows of three steps
    or more. Known false alarms: autoencoders of tokens, and models that learn
    to copy; guard: it is only information. Models that mask or corrupt their
    inputs themselves; guard: none.
    """
    for head in t.heads:
        name = t.targets.get(head["output"], {}).get("copied_input")
        if name is None:
            continue
        yield Evidence(
            owner=head["output"] or (head.get("layer") or ""),
            since=(0, 0),
            measured=(
                Measured("input that equals the labels", name),
                Measured("share of entries that are equal", 1.0, 1.0),
            ),
            advice="Shift the labels by one step, unless the model is to "
            "reproduce its input.",
            code="x, y = tokens[:, :-1], tokens[:, 1:]",
            part=head["output"],
        )
