"""Configurations: impossible ones are one line that names the field; parameter counts are what the shapes say."""

import jax
import jaxtyping
import pytest

from icl_lab.models import Model, TransformerConfig

BASE = {"channels": 4, "tokens": 7, "layers": 2, "heads": 2, "width": 8}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heads": 3}, ["heads", "3", "width 8"]),
        ({"layers": 0}, ["layers", "0", "at least 1"]),
        ({"mlp": -1}, ["mlp", "-1", "at least 0"]),
        ({"mask": "prefix"}, ["prefix", "0", "between 1 and tokens = 7"]),
        ({"prefix": 2}, ["prefix", "2", "mask='causal'"]),
        ({"embedding": False}, ["width", "8", "channels = 4"]),
        ({"embedding": False, "width": 4, "outputs": 2}, ["outputs", "2", "must be 1"]),
        ({"head_size": 0}, ["head_size", "0", "at least 1"]),
        ({"head_size": 5, "positions": "rotary"}, ["head_size", "5 is odd", "pairs of channels"]),
        ({"attention": "linear", "positions": "alibi"}, ["positions", "'alibi'", "attention='softmax'"]),
        ({"initial_scale": float("nan")}, ["initial_scale", "nan", "above 0"]),
    ],
)
def test_impossible_configurations_name_the_field_and_what_would_be_right(change: dict, words: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        TransformerConfig(**(BASE | change))
    message = str(error.value)
    assert message.startswith(words[0])
    assert all(word in message for word in words)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("field", "choices"),
    [
        ("attention", "softmax, linear"),
        ("mask", "causal, full, prefix, context"),
        ("positions", "learned, sinusoidal, rotary, alibi, relative, none"),
        ("initialisation", "scaled, lecun, gpt2, normal"),
    ],
)
def test_unknown_choices_list_the_known(field: str, choices: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would refuse first, with a page of text
    with pytest.raises(ValueError, match=f"^{field}: 'cosine' is not known; choose one of {choices}$"):
        TransformerConfig(**(BASE | {field: "cosine"}))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # per layer: attention 4·64 + 3·8 (softmax keys have no bias), MLP 8·32+32 + 32·8+8, two norms 2·16;
        # ends: embedding 4·8+8, readout 8+1, norm 16, positions 56
        ({}, 2 * (280 + 552 + 32) + 40 + 9 + 16 + 56),
        ({"mlp": 0}, 2 * (280 + 16) + 40 + 9 + 16 + 56),
        ({"bias": False, "positions": "none", "normalisation": "none"}, 2 * (256 + 512) + 32 + 8),
        ({"head_size": 16}, 2 * (3 * 8 * 32 + 2 * 32 + 32 * 8 + 8 + 552 + 32) + 40 + 9 + 16 + 56),
        *(({"positions": scheme}, 2 * (280 + 552 + 32) + 40 + 9 + 16) for scheme in ("sinusoidal", "rotary", "alibi")),
        ({"positions": "relative"}, 2 * (280 + 552 + 32 + 56) + 40 + 9 + 16),
        ({"attention": "linear"}, 2 * (288 + 552 + 32) + 40 + 9 + 16 + 56),
        ({"loops": 3}, 2 * (280 + 552 + 32) + 40 + 9 + 16 + 56),
        ({"outputs": 5}, 2 * (280 + 552 + 32) + 40 + 45 + 16 + 56),
    ],
)
def test_parameter_counts(change: dict, expected: int) -> None:
    assert Model(TransformerConfig(**(BASE | change))).parameter_count() == expected


def test_bare_linear_attention_has_four_square_matrices_only() -> None:
    config = TransformerConfig(
        channels=6, tokens=5, width=6, mlp=0, attention="linear", normalisation="none", positions="none",
        embedding=False, bias=False,
    )  # fmt: skip
    assert Model(config).parameter_count() == 4 * 36


@pytest.mark.parametrize(
    ("scheme", "inside", "writes"),
    [
        ("scaled", 256**-0.5, 256**-0.5 / 12**0.5),
        ("lecun", 256**-0.5, 256**-0.5),
        ("gpt2", 0.02, 0.02 / 12**0.5),
        ("normal", 0.02, 0.02),
    ],
)
def test_initial_deviations_follow_the_scheme(scheme: str, inside: float, writes: float) -> None:
    config = TransformerConfig(
        channels=4, tokens=3, layers=2, loops=3, width=256, heads=1, mlp=1, initialisation=scheme, initial_scale=2.0
    )
    layer = jax.jit(Model(config).init)(jax.random.key(0))["layers"]["0"]
    for module, name, deviation in [
        ("attention", "query", inside),
        ("attention", "output", writes),
        ("mlp", "expand", inside),
        ("mlp", "contract", writes),
    ]:
        assert layer[module][name]["kernel"].std() == pytest.approx(2 * deviation, rel=0.02)
        assert abs(layer[module][name]["bias"]).max() == 0
