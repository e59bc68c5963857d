"""Steps in fast weights: predictions against loops, networks set by hand, ruins and near misses of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.formats import Interleaved, Paired, Separated
from icl_lab.hypotheses import HYPOTHESES
from icl_lab.judging.mechanism import mechanism_verdict
from icl_lab.learners.recurrent import RecurrentLearner
from icl_lab.mechanisms.controls import random_control
from icl_lab.mechanisms.delta_rule_states import held, inside
from icl_lab.mechanisms.fast_weights import has_fast_weights, taken
from icl_lab.models.gated import GatedConfig, GatedModel
from icl_lab.models.recurrent import DeltaRuleConfig, DeltaRuleModel, online_gd
from icl_lab.tasks import LinearRegression

TASK = LinearRegression(dimension=3, examples=6, noise=0.5)
KEY, RATE = jax.random.key(3), 0.1
LEARNED = jnp.array([0.9, -0.6, 0.8])
ONLINE, BATCH = 1, TASK.examples + 1


def network(mini_batch: int, start=None) -> RecurrentLearner:
    model, params = online_gd(TASK.dimension, TASK.examples, RATE, mini_batch, start)
    return RecurrentLearner(params, model, Paired(), TASK.outcomes)


def altered(learner: RecurrentLearner, **params) -> RecurrentLearner:
    return dataclasses.replace(learner, params={**learner.params, **params})


def supported(learner: RecurrentLearner) -> tuple[str, ...]:
    return mechanism_verdict(learner, TASK, KEY).supported


@pytest.mark.parametrize("mini_batch", [1, 2, 5])
def test_weights_after_every_example_are_those_of_a_loop(mini_batch):
    rng = np.random.default_rng(0)
    x, y, start, rates = (
        rng.normal(size=(4, 5, 3)),
        rng.normal(size=(4, 5)),
        rng.normal(size=(4, 3)),
        rng.normal(size=3),
    )
    found, residuals = taken(*(jnp.asarray(each) for each in (rates, start, x, y)), mini_batch)
    for prompt in range(4):
        theta = anchor = start[prompt]
        for i in range(5):
            anchor = theta if i % mini_batch == 0 else anchor
            residual = y[prompt, i] - anchor @ x[prompt, i]
            theta = theta + rates * residual * x[prompt, i]
            np.testing.assert_allclose(found[prompt, i], theta, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(residuals[prompt, i], residual, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mini_batch", [1, 2, 20])
@pytest.mark.parametrize("order", ["read_write", "write_read"])
def test_what_is_written_is_held_under_other_keys(mini_batch, order):
    """Of a random network, whose values and states mix all channels: S is S_0 and all errors along the other keys."""
    model = DeltaRuleModel(
        DeltaRuleConfig(channels=4, tokens=7, key_size=3, value_size=2, mini_batch=mini_batch, order=order)
    )
    params = jax.tree.map(lambda leaf: leaf + 0.3, model.init(KEY))
    learner = RecurrentLearner({**params, "log_beta": jnp.log(0.2)}, model, Paired(), TASK.outcomes)
    prompts = TASK.sample(KEY, 4)
    own = inside(learner, prompts)
    np.testing.assert_allclose(held(learner, own, own["k"]), own["v"], rtol=1e-4, atol=1e-4)
    keys = jnp.roll(own["k"], 1, axis=0)
    found = {}

    def tap(site, value):
        found[site] = {"0.k": keys, "0.v": held(learner, own, keys)}.get(site, value)
        return found[site]

    model.apply(learner.params, Paired().encode(prompts, TASK.outcomes), tap=tap)
    for prompt in range(4):
        state = expected = np.asarray(own["initial_state"][prompt], float)
        for token in range(7):
            anchor = state if token % mini_batch == 0 else anchor
            error = own["v"][prompt, token] - anchor @ own["k"][prompt, token]
            read = expected if order == "read_write" else expected + 0.2 * np.outer(error, keys[prompt, token])
            np.testing.assert_allclose(found["0.state"][prompt, token], read, rtol=1e-3, atol=1e-3)
            state = state + 0.2 * np.outer(error, own["k"][prompt, token])
            expected = expected + 0.2 * np.outer(error, keys[prompt, token])


@pytest.mark.parametrize("mini_batch", [ONLINE, BATCH])
@pytest.mark.parametrize(("start", "key"), [(None, "H5"), (LEARNED, "H3")])
def test_steps_that_are_there_are_found_and_ruins_of_them_are_not(mini_batch, start, key):
    learner = network(mini_batch, start)
    verdict = mechanism_verdict(learner, TASK, KEY)
    assert verdict.supported == (key,)
    assert {row.signature for row in verdict.evidence if row.hypothesis == key and row.tells} >= {
        "fast iterates",
        "other keys",
        *(["other start"] if mini_batch == ONLINE else []),
    }
    assert ("other start" in {row.signature for row in verdict.evidence}) == (mini_batch == ONLINE)
    assert supported(random_control(learner, KEY)) == ()
    assert supported(altered(learner, readout=-3 * learner.params["readout"])) == ()


def test_they_are_found_where_inputs_and_labels_are_tokens_of_their_own():
    """A label's token has the input before it as its key; an input's token, with none before it, writes nothing."""
    d = TASK.dimension
    config = DeltaRuleConfig(channels=d + 1, tokens=2 * TASK.examples + 1, key_size=d, value_size=1, window=2)
    now, before = np.zeros((2, 2 * (d + 1), d))
    now[:d] = before[d + 1 : 2 * d + 1] = np.eye(d)
    value = np.zeros((2 * (d + 1), 1))
    value[d] = 1
    params = {"query": now, "key": before, "value": value, "readout": np.ones((1, 1)), "initial": np.zeros((1, d))}
    params = {name: jnp.asarray(leaf, jnp.float32) for name, leaf in params.items()}
    learner = RecurrentLearner(
        {**params, "log_beta": jnp.log(jnp.float32(RATE))}, DeltaRuleModel(config), Interleaved(), TASK.outcomes
    )
    prompts = TASK.sample(KEY, 8)
    np.testing.assert_allclose(learner(prompts).mean[:, -1], network(ONLINE)(prompts).mean[:, -1], atol=1e-5)
    assert supported(learner) == ("H5",)


@pytest.mark.parametrize("mini_batch", [ONLINE, BATCH])
def test_near_misses_are_not_supported(mini_batch):
    """Steps up the gradient, and keys of other inputs than the queries."""
    learner = network(mini_batch, LEARNED)
    turned = jnp.roll(learner.params["key"], 1, axis=1)
    assert supported(altered(learner, key=turned)) == ()
    uphill = altered(learner, key=-learner.params["key"], initial=-learner.params["initial"])
    assert supported(uphill) == ()


@pytest.mark.parametrize("mini_batch", [ONLINE, BATCH])
def test_steps_are_found_in_a_state_that_holds_more_than_they_need(mini_batch):
    """Keys and values of eight channels: what of S the answer does not see is random, here and in the control."""
    small, d = network(mini_batch), TASK.dimension
    config = dataclasses.replace(small.model.config, key_size=8, value_size=8)
    noise = jax.random.split(KEY, 2)
    wide = {
        "query": jnp.pad(small.params["query"], ((0, 0), (0, 8 - d))),
        "key": jnp.pad(small.params["key"], ((0, 0), (0, 8 - d))),
        "value": jnp.concatenate([small.params["value"], 0.5 * jax.random.normal(noise[0], (d + 1, 7))], 1),
        "readout": jnp.pad(small.params["readout"], ((0, 7), (0, 0))),
        "initial": jnp.zeros((8, 8)),
        "log_beta": small.params["log_beta"],
    }
    assert supported(RecurrentLearner(wide, DeltaRuleModel(config), Paired(), TASK.outcomes)) == ("H5",)


def test_a_feature_that_answers_hardly_depend_on_does_not_decide():
    task = TASK.replace(covariance=np.array([1, 1, 1e-3], np.float32))
    for seed in range(2):
        learner = network(ONLINE)
        noise = [0.01 * jax.random.normal(key, (4, 3)) for key in jax.random.split(jax.random.key(seed), 2)]
        nearly = altered(
            learner, **{name: learner.params[name] + n for name, n in zip(("key", "query"), noise, strict=True)}
        )
        assert mechanism_verdict(nearly, task, KEY).supported == ("H5",)


def test_steps_of_several_sizes_are_preconditioned_and_learned():
    learner, sizes = network(ONLINE), jnp.diag(jnp.array([1.2, 1.0, 0.8]))
    both = {name: learner.params[name] @ sizes for name in ("key", "query")}
    assert supported(altered(learner, **both)) == ("H3", "H5")


def test_large_labels_leave_the_control_something_to_lack():
    """With random keys, which see labels, the state explodes."""
    task = LinearRegression(dimension=3, examples=40, noise=5.0, weight_scale=10.0)
    model, params = online_gd(3, 40, RATE, 1)
    verdict = mechanism_verdict(RecurrentLearner(params, model, Paired(), task.outcomes), task, KEY)
    assert verdict.supported == ("H5",)


def test_several_steps_towards_half_of_the_labels_are_none_on_the_labels():
    learner = network(ONLINE)
    strong = altered(learner, log_beta=jnp.log(jnp.float32(0.3)), value=0.5 * learner.params["value"])
    assert supported(altered(strong, value=learner.params["value"])) == ("H5",)
    assert supported(strong) == ()


@pytest.mark.parametrize(
    ("format", "changes", "tested"),
    [
        (Paired(), {}, True),
        (Paired(), {"mini_batch": 3}, True),
        (Paired(), {"order": "write_read"}, False),  # writes the query with an empty label
        (Paired(), {"normalised": True}, False),
        (Paired(), {"step": "gated"}, False),
        (Interleaved(), {"window": 2}, True),
        (Interleaved(), {"mini_batch": 20}, True),
        (Interleaved(), {"mini_batch": 3}, False),  # no whole examples
        (Interleaved(), {"window": 3}, False),  # may be written later than its label is read
        (Separated(Paired()), {"order": "write_read"}, False),
        (Separated(Paired()), {}, True),
    ],
)
def test_what_is_tested(format, changes, tested):
    size = {"channels": format.channels(3), "tokens": format.tokens(7), "order": "read_write"}
    model = DeltaRuleModel(DeltaRuleConfig(**(size | changes)))
    assert has_fast_weights(RecurrentLearner({}, model, format), TASK) == tested


def test_on_correlated_inputs_nothing_is_tested():
    task = TASK.replace(covariance=np.eye(3, dtype=np.float32) + 0.2)
    assert not has_fast_weights(network(ONLINE), task)
    assert has_fast_weights(network(ONLINE), TASK)


def test_of_gated_networks_nothing_is_tested():
    gated = GatedModel(GatedConfig(channels=4, tokens=7))
    learner = RecurrentLearner(gated.init(KEY), gated, Paired(), TASK.outcomes)
    assert not has_fast_weights(learner, TASK)
    assert mechanism_verdict(learner, TASK, KEY).not_tested == tuple(hypothesis.key for hypothesis in HYPOTHESES)
