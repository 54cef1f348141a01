"""What a variable is, by its layer and shape, not by the end of its path."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts.callbacks import GradientMonitor
from keras_concepts.instruments.owners import owner_names
from keras_concepts.instruments.roles import layers_of_variables, roles_of
from keras_concepts.recording import Recording


class KAN(layers.Layer):
    """The weights of `KANLinear` in other people's packages."""

    def build(self, shape):
        size = shape[-1], 5
        self.grid = self.add_weight(
            shape=(shape[-1], 4), trainable=False, name="grid"
        )
        self.base = self.add_weight(shape=size, name="base_weight")
        self.spline = self.add_weight(shape=(*size, 3), name="spline_weight")
        self.token = self.add_weight(shape=(1, 1, 5), name="token")
        self.offset = self.add_weight(shape=size[::-1], name="offset_bias")

    def call(self, x):
        y = keras.ops.matmul(x, self.base)
        y += keras.ops.einsum("bi,ioc->bo", x, self.spline)
        return (
            y
            + keras.ops.matmul(x, keras.ops.transpose(self.offset))
            + self.token[0]
        )


class OwnAttention(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.q_proj = layers.Dense(4, name="q_proj")
        self.key = layers.Dense(4, name="key")
        self.out = layers.Dense(4, name="out")

    def build(self, shape):
        for each in (self.q_proj, self.key, self.out):
            each.build(shape)
        self.wk = self.add_weight(shape=(4, 4), name="wk")

    def call(self, x):
        scores = keras.ops.matmul(self.q_proj(x), self.wk)
        return self.out(scores * self.key(x))


def roles(layer, shape, dtype="float32"):
    layer(np.ones((2, *shape), dtype))
    model = keras.Sequential([layer])
    names = owner_names(model)
    found = roles_of(model.weights, names, model)
    paths = [
        names.of(v).removeprefix(f"{layer.path}/").partition(" ")[0]
        for v in model.weights
    ]
    return dict(zip(paths, found, strict=True))


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (KAN(), (3,), "statistic weight weight vector vector"),
        (layers.BatchNormalization(), (3,),
         "vector vector statistic statistic"),
        (layers.PReLU(), (3, 2), "vector"),
        (layers.SeparableConv1D(4, 2), (5, 3), "weight weight vector"),
        (layers.GRU(3), (4, 2), "weight weight vector"),
        (layers.Embedding(9, 3), (4,), "weight"),
        (layers.EinsumDense("abc,cde->abde", (4, 2, 3), bias_axes="de"),
         (4, 5), "weight vector"),
    ],
)  # fmt: skip
def test_roles(layer, shape, expected):
    found = roles(layer, shape)
    by_role = sorted(found.values())
    assert by_role == sorted(expected.split())
    for path, role in found.items():
        vector = any(x in path for x in ("bias", "gamma", "beta", "alpha"))
        assert vector == (role == "vector") or path == "token"


def test_queries_and_keys_are_scores():
    inputs = keras.Input((4, 6))
    x = layers.MultiHeadAttention(2, 3, name="mha")(inputs, inputs)
    x = layers.GroupQueryAttention(3, 2, 1, name="gqa")(x, x)
    model = keras.Model(inputs, OwnAttention(name="own")(layers.Dense(4)(x)))
    names = owner_names(model)
    found = dict(
        zip(
            map(names.of, model.weights),
            roles_of(model.weights, names, model),
            strict=True,
        )
    )
    scores = {path for path, role in found.items() if role == "score"}
    assert scores == {
        *("mha/query/kernel", "mha/key/kernel"),
        *("gqa/query/kernel", "gqa/key/kernel"),
        *("own/q_proj/kernel", "own/key/kernel", "own/wk"),
    }
    assert found["mha/value/kernel"] == found["own/out/kernel"] == "weight"
    assert found["mha/query/bias"] == "vector"


def test_cells_belong_to_their_recurrent_layer():
    model = keras.Sequential([keras.Input((4, 2)), layers.LSTM(3, name="l")])
    names = owner_names(model)
    found = layers_of_variables(model.weights, names, model)
    assert {name.rpartition("/")[2] for name in found} == {"l"}


def lora(enable):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, "relu"),
            layers.Dense(4, "relu", use_bias=False),
            layers.Dense(1),
        ]
    )
    if enable:
        for layer in model.layers:
            layer.enable_lora(2)
    model.compile("sgd", "mse")
    return model


def test_log_keys_of_lora(tmp_path):
    x = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
    keys, attenuations = [], []
    for enable in (False, True):
        path = tmp_path / str(enable)
        # The second monitor of a file knows the facts of the run as well.
        monitors = [GradientMonitor(record_to=path) for _ in range(2)]
        history = (
            lora(enable)
            .fit(x, x[:, :1], 8, verbose=0, callbacks=monitors)
            .history
        )
        keys.append(sorted(history))
        attenuations += [history["gradient_attenuation"][-1]]
        for recording in (monitors[1].recording, Recording.load(path)):
            known = {
                each["path"].rpartition("/")[2]: each["role"]
                for each in recording.facts["variables"]
            }
            assert known.pop("bias") == "vector"
            assert set(known.values()) == {"weight"}
            assert ("lora_kernel_a" in known) == enable
    assert keys[0] == keys[1]
    # Of both matrices together, since that of A is 0 as long as B is.
    assert 0.05 < attenuations[1] < 20.0
    assert 0.0 < history["update_ratio"][-1] < 1.0
    units = monitors[0].recording.select(quantity="units").value.tolist()
    assert units == [5.0, 4.0, 1.0]


def test_attenuation_of_a_transformer():
    small = keras.initializers.RandomNormal(stddev=0.02, seed=0)
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 4, embeddings_initializer=small, name="e")(inputs)
    attended = layers.MultiHeadAttention(2, 2, kernel_initializer=small)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, attended]))
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(1, name="head")(x))
    model.compile("sgd", "mse")
    ids = np.random.default_rng(0).integers(0, 9, (16, 5))
    monitor = GradientMonitor()
    history = model.fit(ids, ids[:, :1] * 1.0, verbose=0, callbacks=[monitor])
    rms = monitor.recording.select(quantity="gradient_rms")
    ratio = rms.select("e/embeddings").value / rms.select("head/kernel").value
    assert history.history["gradient_attenuation"] == pytest.approx(ratio)
    title = monitor.plot().get_suptitle()
    assert title.startswith("The first layer's gradient is")
