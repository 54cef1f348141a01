"""Each way to lose a mask is reported, and no correct use of one."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_concepts as kc
from keras_concepts.instruments.masks.padding import Padding, padding_of_ids

RIGHT = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 0, 0], [5, 6, 7, 8, 0]])
WHOLE = np.concatenate([RIGHT, [[8, 7, 6, 5, 4]]])  # and a row of no padding
LEFT = RIGHT[:, ::-1].copy()
TABLE = np.random.default_rng(0).choice(3, (64, 8), p=[0.8, 0.1, 0.1])
pytestmark = pytest.mark.filterwarnings("ignore:.*does not support masking")


class Custom(layers.Layer):
    def call(self, inputs):
        return inputs + 1.0


def model_of(follow, mask_zero=True):
    inputs = keras.Input((5,), dtype="int32")
    embedding = layers.Embedding(9, 4, mask_zero=mask_zero, name="words")
    return keras.Model(inputs, follow(embedding(inputs)))


def problems(report):
    return [
        (finding.layer.split("/")[-1], finding.problem)
        for finding in report.findings
    ]


LSTM = layers.LSTM


@pytest.mark.parametrize(
    ("follow", "expected"),
    [
        (
            lambda x: LSTM(3, name="r")(ops.multiply(x, 2.0)),
            [("multiply", "lost"), ("r", "unmasked")],
        ),
        (
            lambda x: LSTM(3, name="r")(
                layers.Lambda(lambda x: x + 1.0, name="f")(x)
            ),
            [("f", "lost"), ("r", "unmasked")],
        ),
        (
            lambda x: layers.GRU(3, name="r")(Custom(name="f")(x)),
            [("f", "lost"), ("r", "unmasked")],
        ),
        (
            lambda x: LSTM(3)(layers.Conv1D(4, 3, name="f")(x)),
            [("f", "lost")],
        ),
        (
            lambda x: LSTM(3, name="r")(
                layers.Conv1D(4, 3, padding="same", name="f")(x)
            ),
            [("f", "lost"), ("r", "unmasked")],
        ),
        (lambda x: layers.Flatten(name="f")(x), [("f", "lost")]),
        (lambda x: layers.Reshape((20,), name="f")(x), [("f", "lost")]),
        (lambda x: layers.GlobalMaxPooling1D(name="f")(x), [("f", "lost")]),
        (lambda x: x[:, -1], [("get_item", "lost")]),
        (
            lambda x: layers.Bidirectional(LSTM(3, name="r"))(Custom()(x)),
            [
                ("custom", "lost"),
                ("forward_r", "unmasked"),
                ("backward_r", "unmasked"),
            ],
        ),
    ],
    ids=lambda value: "",
)
def test_where_a_mask_is_lost(follow, expected):
    report = kc.check_masks(model_of(follow), RIGHT)
    assert problems(report) == expected
    assert not report
    for finding in report.findings:
        assert finding.padding == pytest.approx(0.4)
        assert finding.side == "right"


def attention(x):
    heads = layers.MultiHeadAttention(2, 2, name="r")(x, x)
    return layers.GlobalAveragePooling1D(name="p")(
        layers.LayerNormalization()(layers.Add()([x, heads]))
    )


@pytest.mark.parametrize(
    ("follow", "readers"),
    [
        (lambda x: layers.Dense(1)(LSTM(3, name="r")(x)), ["r"]),
        (lambda x: LSTM(5, name="r")(x), ["r"]),  # as many units as steps
        (attention, ["r", "p"]),
        (
            lambda x: layers.GlobalAveragePooling1D(name="p")(
                layers.Attention(name="r")([x, x])
            ),
            ["r", "p"],
        ),
        (
            lambda x: layers.GRU(2, name="p")(
                layers.Bidirectional(LSTM(3, return_sequences=True, name="r"))(
                    layers.BatchNormalization()(layers.SpatialDropout1D(0.5)(x))
                )
            ),
            ["forward_r", "backward_r", "p"],
        ),
        (
            lambda x: LSTM(3, name="r")(
                layers.TimeDistributed(layers.Dense(4))(x)
            ),
            ["r"],
        ),
    ],
    ids=lambda value: "",
)
def test_no_finding_where_masks_arrive(follow, readers):
    report = kc.check_masks(model_of(follow), RIGHT)
    assert report, str(report)
    assert [path.split("/")[-1] for path in report.arrived] == readers
    # Without `mask_zero` each of them is a finding.
    report = kc.check_masks(model_of(follow, mask_zero=False), RIGHT)
    assert problems(report) == [
        ("words", "no_mask"),
        *((reader, "unmasked") for reader in readers),
    ]
    assert report.arrived == []


class IgnoresMask(layers.Layer):
    def call(self, x, mask=None):
        return ops.mean(x, axis=1)


class CentresSteps(layers.Layer):
    """Passes a mask on, but has read what it leaves out."""

    supports_masking = True

    def __init__(self):
        super().__init__()
        self.supports_masking = True

    def call(self, x):
        return x - ops.mean(x, axis=1, keepdims=True)


class Block(layers.Layer):
    """As in libraries of transformers: residuals and masks in its own code."""

    def __init__(self, pools=False, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.pools = pools
        self.attention = layers.MultiHeadAttention(2, 2)
        self.norms = [layers.LayerNormalization() for _ in range(2)]
        self.dense = layers.Dense(4, "relu")

    def build(self, shape):
        self.attention.build(shape, shape)
        self.dense.build(shape)
        for norm in self.norms:
            norm.build(shape)

    def call(self, x, mask=None):
        attends = None if mask is None else mask[:, None, :]
        x = self.norms[0](x + self.attention(x, x, attention_mask=attends))
        x = self.norms[1](x + self.dense(x))
        return x + ops.max(x, axis=1, keepdims=True) if self.pools else x


class PoolsByHand(keras.Model):
    """Of ids that are 0 where padded, and of no mask of Keras'."""

    def __init__(self, leaves_out=False, mask_zero=False):
        super().__init__(name="by_hand")
        self.words = layers.Embedding(9, 4, mask_zero=mask_zero, name="words")
        self.dense = layers.Dense(2)
        self.leaves_out = leaves_out

    def call(self, ids):
        x = self.words(ids)
        if not self.leaves_out:
            return self.dense(ops.mean(x, axis=1))
        real = ops.cast(ops.not_equal(ids, 0), x.dtype)[..., None]
        return self.dense(ops.sum(x * real, axis=1) / ops.sum(real, axis=1))


def of_ids(follow, mask_zero=True, several=False):
    """A model of one sequence of any length, or of two."""
    inputs = [keras.Input((None,), dtype="int32") for _ in range(1 + several)]
    embedded = [
        layers.Embedding(9, 4, mask_zero=mask_zero)(ids) for ids in inputs
    ]
    return keras.Model(inputs, follow(*embedded))


def hand_made_attention(x):
    mask = ops.any(ops.not_equal(x, 7.0), axis=-1)  # all true
    scores = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
    scores = ops.where(mask[:, None, :], scores, -1e9)
    return ops.max(ops.matmul(ops.softmax(scores), x), axis=1)


def pooled(x):
    return layers.GlobalAveragePooling1D(name="pool")(x)


def masked_mean(x, mask=None):
    mask = ops.cast(mask, x.dtype)[..., None]
    return ops.sum(x * mask, axis=1) / ops.sum(mask, axis=1)


def translated(x, y):
    states, *last = LSTM(4, return_sequences=True, return_state=True)(x)
    decoded = LSTM(4, return_sequences=True)(y, initial_state=last)
    read = layers.Attention()([decoded, states])
    return pooled(layers.Concatenate()([decoded, read]))


MODELS = {
    # name: (model, the layer at fault, if there is one)
    "lstm": (lambda: of_ids(LSTM(3)), None),
    "bidirectional": (
        lambda: of_ids(
            lambda x: pooled(
                layers.Bidirectional(LSTM(3, return_sequences=True))(x)
            )
        ),
        None,
    ),
    "concatenated": (
        lambda: of_ids(
            lambda x, y: pooled(layers.Concatenate()([x, y])), several=True
        ),
        None,
    ),
    "added": (
        lambda: of_ids(lambda x, y: pooled(layers.Add()([x, y])), several=True),
        None,
    ),
    "zeros like it": (
        lambda: of_ids(
            lambda x: pooled(layers.Add()([x, 0.0 * x + ops.zeros_like(x)]))
        ),
        "add",
    ),
    "joined with what has no mask": (
        lambda: of_ids(
            lambda x: pooled(
                layers.Concatenate(name="join")(
                    [
                        x,
                        layers.Embedding(9, 2)(
                            ops.cast(x[..., 0] > 9, "int32")
                        ),
                    ]
                )
            )
        ),
        "join",
    ),
    "time distributed": (
        lambda: of_ids(
            lambda x: pooled(layers.TimeDistributed(layers.Dense(3))(x))
        ),
        None,
    ),
    "attention": (
        lambda: of_ids(lambda x: pooled(layers.MultiHeadAttention(2, 2)(x, x))),
        None,
    ),
    "transformer": (
        lambda: of_ids(lambda x: pooled(Block()(Block()(x)))),
        None,
    ),
    "transformer that pools inside": (
        lambda: of_ids(lambda x: pooled(Block(pools=True, name="block")(x))),
        "block",
    ),
    "translation": (lambda: of_ids(translated, several=True), None),
    "attention by hand": (
        lambda: of_ids(hand_made_attention),
        "matmul",
    ),
    "mask by hand": (lambda: PoolsByHand(leaves_out=True), None),
    "no mask by hand": (PoolsByHand, "words"),
    "own code": (lambda: PoolsByHand(mask_zero=True), "by_hand"),
    "first step": (lambda: of_ids(lambda x: x[:, 0], mask_zero=False), None),
    "lambda": (
        lambda: of_ids(layers.Lambda(lambda x: ops.mean(x, axis=1), name="f")),
        "f",
    ),
    "lambda with a mask": (
        lambda: of_ids(layers.Lambda(masked_mean, (4,))),
        None,
    ),
    "mask ignored": (lambda: of_ids(IgnoresMask(name="f")), "f"),
    "steps centred": (
        lambda: of_ids(lambda x: pooled(CentresSteps()(x))),
        "centres_steps",
    ),
    "product": (lambda: of_ids(lambda x: LSTM(3)(x * 2.0)), "multiply"),
    "convolution": (
        lambda: of_ids(
            lambda x: layers.GlobalMaxPooling1D()(
                layers.Conv1D(3, 3, padding="same", name="f")(x)
            )
        ),
        "f",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_against_more_padding(name):
    """A model has a finding if its outputs change with more padding."""
    build, guilty = MODELS[name]
    keras.utils.set_random_seed(3)
    model = build()
    longer = np.pad(WHOLE, ((0, 0), (0, 3)))
    count = len(model.inputs) if hasattr(model, "inputs") else 1
    outputs = [
        np.array(
            ops.convert_to_numpy(model([ids] * count if count > 1 else ids))
        )
        for ids in map(ops.convert_to_tensor, (WHOLE, longer))
    ]
    changes = np.abs(outputs[0] - outputs[1]).max() > 1e-5
    report = kc.check_masks(model, [WHOLE] * count if count > 1 else WHOLE)
    assert changes == (guilty is not None)
    assert bool(report) == (guilty is None), str(report)
    if guilty is not None:
        names = [layer for layer, _ in problems(report)]
        assert any(layer.startswith(guilty) for layer in names), str(report)


def test_a_layer_that_makes_a_sequence_without_a_mask():
    """Of one with a mask that only its own code has seen."""

    class WithPositions(layers.Layer):
        def __init__(self):
            super().__init__(name="positions")
            self.words = layers.Embedding(9, 4, mask_zero=True)

        def call(self, ids):
            return self.words(ids) + 1.0

    model = keras.Sequential(
        [WithPositions(), layers.GlobalAveragePooling1D(name="pool")]
    )
    assert problems(kc.check_masks(model, WHOLE)) == [
        ("positions", "lost"),
        ("pool", "unmasked"),
    ]


def test_a_mask_that_arrives_without_the_padding():
    build, _ = MODELS["joined with what has no mask"]
    report = kc.check_masks(build(), WHOLE)
    assert ("join", "lost") in problems(report)
    assert report.arrived == []


def test_a_model_that_is_random_is_only_followed():
    class Counts(layers.Layer):
        calls = 0

        def call(self, x):
            self.calls += 1
            return x + float(self.calls)

    model = of_ids(lambda x: LSTM(3, name="r")(Counts()(x)))
    assert ("r", "unmasked") in problems(kc.check_masks(model, WHOLE))


class Subclassed(keras.Model):
    def __init__(self, scaled=True, by_hand=False):
        super().__init__(name="mine")
        self.words = layers.Embedding(9, 4, mask_zero=True, name="words")
        self.memory = LSTM(3, name="memory")
        self.scaled, self.by_hand = scaled, by_hand

    def call(self, inputs):
        x = self.words(inputs)
        if not self.scaled:
            return self.memory(x)
        mask = self.words.compute_mask(inputs) if self.by_hand else None
        return self.memory(x * 2.0, mask=mask)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_subclassed(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        report = kc.check_masks(Subclassed(), RIGHT)
        assert problems(report) == [("mine", "lost"), ("memory", "unmasked")]
        assert "between mine/words and mine/memory" in str(report)
        assert kc.check_masks(Subclassed(scaled=False), RIGHT)
        assert kc.check_masks(Subclassed(by_hand=True), RIGHT)
    finally:
        keras.config.set_dtype_policy(before)


def test_attention_takes_the_mask_off_its_input():
    """So other layers that read the input get none. The embedding made it."""

    class Block(keras.Model):
        def __init__(self):
            super().__init__()
            self.words = layers.Embedding(9, 4, mask_zero=True, name="words")
            self.attention = layers.MultiHeadAttention(1, 4, name="attention")
            self.add = layers.Add(name="add")
            self.pool = layers.GlobalAveragePooling1D(name="pool")

        def call(self, inputs):
            x = self.words(inputs)
            return self.pool(self.add([x, self.attention(x, x)]))

    report = kc.check_masks(Block(), RIGHT)
    assert problems(report) == [("add", "lost"), ("pool", "unmasked")]


def test_nested_and_several_inputs():
    """Of two encoders of one shape, the one that loses its mask is named."""

    def encoder(name, *more):
        words = layers.Embedding(9, 4, mask_zero=True)
        return keras.Sequential([words, *more], name=name)

    inputs = {key: keras.Input((5,), dtype="int32", name=key) for key in "ab"}
    good = encoder("good")(inputs["a"])
    bad = encoder("bad", Custom(name="f"))(inputs["b"])
    model = keras.Model(
        inputs,
        [LSTM(3, name="r")(good), LSTM(3, name="s")(bad)],
    )
    report = kc.check_masks(model, {"a": LEFT, "b": RIGHT})
    assert problems(report) == [("f", "lost"), ("s", "unmasked")]
    assert [finding.side for finding in report.findings] == ["right"] * 2
    assert report.findings[0].layer == "bad/f"
    assert report.arrived == ["r"]


def test_masking_layer():
    model = keras.Sequential(
        [keras.Input((3, 2)), layers.Masking(), Custom(), LSTM(2)]
    )
    x = np.ones((2, 3, 2), "float32")
    x[0, 1:] = 0.0
    report = kc.check_masks(model, x)
    assert problems(report) == [("custom", "lost"), ("lstm", "unmasked")]
    assert report.findings[0].padding == pytest.approx(1 / 3)


def test_row_that_is_all_padding():
    def pooled(x):
        return layers.GlobalAveragePooling1D(name="p")(x)

    empty = np.concatenate([RIGHT, np.zeros((1, 5), int)])
    report = kc.check_masks(model_of(pooled), empty)
    assert problems(report) == [("p", "empty_row")]
    assert "1 of 4 rows" in str(report)
    assert kc.check_masks(model_of(pooled), RIGHT)
    assert kc.check_masks(model_of(LSTM(3)), empty)


@pytest.mark.parametrize(
    ("ids", "side", "effect"),
    [(RIGHT, "right", [True, False]), (LEFT, "left", [False, True])],
    ids=["right", "left"],
)
def test_who_reads_padding_last(ids, side, effect):
    model = model_of(layers.Bidirectional(LSTM(2)), mask_zero=False)
    findings = kc.check_masks(model, ids).findings
    assert {finding.side for finding in findings} == {side}
    found = ["after the last real" in finding.evidence for finding in findings]
    assert found == [False, *effect]


def test_a_table_of_categories_is_no_sequence():
    ids = np.random.default_rng(0).integers(0, 3, (64, 2))
    model = keras.Sequential(
        [
            keras.Input((2,), dtype="int32"),
            layers.Embedding(3, 4),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    assert not kc.check_masks(model, ids).findings


class TestPadding:
    def test_sides(self):
        def side(*rows):
            return Padding(np.array(rows, bool)).side

        assert side([0, 0, 1], [1, 1, 1]) == "right"
        assert side([1, 0, 0]) == "left"
        assert side([1, 0, 1], [0, 0, 0]) == "both"
        assert side([1, 0, 0], [0, 0, 1]) == "mixed"
        assert side([0, 1, 0]) == "inside"
        assert side([0, 0], [1, 1]) == "none"

    def test_share(self):
        padding = padding_of_ids(RIGHT)
        np.testing.assert_array_equal(padding.steps, RIGHT == 0)
        assert padding.share == pytest.approx(6 / 15)
        assert padding_of_ids(np.stack([LEFT, LEFT])).side == "left"

    def test_an_empty_row(self):
        assert padding_of_ids(np.array([[1, 2, 3, 4], [0] * 4])).empty_rows == 1

    def test_a_zero_at_the_other_end_is_a_mistake(self):
        ids = np.concatenate([RIGHT] * 4)
        ids[0, 0] = 0
        steps = padding_of_ids(ids).steps
        np.testing.assert_array_equal(steps[1:], ids[1:] == 0)
        assert steps[0].tolist() == [False, False, True, True, True]

    @pytest.mark.parametrize(
        "ids",
        [
            np.random.default_rng(0).zipf(1.3, (16, 40)) - 1,  # 0 is a word
            np.tile([0, 0, 0, 1, 1, 1], (4, 1)),  # segments
            np.tile(np.arange(6), (4, 1)),  # positions
            np.array([0, 1, 2, 0]),  # one number a row
            np.array([[0], [1], [2]]),
            RIGHT + 1,
            *(TABLE[:, :columns] for columns in (2, 3, 4, 8)),
            TABLE[:, :3] * [0, 1, 1] + [5, 0, 0],  # two flags, mostly 0
            np.concatenate([RIGHT, LEFT]),
        ],
        ids=[
            "words",
            "segments",
            "positions",
            "vector",
            "column",
            "none",
            *(f"table of {columns}" for columns in (2, 3, 4, 8)),
            "flags",
            "at both ends",
        ],
    )
    def test_zeros_that_are_no_padding(self, ids):
        assert padding_of_ids(ids) is None


class Counting(layers.Layer):
    def build(self, shape):
        self.calls = self.add_weight(name="calls", trainable=False)
        self.noise = keras.random.SeedGenerator(1)

    def call(self, inputs, mask=None):
        self.calls.assign_add(1.0)
        return inputs + keras.random.normal((4,), seed=self.noise)


def test_leaves_the_model_as_it_was():
    model = model_of(
        lambda x: layers.Dropout(0.5)(
            layers.BatchNormalization()(LSTM(3)(Counting()(x)))
        )
    )
    before = [np.array(ops.convert_to_numpy(v)) for v in model.variables]
    kc.check_masks(model, RIGHT)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    for layer in [*model._flatten_layers(), *model.operations]:
        module = getattr(vars(layer).get("call"), "__module__", "")
        assert "keras_concepts" not in str(module)


def test_an_exception_leaves_nothing_patched():
    class Bomb(layers.Layer):
        armed = False

        def call(self, inputs):
            if self.armed:
                raise RuntimeError("boom")
            return inputs

    model = model_of(Bomb())
    model.layers[-1].armed = True
    with pytest.raises(RuntimeError, match="boom"):
        kc.check_masks(model, RIGHT)
    assert all("call" not in vars(layer) for layer in model.layers)


def test_not_a_model():
    with pytest.raises(TypeError, match=r"keras\.Model"):
        kc.check_masks(lambda x: x, RIGHT)
