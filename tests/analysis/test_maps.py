"""Maps of transformers whose weights were set by hand: what carries their answers is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from tiny_transformer import chains, pairs

from icl_lab.analysis.maps import DIMS, share, with_maps
from icl_lab.analysis.scores import Judged
from icl_lab.core.prompts import Prompts
from icl_lab.core.streams import stream
from icl_lab.judging.bank import Bank
from icl_lab.learners.constructions import CONSTRUCTIONS
from icl_lab.learners.recurrent import RecurrentLearner
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.probes.inside.prompt_pairs import counterpart
from icl_lab.tasks import LinearRegression, MarkovChain, Task

COUNT, VARIANCE = 24, 0.25
JUDGED = xarray.Dataset({"loss": ("member", [0.1])})


def member(name: str, task: Task, prompts: Prompts) -> Judged:
    """A construction as a trained member, with a bank that holds prompts and no references."""
    drawn = jax.tree.map(np.asarray, prompts)
    unit = np.full(drawn.y.shape, VARIANCE)
    bank = Bank(task, drawn, {"calibration": slice(0, 0), "in_distribution": slice(0, COUNT)}, unit, {}, {}, {}, {})
    return Judged(name, "trained", CONSTRUCTIONS[name].build(task), bank)


@pytest.fixture(scope="module")
def step() -> tuple[Judged, xarray.Dataset]:
    """One gradient step as one head of linear attention."""
    task = LinearRegression(dimension=3, examples=5, noise=0.0)
    subject = member("one_step_gd", task, pairs(3, 5, COUNT))
    return subject, with_maps([subject], JUDGED)


@pytest.fixture(scope="module")
def match() -> xarray.Dataset:
    """Copying what followed the most recent match: a head that looks at the token before, then one that copies."""
    return with_maps([member("most_recent_match", MarkovChain(states=3, examples=11), chains(3, 11, COUNT))], JUDGED)


def test_every_map_has_its_axes_and_an_interval_around_it(match):
    assert list(match["loss"].values) == [0.1]
    assert {name for name in match.data_vars if not str(name).endswith(("_low", "_high"))} == {"loss", *DIMS}
    for name, dims in DIMS.items():
        assert match[name].dims == ("member", *dims)
        assert (match[f"{name}_low"] <= match[name] + 1e-9).all()
        assert (match[f"{name}_high"] >= match[name] - 1e-9).all()
    assert match.sizes["token"] == 12
    for end in ("", "_low", "_high"):  # of a stream only pairs that ask the same are compared
        assert match[f"interchange_input{end}"].values[0, -1] == 0
    assert set(match["pattern"].values) == {"previous token", "prefix matching", "nearest example", "own input"}


@pytest.mark.parametrize("found", ["step", "match"])
def test_after_the_last_layer_the_answering_token_carries_everything(found, request):
    given = request.getfixturevalue(found)
    data = given[1] if isinstance(given, tuple) else given
    for end in ("", "_low", "_high"):
        last = data[f"interchange{end}"].values[0, -1]
        np.testing.assert_allclose(last[-1], 1, atol=1e-5)
        np.testing.assert_array_equal(last[:-1], 0)


def test_examples_carry_their_terms_of_the_gradient_step(step):
    """ŷ* − ŷ = (η/N)(y'_i − y_i) x_i·x_q when example i comes from the other prompt; together they are the change."""
    subject, data = step
    prompts = subject.bank.prompts
    other = jax.jit(counterpart)(subject.bank.task, jax.tree.map(np.asarray, prompts), stream(0, "maps"))
    terms = (np.asarray(other.y) - prompts.y)[:, :-1] * np.einsum("bif,bf->bi", prompts.x[:, :-1], prompts.x[:, -1])
    expected = (terms * terms.sum(1, keepdims=True)).sum(0) / np.square(terms.sum(1)).sum()
    found = data["interchange_input"].values[0]
    np.testing.assert_allclose(found[:-1], expected, atol=1e-4)
    np.testing.assert_allclose(found[-1], 0, atol=1e-5)  # the query is the same in both
    np.testing.assert_allclose(found.sum(), 1, atol=1e-4)


def test_the_only_head_writes_the_answer_and_its_loss_is_that_of_the_mean_answer(step):
    subject, data = step
    for end in ("", "_low", "_high"):
        np.testing.assert_allclose(data[f"attribution{end}"], 1, atol=1e-5)
    answers = np.asarray(subject.learner(jax.tree.map(jnp.asarray, subject.bank.prompts)).mean[:, -1])
    labels = subject.bank.prompts.y[:, -1]
    change = np.square(answers.mean() - labels) - np.square(answers - labels)
    np.testing.assert_allclose(data["head_ablation"].values.ravel(), change.mean() / (2 * VARIANCE), rtol=1e-3)
    assert not {"mlp_ablation", "mlp_attribution"} & set(data)
    assert np.isnan(data["attention_likeness"].sel(pattern="prefix matching")).all()  # no two inputs are equal


def test_heads_are_like_the_patterns_they_were_built_with(match):
    likeness = match["attention_likeness"].isel(member=0, head=0)
    np.testing.assert_allclose(likeness.sel(pattern="previous token", layer=0), 1, atol=1e-3)
    assert float(likeness.sel(pattern="prefix matching", layer=1)) > 0.6
    assert float(likeness.sel(pattern="previous token", layer=1)) < 0.3
    np.testing.assert_allclose(match["attribution"].values[0, :, 0], [0, 1], atol=1e-5)  # the second head copies
    for name in ("mlp_attribution", "mlp_ablation"):  # MLPs of zeros
        np.testing.assert_allclose(match[name], 0, atol=1e-6)


def test_a_pair_of_almost_equal_answers_weighs_almost_nothing():
    apart = np.array([1.0, 1.0, 1e-12])
    value, low, high = share(np.array([[0.4, 0.6, 1e-9], [1.0, 1.0, 1e-12]]), apart, 100)
    np.testing.assert_allclose(value, [0.5, 1.0], atol=1e-6)
    assert low[0] < 0.5 < high[0]
    np.testing.assert_allclose([low[1], high[1]], 1)
    assert np.isnan(share(np.zeros((2, 3)), np.zeros(3), 100)).all()


def test_without_bootstrap_there_are_values_and_no_intervals(step):
    subject, data = step
    found = with_maps([subject], JUDGED, bootstrap=0)
    for name in set(DIMS) & set(map(str, data.data_vars)):
        np.testing.assert_array_equal(found[name], data[name])
        assert np.isnan(found[f"{name}_low"]).all()
        assert np.isnan(found[f"{name}_high"]).all()


def test_of_other_learners_nothing_is_mapped(step):
    subject, _ = step
    reference = CONSTRUCTIONS["one_step_gd"].algorithm(subject.bank.task)
    assert isinstance(reference, ReferenceLearner)
    recurrent = RecurrentLearner({}, subject.learner.model, subject.learner.format)
    for learner in (reference, recurrent):
        assert with_maps([dataclasses.replace(subject, learner=learner)], JUDGED) is JUDGED
