import pytest

from keras_concepts.reports.drawing.names import (
    figure_names,
    layer_names,
    legible_width,
    short_names,
    shorten,
)


def test_drops_what_all_share_and_what_tells_nothing():
    paths = [
        "model/embedding/embeddings",
        "model/gru/gru_cell/kernel",
        "model/gru/gru_cell/recurrent_kernel",
        "model/block/dense/kernel",
    ]
    assert short_names(paths) == [
        "embedding",
        "gru/kernel",
        "gru/recurrent_kernel",
        "block/dense",
    ]


def test_keeps_a_layer_that_all_variables_share():
    paths = ["gru/gru_cell/kernel", "gru/gru_cell/recurrent_kernel"]
    assert short_names(paths) == ["gru/kernel", "gru/recurrent_kernel"]


def test_first_part_that_only_some_share_stays():
    paths = ["encoder/dense/kernel", "decoder/dense/kernel", "head/kernel"]
    assert short_names(paths) == ["encoder/dense", "decoder/dense", "head"]


def test_two_variables_never_get_one_name():
    paths = ["rnn/a_cell/kernel", "rnn/b_cell/kernel", "rnn/kernel"]
    assert short_names(paths) == paths


def test_of_nothing_and_of_a_bare_name():
    assert short_names([]) == []
    assert short_names(["kernel"]) == ["kernel"]


def test_layers_have_the_last_part_of_their_path():
    paths = ["m/bi/forward_lstm", "m/bi/backward_lstm", "m/a/dense", "m/dense"]
    assert layer_names(paths) == [
        "forward_lstm",
        "backward_lstm",
        "a/dense",
        "dense",
    ]
    assert layer_names(["m/dense"]) == layer_names(["dense"]) == ["dense"]
    assert layer_names(["gru", "gru (2)"]) == ["gru", "gru (2)"]
    assert layer_names([]) == []


@pytest.mark.parametrize("width", range(1, 15))
def test_shorten_keeps_both_ends(width):
    (short,) = shorten(["abcdefghijklmnop"], width)
    assert len(short) == width
    if width > 2:
        assert short[0] == "a"
        assert short[-1] == "p"


def test_shorten_leaves_what_fits():
    assert shorten(["abcdef", "b"], 6) == ["abcdef", "b"]
    assert shorten([], 6) == []


_LISTS = {
    "ends alike": [f"encoder_{i}/attention/query" for i in range(120)],
    "begin alike": [f"encoder/attention/query_projection_{i}" for i in "abc"],
    "both": [
        f"encoder_{i}/attention/{part}_projection"
        for i in range(12)
        for part in ("query", "key", "value")
    ],
    "middle": [f"a_long_beginning_{i}_and_a_long_end" for i in range(200)],
    "looks shortened": [
        "abc...xyz",
        "abcdefghijklmnopqrstuvwxyz",
        "2...z",
        "z",
    ],
}


@pytest.mark.parametrize("width", range(4, 40))
@pytest.mark.parametrize("names", _LISTS.values(), ids=list(_LISTS))
def test_different_names_never_become_alike(names, width):
    short = shorten(names, width)
    assert len(set(short)) == len(names)
    assert max(map(len, short)) <= width


def test_the_cut_spares_what_tells_names_apart():
    short = shorten(["encoder_10/attention", "encoder_11/attention"], 17)
    assert short == ["encoder_10...tion", "encoder_11...tion"]
    numbered = shorten(_LISTS["middle"][:2], 12)
    assert numbered == ["1...long_end", "2...long_end"]


def test_legible_width_tells_names_apart_without_numbers():
    names = ["encoder_10/attention", "encoder_11/attention"]
    width = legible_width(names, 5, 40)
    assert shorten(names, width) == ["encoder_10...", "encoder_11..."]
    assert shorten(names, width - 1)[0].startswith("1...")
    assert legible_width(["dense"], 10, 24) == 5
    assert legible_width([], 10, 24) == 0


def test_what_all_begin_with_goes_first():
    names = [
        f"convnext_tiny_stage_{s}_block_{b}_pointwise_conv_1"
        for s in range(4)
        for b in range(3)
    ]
    names.append("convnext_tiny_head_dense")
    short = shorten(names, 33)
    assert short == [name.removeprefix("convnext_tiny_") for name in names]
    assert shorten(names, 60) == names
    # But not the word that says what a number counts.
    assert shorten(["model_1_aaaaaaaa", "model_2_aaaaaaaa"], 14) == [
        "model_1...aaaa",
        "model_2...aaaa",
    ]
    assert shorten(["alone_in_the_list"], 8) == ["alo...st"]


def test_control_characters_and_formulas_are_shown():
    paths = ["m/a\x1b]0;title\x07/kernel", "m/$x_y$/kernel"]
    assert short_names(paths) == [r"a\x1b]0;title\x07", "$x_y$"]
    assert layer_names([path[:-7] for path in paths])[0].isprintable()
    assert figure_names(["$x_y$"], 10) == [r"\$x_y\$"]
