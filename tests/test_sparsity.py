"""Zeros and sizes against SciPy's sparse matrices."""

import io

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

from keras_concepts import layers as own_layers
from keras_concepts import sparsity


@pytest.fixture
def model():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.Flatten(),
            layers.Dense(5, name="dense"),
        ],
        name="net",
    )
    random = np.random.default_rng(0)
    for layer in (model.layers[0], model.layers[2]):
        kernel, bias = layer.get_weights()
        kernel[random.uniform(size=kernel.shape) < 0.7] = 0.0
        layer.set_weights([kernel, bias])
    return model


def test_agrees_with_scipy(model):
    sparse = pytest.importorskip("scipy.sparse")
    report = sparsity(model)
    kernels = [w for w in model.get_weights() if w.ndim > 1]
    assert len(report) == len(kernels) == 2
    for row, kernel in zip(report, kernels, strict=True):
        csr = sparse.csr_matrix(kernel.reshape(-1, kernel.shape[-1]))
        size = csr.data.nbytes + csr.indices.nbytes + csr.indptr.nbytes
        assert csr.indices.dtype == csr.indptr.dtype == np.int32
        assert row.shape == kernel.shape
        assert row.zeros == kernel.size - csr.nnz
        assert row.share == pytest.approx(row.zeros / row.size)
        assert row.dense_bytes == kernel.nbytes
        assert row.sparse_bytes == size
    for field in ("zeros", "size", "dense_bytes", "sparse_bytes"):
        expected = sum(getattr(row, field) for row in report)
        assert getattr(report.total, field) == expected
    assert report.total.share == report.total.zeros / report.total.size


def test_is_printed_as_a_table(model):
    report = sparsity(model)
    console = Console(file=io.StringIO(), width=80)
    console.print(report)
    text = console.file.getvalue()
    assert str(report).splitlines()[0].split() == (
        ["layer", "zeros", "of", "share", "dense", "as", "CSR", "saved"]
    )
    for printed in (text, str(report)):
        assert "conv " in printed
        assert "dense " in printed
        assert f"{report.total.zeros:,}" in printed
        assert f"{report.rows[0].share:.1%}" in printed


def test_a_model_without_kernels():
    model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization()])
    report = sparsity(model)
    assert report.rows == []
    assert report.total.share == 0.0
    assert "layer" in str(report)


def test_statistics_and_biases_of_two_axes_do_not_count():
    inputs = keras.Input((4, 6))
    x = own_layers.ActivationProbe("relu")(layers.GRU(3)(inputs))
    attended = layers.MultiHeadAttention(2, 3, name="attention")(inputs, inputs)
    x = layers.Concatenate()([x, layers.Flatten()(layers.PReLU()(attended))])
    model = keras.Model(inputs, layers.Dense(1)(x))
    model.get_layer("attention").trainable = False  # what is frozen does count
    rows = sparsity(model)
    kinds = sorted(row.path.rpartition("/")[2] for row in rows)
    assert kinds == ["kernel"] * 6 + ["recurrent_kernel"]
    assert rows.total.zeros == 0


def test_towers_with_the_same_layer_names():
    def tower(zero):
        inputs = keras.Input((3,))
        layer = layers.Dense(2, name="hidden")
        model = keras.Model(inputs, layer(inputs))
        if zero:
            layer.kernel.assign(np.zeros((3, 2)))
        return model

    inputs = keras.Input((3,))
    model = keras.Model(
        inputs, layers.Add()([tower(False)(inputs), tower(True)(inputs)])
    )
    found = {row.path: row.zeros for row in sparsity(model)}
    assert found == {"hidden/kernel": 0, "hidden (2)/kernel": 6}
    assert "hidden (2)" in str(sparsity(model))
