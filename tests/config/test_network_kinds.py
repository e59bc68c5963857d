"""Networks other than transformers: what a configuration says of them, and what it refuses."""

import pytest

from icl_lab.config.config import parse_config
from icl_lab.config.overrides import apply_overrides
from icl_lab.core.errors import InputError
from icl_lab.models import Model
from icl_lab.models.gated import GatedConfig, GatedModel
from icl_lab.models.recurrent import DeltaRuleConfig, DeltaRuleModel


def of_kind(small: dict, **model: object) -> dict:
    small["subjects"]["a"]["model"] = model
    return small


def test_a_transformer_is_what_no_kind_means_with_the_same_hash(small):
    plain = parse_config(small, "x")
    small["subjects"]["a"]["model"]["kind"] = "transformer"
    written = parse_config(small, "x")
    assert isinstance(written.subjects["a"].build_model(), Model)
    assert "kind" not in plain.resolved()["subjects"]["a"]["model"]
    assert written.hash8() == plain.hash8()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"kind": "gru", "width": 6, "layers": 2}, GatedModel(GatedConfig(3, 9, 1, "gru", 2, 6))),
        ({"kind": "lstm"}, GatedModel(GatedConfig(3, 9, kind="lstm"))),
        ({"kind": "delta_rule", "window": 2}, DeltaRuleModel(DeltaRuleConfig(3, 9, window=2))),
    ],
    ids=["gru", "lstm", "delta rule"],
)
def test_other_kinds_are_networks_and_resolve_to_themselves(small, model, expected):
    config = parse_config(of_kind(small, **model), "x")
    assert config.subjects["a"].build_model() == expected
    assert config.subjects["a"].transformer() is None
    resolved = config.resolved()
    assert resolved["subjects"]["a"]["model"].items() >= model.items()
    again = parse_config(resolved, "y")
    assert (again.resolved(), again.hash8()) == (resolved, config.hash8())
    changed = apply_overrides(config, ["--seed", "3"], "x")
    assert parse_config(changed, "x").subjects["a"].build_model() == expected


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"kind": "gur"}, "subjects.a.model.kind: unknown model 'gur'; did you mean 'gru'?"),
        ({"kind": ["gru"]}, "subjects.a.model.kind: unknown model"),
        ({"kind": "gru", "heads": 2}, "subjects.a.model.heads: unknown key"),
        ({"kind": "gru", "layers": 0}, "subjects.a.model.layers: 0 is too small"),
        ({"kind": "delta_rule", "beta": 0.0}, "subjects.a.model.beta: 0.0 must be above 0"),
        ({"positions": "rotary", "heads": 1, "width": 7}, "subjects.a.model.head_size: 7 is odd"),
    ],
)
def test_bad_blocks_are_refused_in_one_line(small, model, words):
    with pytest.raises(InputError) as caught:
        parse_config(of_kind(small, **model), "x.yaml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_masks_that_show_later_tokens_are_for_prompts_whose_last_token_is_read(small):
    for mask in ({"mask": "full"}, {"mask": "prefix", "prefix": 3}):
        paired = of_kind(small, heads=1, width=8, **mask)
        paired["subjects"]["a"]["format"] = "paired"
        assert vars(parse_config(paired, "x").subjects["a"].transformer()).items() >= mask.items()
        paired["subjects"]["a"]["format"] = "interleaved"
        with pytest.raises(InputError, match=r"subjects\.a\.model\.mask"):
            parse_config(paired, "x")
