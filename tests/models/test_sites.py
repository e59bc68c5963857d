"""Taps: every site of the table fires with its shape, is read and replaced in jit, vmap and grad, never silently."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.models import SITES, Model, TransformerConfig, capture, patch, site_table, sites

CONFIG = TransformerConfig(channels=4, tokens=5, layers=2, heads=2, width=8, mlp=2)
MODEL = Model(CONFIG)
PARAMS = jax.jit(MODEL.init)(jax.random.key(0))
APPLY = jax.jit(MODEL.apply)
INPUTS = jax.random.normal(jax.random.key(1), (3, 5, 4))
OTHER = jax.random.normal(jax.random.key(2), (3, 5, 4))
WITHOUT_MLP = Model(TransformerConfig(channels=4, tokens=5, heads=2, width=8, mlp=0, loops=3))


def test_table_lists_every_site_of_every_layer_in_order() -> None:
    table = site_table(CONFIG)
    assert list(table) == [f"{layer}.{site}" for layer in range(2) for site in SITES]
    assert table["1.q"] == "batch head=2 token=5 head_size=4"
    assert table["0.pattern"] == "batch head=2 token=5 key=5"
    assert table["1.resid_post"] == "batch token=5 width=8"


def test_table_of_an_attention_only_looped_model_counts_applications() -> None:
    table = site_table(WITHOUT_MLP.config)
    present = [site for site in SITES if site not in ("resid_mid", "mlp_out")]
    assert list(table) == [f"{layer}.{site}" for layer in range(3) for site in present]


def test_table_agrees_with_what_is_captured() -> None:
    table = site_table(CONFIG)
    answers, found = jax.jit(lambda p: capture(MODEL, p, INPUTS, table, read=slice(2, 3)))(PARAMS)
    assert answers.shape == (3, 1, 1)
    assert set(found) == set(table)
    for site, text in table.items():
        sizes = [int(axis.partition("=")[2]) for axis in text.split()[1:]]
        assert found[site].shape == (3, *sizes)


def test_sites_compose_to_the_forward_pass() -> None:
    answers, found = jax.jit(lambda p: capture(MODEL, p, INPUTS, site_table(CONFIG)))(PARAMS)
    for layer in range(2):
        at = {site: found[f"{layer}.{site}"] for site in SITES}
        np.testing.assert_allclose(at["resid_mid"], at["resid_pre"] + at["attn_out"], rtol=1e-6)
        np.testing.assert_allclose(at["resid_post"], at["resid_mid"] + at["mlp_out"], rtol=1e-6)
        np.testing.assert_allclose(at["pattern"].sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(found["1.resid_pre"], found["0.resid_post"])
    np.testing.assert_allclose(answers, APPLY(PARAMS, INPUTS), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("site", [f"1.{site}" for site in SITES])
def test_replacing_a_site_by_itself_changes_nothing_and_by_another_value_something(site: str) -> None:
    @jax.jit
    def run(params: dict) -> tuple:
        answers, found = capture(MODEL, params, INPUTS, [site])
        same = patch(MODEL, params, INPUTS, {site: found[site]})
        return answers, same, patch(MODEL, params, INPUTS, {site: lambda value: jnp.flip(value, 0) + 1 - value})

    answers, same, other = run(PARAMS)
    np.testing.assert_allclose(same, answers, rtol=1e-5, atol=1e-6)
    assert np.abs(other - answers).max() > 1e-4, f"a replacement at {site} is ignored"


def test_the_whole_stream_of_another_prompt_gives_its_answers() -> None:
    def run(params: dict) -> tuple:
        answers, found = capture(MODEL, params, OTHER, ["1.resid_pre"])
        return patch(MODEL, params, INPUTS, found), answers

    np.testing.assert_allclose(*jax.jit(run)(PARAMS), rtol=1e-5, atol=1e-6)


def test_capture_inside_vmap_is_capture_of_each_member() -> None:
    run = jax.jit(lambda params: capture(MODEL, params, INPUTS, ["0.z"])[1]["0.z"])
    members = jax.jit(jax.vmap(MODEL.init))(jax.random.split(jax.random.key(4), 2))
    found = jax.jit(jax.vmap(run))(members)
    assert found.shape == (2, 3, 2, 5, 4)
    alone = run(jax.tree.map(lambda leaf: leaf[1], members))
    np.testing.assert_allclose(found[1], alone, rtol=1e-5, atol=1e-6)


def test_patches_are_data_that_vmap_and_grad_go_through() -> None:
    @jax.jit
    def answer(scale: jax.Array) -> jax.Array:
        return patch(MODEL, PARAMS, INPUTS, {"0.attn_out": lambda value: scale * value})[0, -1, 0]

    scales = jnp.array([1.0, 0.0, 1.01, 0.99])
    answers = jax.jit(jax.vmap(answer))(scales)
    assert float(answers[0]) == pytest.approx(float(APPLY(PARAMS, INPUTS)[0, -1, 0]), rel=1e-5)
    assert abs(answers[1] - answers[0]) > 1e-2
    slope = float(answers[2] - answers[3]) / 0.02
    assert float(jax.jit(jax.grad(answer))(1.0)) == pytest.approx(slope, rel=0.01)


def test_a_replaced_score_cannot_make_the_future_visible() -> None:
    @jax.jit
    def answers(inputs: jax.Array) -> jax.Array:
        return patch(MODEL, PARAMS, inputs, {"0.scores": lambda scores: -2 * scores})

    before, after = answers(INPUTS), answers(INPUTS.at[:, 3:].add(5.0))
    assert np.array_equal(before[:, :3], after[:, :3])
    assert np.abs(before[:, 3:] - after[:, 3:]).min() > 1e-4


@pytest.mark.parametrize(
    ("asked", "nearest"), [("1.patern", "1.pattern"), ("2.pattern", "0.pattern"), ("mlp_out", "0.mlp_out"), ("", "0.")]
)
def test_an_unknown_site_is_an_error_that_suggests_the_nearest(asked: str, nearest: str) -> None:
    message = rf"^site '{asked}' does not exist in this model; did you mean '{nearest}"
    with pytest.raises(ValueError, match=message):
        capture(MODEL, PARAMS, INPUTS, [asked])
    with pytest.raises(ValueError, match=message):
        patch(MODEL, PARAMS, INPUTS, {asked: jnp.zeros(())})


def test_a_site_that_this_model_lacks_is_an_error() -> None:
    params = WITHOUT_MLP.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"'0.mlp_out' does not exist in this model"):
        capture(WITHOUT_MLP, params, INPUTS, ["0.mlp_out"])


def test_a_site_that_did_not_fire_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sites, "_shapes", lambda config: {"0.gate": (1, 5, 8)})
    with pytest.raises(ValueError, match=r"\['0.gate'\] did not fire"):
        capture(MODEL, PARAMS, INPUTS, ["0.gate"])
    with pytest.raises(ValueError, match=r"\['0.gate'\] did not fire"):
        patch(MODEL, PARAMS, INPUTS, {"0.gate": jnp.zeros(())})


def test_a_replacement_of_another_shape_names_the_site() -> None:
    with pytest.raises(ValueError, match=r"site '0.z': replacement of shape \(3, 5\) does not fit \(3, 2, 5, 4\)"):
        patch(MODEL, PARAMS, INPUTS, {"0.z": jnp.zeros((3, 5))})
