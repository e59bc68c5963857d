"""What every task keeps to. A row of TASKS enrols one; a task of the package without a row fails."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contracts.waves import Waves

from icl_lab import tasks
from icl_lab.core.prompts import Prompts
from icl_lab.tasks import (
    BooleanRules,
    CausalGraph,
    Described,
    LabelMapping,
    LinearRegression,
    MarkovChain,
    ModularRules,
    Pool,
    Recall,
    RepeatedSequence,
    Task,
    pool_posterior,
)

MATRIX = np.array([[1.0, 0.4, 0.0], [0.4, 0.6, 0.1], [0.0, 0.1, 2.0]], np.float32)
POOL = Pool(70, seed=3)  # not a multiple of the chunk of the streamed posterior

TASKS: dict[str, Task] = {
    "gaussian": LinearRegression(dimension=3, examples=6),
    "gaussian, pool": LinearRegression(dimension=3, examples=6, prior=POOL),
    "uniform": LinearRegression(dimension=3, examples=6, inputs="uniform", noise=0.1),
    "correlated": LinearRegression(
        dimension=3,
        examples=6,
        covariance=MATRIX,
        weight_mean=np.array([1.0, 0.0, -2.0], np.float32),
        weight_scale=np.array([0.5, 1.0, 2.0], np.float32),
    ),
    "noiseless": LinearRegression(dimension=3, examples=6, noise=0.0),
    "noiseless, pool": LinearRegression(dimension=3, examples=6, noise=0.0, prior=POOL),
    "chain": MarkovChain(states=3, examples=12),
    "chain, pool": MarkovChain(states=3, examples=12, prior=POOL),
    "chain of order 2, pool": MarkovChain(states=2, order=2, examples=12, prior=POOL),
    "doubly stochastic chain": MarkovChain(states=3, examples=12, rows="doubly_stochastic"),
    "unigram chain": MarkovChain(states=3, examples=12, rows="unigram", concentration=0.5),
    "conjunctions": BooleanRules(bits=4, examples=6, noise=0.1, prior_over_rules="by_length"),
    "conjunctions, balanced": BooleanRules(bits=4, examples=6, inputs="balanced", noise=0.1),
    "conjunctions, pool": BooleanRules(bits=4, examples=6, prior=POOL),
    "parities": BooleanRules(bits=5, examples=6, rules="parity", sparsity=3),
    "modular rules": ModularRules(modulus=5, examples=6, noise=0.1),
    "modular rules, pool": ModularRules(modulus=11, examples=6, prior=POOL),
    "labelled items": LabelMapping(classes=16, labels=3, dimension=16, examples=6, burstiness=2, fixed=0.6),
    "one-hot items": LabelMapping(classes=9, labels=3, dimension=9, items="one_hot", examples=6, fixed=0.3, zipf=0.5),
    "repeated sequences": RepeatedSequence(symbols=3, shortest=2, longest=4, examples=8),
    "causal graph": CausalGraph(states=3, examples=8, graph_seed=1),
    "causal graph, pool": CausalGraph(states=3, examples=8, graph_seed=1, prior=POOL),
    "recalled items": Recall(examples=6, symbols=8, conflict=True, latest=0.7),
    "described chains, pool": Described(
        examples=12, prior=Pool(20, seed=3), base=MarkovChain(states=3), error=0.2, dropout=0.3
    ),
    "user-written": Waves(examples=6),
    "user-written, pool": Waves(examples=6, prior=POOL),
}
ALL = pytest.mark.parametrize("name", TASKS)
EXACT = pytest.mark.parametrize("name", [n for n in TASKS if n != "user-written"])
KEY = jax.random.key(7)
BATCH = 2048


@functools.partial(jax.jit, static_argnames="shifted")
def whole_batch(task: Task, key: jax.Array, shifted: bool) -> Prompts:
    return task.sample(key, BATCH, shifted)


def sample(task: Task, key: jax.Array, batch: int = 16, shifted: bool = False) -> Prompts:
    """The first prompts of a batch whose size is always the same, so that few programs are compiled."""
    return jax.tree.map(lambda leaf: leaf[:batch], whole_batch(task, key, shifted))


@jax.jit
def exact(task: Task, prompts: Prompts) -> dict[str, jax.Array]:
    """The exact predictive under the training prior: mean targets, loss, and log probability of the outcomes."""
    predictive = task.posterior_predictive(prompts)
    return {
        "mean": predictive.mean_target(),
        "loss": predictive.loss(prompts.y),
        "log_prob": predictive.log_prob(prompts.y),
        "unit": task.unit(prompts),
    } | ({"variance": predictive.variance} if task.outcomes.linear else {})


def edit(task: Task, prompts: Prompts) -> Prompts:
    """Other inputs from position 4 on and other outcomes from position 3 on; in a stream the inputs that follow."""
    y = prompts.y.at[:, 3:].set(task.outcomes.altered(prompts.y)[:, 3:])
    if task.is_stream:
        return task.with_outcomes(prompts, y)
    return prompts.replace(x=prompts.x.at[:, 4:].set(task.shift_inputs(prompts.x)[:, 4:]), y=y)


def close(first, second, tolerance=1e-5):
    """Trees of equal shapes and types whose values agree."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), first, second)


def test_every_task_of_the_package_has_a_row():
    assert set(tasks.TASKS.values()) <= {type(task) for task in TASKS.values()}


@ALL
def test_same_key_same_batch(name):
    first, again, other = sample(TASKS[name], KEY), sample(TASKS[name], KEY), sample(TASKS[name], jax.random.key(8))
    close(first, again, 0)
    assert not np.allclose(first.x, other.x)
    assert not np.allclose(first.y, other.y)


@ALL
def test_jit_is_eager(name):
    close(TASKS[name].sample(KEY, BATCH), sample(TASKS[name], KEY, BATCH))


@ALL
def test_shapes_and_types(name):
    task = TASKS[name]
    prompts = sample(task, KEY)
    assert prompts.x.shape == (16, task.positions, task.inputs_size)
    assert prompts.y.shape == prompts.scored.shape == (16, task.positions)
    assert prompts.x.dtype == jnp.float32
    assert prompts.y.dtype == (jnp.float32 if task.outcomes.linear else jnp.int32)
    task.check(prompts)
    assert all(leaf.shape[0] == 16 for leaf in jax.tree.leaves(prompts.latent))
    assert np.isfinite(prompts.x).all()
    assert np.isfinite(prompts.y).all()
    assert prompts.scored.all()


@ALL
def test_outcomes_follow_from_the_latent(name):
    task = TASKS[name]
    prompts = sample(task, KEY, BATCH)
    truth = jax.vmap(task.outcome)(prompts.latent, prompts.x)
    likelihood = np.asarray(truth.log_prob(prompts.y))
    inputs = jax.vmap(task.input_log_prob)(prompts.latent, prompts.x, prompts.y)
    np.testing.assert_allclose(task.log_likelihood(prompts.latent, prompts), inputs + likelihood, rtol=1e-5, atol=1e-5)
    residual = np.asarray(task.outcomes.targets(prompts.y) - truth.mean_target())
    variance = truth.variance[..., None] if task.outcomes.linear else truth.mean_target() * (1 - truth.mean_target())
    if np.all(variance < 1e-12):
        np.testing.assert_allclose(residual, 0, atol=1e-5)
        return
    standard = residual / np.sqrt(variance)
    for target in range(task.outcomes.size):
        known = np.asarray(variance[..., target] > 1e-12)
        part = standard[..., target]
        error = 1 / np.sqrt(known.sum())
        assert abs(part[known].mean()) < 4 * error
        assert abs((part[known] ** 2).mean() - 1) < 4.5 * error * (part[known] ** 2).std()
        # Noise is independent of inputs and of outcomes' means: a key used twice would show here.
        for other in (prompts.x[..., 0], truth.mean_target()[..., target], np.roll(part, 1, axis=1)):
            assert abs(np.corrcoef(part[known], np.asarray(other)[known])[0, 1]) < 4.5 * error


@pytest.mark.parametrize("name", [n for n in TASKS if not (TASKS[n].is_stream or "balanced" in n or "items" in n)])
def test_inputs_and_latents_are_independent(name):
    """Unless they are evidence; then `input_log_prob` says so, and the exact learner's calibration below tests it."""
    task = TASKS[name]
    prompts = sample(task, KEY, BATCH)
    latents = np.concatenate([np.reshape(leaf, (BATCH, -1)) for leaf in jax.tree.leaves(prompts.latent)], axis=1)
    inputs = np.reshape(prompts.x, (BATCH, -1))
    correlation = np.corrcoef(np.concatenate([latents, inputs], axis=1).T)[: latents.shape[1], latents.shape[1] :]
    assert np.abs(correlation).max() < 5 / np.sqrt(BATCH)
    assert not jax.vmap(task.input_log_prob)(prompts.latent, prompts.x, prompts.y).any()


@ALL
def test_shifted_prompts_have_shifted_latents_and_inputs(name):
    task = TASKS[name]
    plain, shifted = sample(task, KEY), sample(task, KEY, shifted=True)
    close(jax.vmap(task.shift_latent)(plain.latent), shifted.latent)
    if not task.is_stream and "balanced" not in name:
        close(jax.vmap(task.shift_inputs)(plain.x), shifted.x)
    assert not np.allclose(plain.x, shifted.x)


@pytest.mark.parametrize("name", [n for n in TASKS if TASKS[n].is_stream])
def test_streams_feed_themselves(name):
    task, prompts = TASKS[name], sample(TASKS[name], KEY)
    close(prompts.x[:, 1:], task.feed(prompts.y[:, :-1]), 0)
    edited = task.with_outcomes(prompts, task.outcomes.altered(prompts.y))
    close(edited.x[:, 1:], task.feed(edited.y[:, :-1]), 0)
    close(edited.x[:, 0], prompts.x[:, 0], 0)


@pytest.mark.parametrize("name", [n for n in TASKS if "pool" in n])
def test_pools_are_nested(name):
    task = TASKS[name].replace(prior=Pool(3, seed=3))
    few = jax.tree.leaves(sample(task, KEY, 256).latent)
    members = jax.tree.leaves(jax.vmap(TASKS[name].pool_latent)(jnp.arange(POOL.size)))
    for drawn, all_members in zip(few, members, strict=True):
        same = np.isclose(drawn[:, None], all_members[None], rtol=1e-6).reshape(256, POOL.size, -1).all(-1)
        assert same[:, :3].any(1).all()
        assert (same[:, :3].mean(0) > 0.2).all()


# A task all of whose fields are structure has nothing to sweep.
SWEPT = [n for n in TASKS if n != "user-written" and jax.tree.leaves(TASKS[n])]


@pytest.mark.parametrize("name", SWEPT)
def test_sizes_and_noise_are_data(name):
    """A sweep over noise and pool sizes is one program, and an axis of tasks gives what a loop over them does."""
    traces = []

    @jax.jit
    def predict(task: Task, prompts: Prompts) -> jax.Array:
        traces.append(None)
        return task.posterior_predictive(prompts).mean_target()

    task, prompts = TASKS[name], sample(TASKS[name], KEY)
    pools = [Pool(size, seed=3) for size in (5, 64, 129)] if isinstance(task.prior, Pool) else [task.prior] * 3
    fields = [name for name in ("noise", "concentration", "fixed", "latest") if hasattr(task, name)]
    assert fields or isinstance(task.prior, Pool)  # else three equal tasks would be compared
    values = (0.1, 0.2, 0.4)
    sweep = [
        task.replace(**dict.fromkeys(fields, value), prior=prior) for value, prior in zip(values, pools, strict=True)
    ]
    single = np.stack([predict(each, prompts) for each in sweep])
    predict(sweep[0], prompts)
    assert len(traces) == 1
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *sweep)
    close(jax.jit(jax.vmap(predict, (0, None)))(stacked, prompts), single, 1e-4)
    drawn = jax.vmap(whole_batch, (0, None, None))(stacked, KEY, False)
    looped = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(sample(each, KEY, BATCH) for each in sweep))
    close(drawn, looped)


@EXACT
def test_the_exact_learner_is_blind_to_what_comes_later(name):
    task, prompts = TASKS[name], sample(TASKS[name], KEY, 3)
    some = sample(task, KEY, BATCH)
    real = task.outcomes.linear

    def answer(x: jax.Array, y: jax.Array) -> jax.Array:
        single = jax.tree.map(lambda leaf: leaf[:1], prompts).replace(x=x[None], y=y[None])
        return task.posterior_predictive(single).mean_target()[0]

    derivatives = jax.jit(jax.vmap(jax.jacfwd(answer, (0, 1) if real else (0,))))(prompts.x, prompts.y)
    later = np.triu(np.ones((task.positions, task.positions), bool), 1)
    for value, excluded in zip(derivatives, (later, later | np.eye(task.positions, dtype=bool)), strict=False):
        np.testing.assert_array_equal(np.moveaxis(np.asarray(value), 2, -1)[:, excluded], 0)
    before, after = exact(task, some), exact(task, edit(task, some))
    close(before["mean"][:, :4], after["mean"][:, :4])
    assert not np.allclose(before["mean"][:, 4:], after["mean"][:, 4:])


@EXACT
def test_the_exact_learner_is_finite_everywhere(name):
    for shifted in (False, True):
        found = exact(TASKS[name], sample(TASKS[name], KEY, BATCH, shifted))
        assert all(np.isfinite(value).all() for value in found.values())
        assert all(value.dtype == jnp.float32 for value in found.values())
        assert (np.asarray(found.get("variance", 0.0)) >= 0).all()
        assert (np.asarray(found["unit"]) > 0).all()


@pytest.mark.parametrize("name", [n for n in TASKS if not TASKS[n].outcomes.linear])
def test_exact_probabilities_are_calibrated_and_unbeaten(name):
    """Each class comes as often as said, at any position, and no flattening or sharpening gains likelihood."""
    task, prompts = TASKS[name], sample(TASKS[name], KEY, BATCH)
    found = {key: np.asarray(value, float) for key, value in exact(task, prompts).items()}
    share = found["mean"]
    residual = np.asarray(task.outcomes.targets(prompts.y)) - share
    for weight in (1.0, share, np.asarray(prompts.x[..., :1])):
        excess = (residual * weight).reshape(BATCH, -1)
        assert (np.abs(excess.mean(0)) <= 4.5 * excess.std(0) / np.sqrt(BATCH) + 1e-6).all()
    truth = jax.vmap(task.outcome)(prompts.latent, prompts.x)
    for power in (0.8, 1.2):
        other = np.maximum(share, 1e-12) ** power
        other = np.take_along_axis(other / other.sum(-1, keepdims=True), np.asarray(prompts.y)[..., None], -1)[..., 0]
        gain = found["loss"] + np.log(other)
        assert (gain.mean(0) <= 4 * gain.std(0) / np.sqrt(BATCH) + 1e-6).all()
    oracle = found["loss"] - np.asarray(truth.loss(prompts.y))  # who knows the latent is better still
    assert (oracle.mean(0) >= -4 * oracle.std(0) / np.sqrt(BATCH) - 1e-6).all()
    assert oracle.mean() > 0.01


REAL = [n for n in TASKS if TASKS[n].outcomes.linear and n != "user-written" and "noiseless" not in n]


@pytest.mark.parametrize("name", REAL)
def test_the_exact_learner_is_calibrated_and_unbeaten(name):
    """Its variance is that of its errors, and no change of its mean or variance gains likelihood, at any position."""
    prompts = sample(TASKS[name], KEY, BATCH)
    found = {key: np.asarray(value, float) for key, value in exact(TASKS[name], prompts).items()}
    squared, mean = found["loss"], found["mean"][..., 0]
    ratio = squared / found["variance"]
    assert (np.abs(ratio.mean(0) - 1) < 4.5 * ratio.std(0) / np.sqrt(BATCH)).all()
    for factor in (0.9, 1.1):
        other = (np.asarray(prompts.y, float) - factor * mean) ** 2
        gain = squared - other
        assert (gain.mean(0) < 4 * gain.std(0) / np.sqrt(BATCH) + 1e-12).all()
    if isinstance(TASKS[name].prior, Pool):
        variance = found["variance"]
        projected = -0.5 * (squared / variance + np.log(2 * np.pi * variance))
        gain = projected - found["log_prob"]  # the mixture is never worse than its Gaussian projection
        assert (gain.mean(0) < 4 * gain.std(0) / np.sqrt(BATCH) + 1e-12).all()


@pytest.mark.parametrize("name", ["gaussian, pool", "user-written, pool", "chain, pool", "conjunctions"])
def test_evidence_is_the_product_of_predictives(name):
    prompts = sample(TASKS[name], KEY, 32)
    found = jax.jit(pool_posterior)(TASKS[name], prompts)
    np.testing.assert_allclose(np.diff(found.log_evidence, axis=1), found.log_predictive[:, :-1], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.log_evidence[:, 0], 0, atol=1e-5)


def test_a_task_without_a_closed_form_says_so():
    prompts = sample(TASKS["user-written"], KEY)
    assert TASKS["user-written"].posterior_predictive(prompts) is None
    assert (np.asarray(TASKS["user-written"].unit(prompts)) > 0).all()
