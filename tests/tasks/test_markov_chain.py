"""Markov chains: drawing them, the exact predictive against quadrature and evidence ratios, published losses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from icl_lab.core.prompts import Prompts
from icl_lab.learners.counts import context_counts, suffix_counts
from icl_lab.learners.decoys import label_mean, uniform
from icl_lab.learners.reference import has_population_predictive
from icl_lab.tasks import MarkovChain, Pool, Task, pool_posterior

KINDS = ("dirichlet", "doubly_stochastic", "unigram")
EVERY = [(order, rows) for order in (1, 2, 3) for rows in KINDS]


@functools.partial(jax.jit, static_argnames="batch")
def sample(task, batch):
    return task.sample(jax.random.key(0), batch)


@functools.partial(jax.jit, static_argnames="count")
def latents(task, count):
    return jax.vmap(task.draw_latent)(jax.random.split(jax.random.key(1), count))


@jax.jit
def closed_form(task, prompts):
    return jnp.exp(task.population_predictive(prompts).log_probs)


def random_task(states, order, rows):
    """A chain of random length and concentration, the same each time."""
    rng = np.random.default_rng(100 * states + 10 * order + KINDS.index(rows))
    concentration = float(rng.uniform(0.3, 2.0))
    examples = int(rng.integers(8, 16))
    return MarkovChain(states=states, order=order, rows=rows, concentration=concentration, examples=examples)


def made(task, batch=6):
    """Chains drawn by numpy, sticky ones so that contexts come again: nothing to compile."""
    rng = np.random.default_rng(task.examples)
    chain = rng.integers(0, task.states, (batch, task.positions + 1))
    for i in range(1, task.positions + 1):
        chain[:, i] = np.where(rng.random(batch) < 0.5, chain[:, i - 1], chain[:, i])
    x, y = np.eye(task.states, dtype=np.float32)[chain[:, :-1]], chain[:, 1:].astype(np.int32)
    return Prompts(jnp.asarray(x), jnp.asarray(y), None, scored=jnp.ones(y.shape, bool)), chain


def steps(task, chain):
    """(row, column) of each state after the first: which free distribution it was drawn from, and which entry of it.

    None while fewer than `order` states are known. Rows of a circulant chain are known by all but the last state, and
    their entries by the step taken; a unigram chain has one row.
    """
    found = []
    for i in range(1, len(chain)):
        context, following = tuple(chain[max(0, i - task.order) : i]), chain[i]
        if len(context) < task.order:
            found.append(None)
        elif task.rows == "doubly_stochastic":
            found.append((context[:-1], (following - context[-1]) % task.states))
        else:
            found.append(((), following) if task.rows == "unigram" else (context, following))
    return found


def loop(task, chain, predictive):
    """predictive(earlier steps, step) for every state that might come, at every position of every chain."""
    table = np.zeros((len(chain), task.positions, task.states))
    for b, i, state in np.ndindex(table.shape):
        seen = steps(task, [*chain[b, : i + 1], state])
        earlier = [step for step in seen[:-1] if step is not None]
        table[b, i, state] = 1 / task.states if seen[-1] is None else predictive(earlier, seen[-1])
    return table


@pytest.mark.parametrize(("order", "rows"), EVERY)
def test_two_states_against_quadrature(order, rows):
    """∫ w_step Π w_earlier dBeta(w) / ∫ Π w_earlier dBeta(w) by Gauss–Jacobi, over the row that the step is from."""
    task = random_task(2, order, rows)
    alpha = task.concentration
    node, mass = special.roots_jacobi(40, alpha - 1, alpha - 1)
    weight = np.stack([(1 + node) / 2, (1 - node) / 2])

    def predictive(earlier, step):
        likelihood = mass * np.prod([weight[column] for row, column in earlier if row == step[0]], axis=0)
        return (likelihood * weight[step[1]]).sum() / likelihood.sum()

    prompts, chain = made(task)
    np.testing.assert_allclose(closed_form(task, prompts), loop(task, chain, predictive), atol=1e-5)


@pytest.mark.parametrize(("order", "rows"), EVERY)
def test_three_states_against_ratios_of_evidence(order, rows):
    """p(s | past) = p(past, s)/p(past), each Π_rows Γ(kα)/Γ(n + kα) Π_c Γ(C_c + α)/Γ(α)."""
    task = random_task(3, order, rows)
    alpha = task.concentration

    def log_evidence(seen):
        total = 0.0
        for row in {row for row, _ in seen}:
            counts = np.bincount([column for other, column in seen if other == row], minlength=3)
            total += special.gammaln(3 * alpha) - special.gammaln(counts.sum() + 3 * alpha)
            total += (special.gammaln(counts + alpha) - special.gammaln(alpha)).sum()
        return total

    prompts, chain = made(task)
    exact = loop(task, chain, lambda earlier, step: np.exp(log_evidence([*earlier, step]) - log_evidence(earlier)))
    np.testing.assert_allclose(exact.sum(-1), 1, rtol=1e-9)
    np.testing.assert_allclose(closed_form(task, prompts), exact, atol=1e-5)


@pytest.mark.parametrize(
    ("order", "rows", "size", "initial"),
    [(1, "dirichlet", 130, "uniform"), (3, "doubly_stochastic", 5, "uniform"), (1, "dirichlet", 20, "stationary")],
)
def test_the_pool_posterior_against_all_members(order, rows, size, initial):
    """A stationary first state is evidence about the chain."""
    task = random_task(3, order, rows).replace(prior=Pool(size, seed=2), initial=initial)
    prompts, chain = made(task)
    members = np.asarray(jax.vmap(lambda m: task.draw_latent(task.prior.key(m)))(jnp.arange(size)), float)
    exact = np.zeros((*chain[:, 1:].shape, 3))
    for b in range(len(chain)):
        weight = stationary(members)[:, chain[b, 0]] if initial == "stationary" else np.ones(size)
        for i in range(task.positions):
            row = np.ravel_multi_index(chain[b, i - order + 1 : i + 1], (3,) * order) if i >= order - 1 else None
            following = np.full((size, 3), 1 / 3) if row is None else members[:, row]
            exact[b, i] = weight @ following / weight.sum()
            weight = weight * following[:, chain[b, i + 1]]
    found = jax.jit(pool_posterior)(task, prompts).predictive
    np.testing.assert_allclose(np.exp(found.log_probs), exact, atol=1e-5)


@pytest.mark.parametrize(("order", "rows"), EVERY)
def test_the_walk_along_the_chain_draws_what_the_generic_passes_draw(order, rows):
    task, rng = MarkovChain(states=3, order=order, rows=rows, examples=9), np.random.default_rng(order)
    weight = rng.dirichlet(np.ones(3), (32, task.contexts))
    if rows == "unigram":
        weight[:] = weight[:, :1]
    elif rows == "doubly_stochastic":
        weight = weight[:, :: task.states, (np.arange(3) - np.arange(3)[:, None]) % 3].reshape(weight.shape)
    x = np.zeros((32, task.positions, 3), np.float32)
    x[:, 0] = np.eye(3)[rng.integers(0, 3, 32)]

    @jax.jit
    @jax.vmap
    def both(latent, x, key):
        return task.draw_pairs(latent, x, key), Task.draw_pairs(task, latent, x, key)

    (x, y), (slow_x, slow_y) = both(weight.astype(np.float32), x, jax.random.split(jax.random.key(3), 32))
    np.testing.assert_array_equal(x, slow_x)
    np.testing.assert_array_equal(y, slow_y)
    assert y.dtype == slow_y.dtype == jnp.int32
    np.testing.assert_array_equal(x[:, 1:], task.feed(y[:, :-1]))
    np.testing.assert_array_equal(x.sum(-1), 1)
    assert len(np.unique(x[:, 0], axis=0)) == len(np.unique(y)) == 3


def test_transitions_have_the_frequencies_of_the_latent():
    """Of 2000 chains from one P; it is asymmetric, so that contexts read backwards would show."""
    order = 3
    task = MarkovChain(states=2, order=order, examples=30, prior=Pool(1, seed=4))
    prompts = sample(task, 2000)
    latent, chain = np.asarray(prompts.latent[0]), np.concatenate([prompts.x[:, :1].argmax(-1), prompts.y], axis=1)
    assert np.abs(prompts.x[:, 0].mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(2000)
    count = np.zeros_like(latent)
    for i in range(order, chain.shape[1]):
        np.add.at(count, (np.ravel_multi_index(chain[:, i - order : i].T, (2,) * order), chain[:, i]), 1)
    visits = count.sum(1, keepdims=True)
    assert (np.abs(count / visits - latent) < 5 * np.sqrt(latent * (1 - latent) / visits) + 1e-9).all()
    before = chain[:, 1:order]
    assert np.abs(before.mean(0) - 0.5).max(initial=0) < 5 * 0.5 / np.sqrt(2000)


@pytest.mark.parametrize("concentration", [0.5, 3.0])
def test_rows_are_independent_and_dirichlet(concentration):
    drawn = np.asarray(latents(MarkovChain(states=3, order=2, concentration=concentration), 8192))
    assert drawn.shape == (8192, 9, 3)
    np.testing.assert_allclose(drawn.sum(-1), 1, rtol=1e-5)
    exact = stats.dirichlet([concentration] * 3)
    np.testing.assert_allclose(drawn.mean(0), np.tile(exact.mean(), (9, 1)), atol=0.02)
    covariance = np.cov(drawn.reshape(8192, 27).T)
    expected = np.kron(np.eye(9), exact.cov())  # nothing between rows
    np.testing.assert_allclose(covariance, expected, atol=0.01)
    fourth = np.mean(drawn**4)  # beyond moments of second order
    beta = stats.beta(concentration, 2 * concentration)
    assert fourth == pytest.approx(beta.moment(4), rel=0.03)


@pytest.mark.parametrize(("states", "order"), [(4, 1), (3, 2)])
def test_rows_and_columns_of_doubly_stochastic_chains_sum_to_one(states, order):
    drawn = np.asarray(latents(MarkovChain(states=states, order=order, rows="doubly_stochastic"), 512))
    blocks = drawn.reshape(512, -1, states, states)  # given all but the most recent state
    np.testing.assert_allclose(blocks.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(blocks.sum(-2), 1, rtol=1e-5)
    np.testing.assert_array_equal(np.roll(blocks, (1, 1), (-2, -1)), blocks)  # circulant
    assert blocks[:, :, 0].std() > 0.1
    if blocks.shape[1] > 1:
        assert np.abs(np.corrcoef(blocks[:, 0, 0, 0], blocks[:, 1, 0, 0])[0, 1]) < 5 / np.sqrt(512)


def test_rows_of_unigram_chains_are_the_same():
    drawn = np.asarray(latents(MarkovChain(states=3, order=2, rows="unigram"), 512))
    np.testing.assert_array_equal(drawn, np.broadcast_to(drawn[:, :1], (512, 9, 3)))
    np.testing.assert_allclose(drawn[:, 0].std(0), np.sqrt(2 / 36), rtol=0.1)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_features_are_one_hot_contexts(order):
    task = MarkovChain(states=3, order=order, examples=9)
    prompts, chain = made(task)
    phi = np.asarray(task.features(prompts.x))
    assert phi.shape == (*chain[:, 1:].shape, 3**order)
    np.testing.assert_array_equal(phi[:, : order - 1], 0)
    number = sum(chain[:, order - 1 - back : -1 - back] * 3**back for back in range(order))
    np.testing.assert_array_equal(phi[:, order - 1 :], np.eye(3**order)[number])


def test_shifted_latents_are_squared_rows():
    task = MarkovChain(states=3)
    found = task.shift_latent(jnp.array([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(found, [[2 / 3, 1 / 6, 1 / 6], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0]], atol=1e-6)


def stationary(rows):
    """π with πP = π, of matrices [..., k, k], by squaring P."""
    for _ in range(20):
        rows = rows @ rows
        rows = rows / rows.sum(-1, keepdims=True)
    return rows.mean(-2)


def entropy_rate(rows):
    """Σ_s π_s H(P_s) in nats."""
    return (stationary(rows) * special.entr(np.asarray(rows, float)).sum(-1)).sum(-1)


def mean_entropy_rate(states):
    """E[Σ_s π_s H(P_s)] over P with Dirichlet(1) rows: an integral for two states, 2^16 Sobol points for three.

    With p, q the chances to leave two states it is 2 E[q/(p + q) H(p)], E over q in closed form.
    """
    if states == 2:
        return integrate.quad(lambda p: 2 * stats.bernoulli(p).entropy() * (1 - p * np.log1p(1 / p)), 0, 1)[0]
    first, second = stats.qmc.Sobol(6, seed=0).random_base2(16).reshape(-1, 3, 2).transpose(2, 0, 1)
    rows = np.stack([1 - np.sqrt(first), np.sqrt(first) * second, np.sqrt(first) * (1 - second)], axis=-1)
    return entropy_rate(rows).mean()


@jax.jit
def losses(task, prompts):
    """Mean loss of each chain. Unigram counts include the first state, the outcome of a pair put before the others."""
    before = prompts.x[:, :1].argmax(-1).astype(prompts.y.dtype)
    longer = prompts.replace(
        x=jnp.pad(prompts.x, ((0, 0), (1, 0), (0, 0))), y=jnp.concatenate([before, prompts.y], axis=1)
    )
    return {
        "uniform": uniform(task, prompts).loss(prompts.y).mean(1),
        "unigram": label_mean(task, longer, task.states).loss(longer.y)[:, 1:].mean(1),
        "bigram": context_counts(task, prompts, 1.0).loss(prompts.y).mean(1),
    }


@pytest.mark.parametrize(
    ("initial", "states", "published"),
    [
        ("stationary", 2, {"uniform": 0.6931, "unigram": 0.577, "bigram": 0.5105, "rate": 0.4808}),
        ("stationary", 3, {"uniform": 1.0986, "unigram": 1.005, "bigram": 0.886, "rate": 0.8188}),
        ("uniform", 2, {"uniform": 0.6931, "unigram": 0.5822, "bigram": 0.5112, "rate": 0.4808}),
    ],
)
def test_published_losses_over_a_hundred_states(initial, states, published):
    """Edelman et al. 2024, whose chains are stationary: a hundred predictions, counts with one pseudo-count a state.

    From a uniform start counting states is worse by .005 and the rest hardly changes.
    Simulated is only what a learner loses to the chain's own entropy rate, whose mean is exact.
    """
    task = MarkovChain(states=states, examples=99, initial=initial)
    prompts = sample(task, 16384)
    rate = mean_entropy_rate(states)
    assert rate == pytest.approx(published["rate"], abs=3e-4)
    found = losses(task, prompts)
    for name in ("uniform", "unigram", "bigram"):
        excess = found[name] - (0 if name == "uniform" else entropy_rate(np.asarray(prompts.latent, float)) - rate)
        assert float(excess.mean()) == pytest.approx(published[name], abs=2e-3 if name != "uniform" else 1e-4), name
    assert has_population_predictive(task) == (initial == "uniform")


def test_a_stationary_first_state_has_the_frequencies_of_the_latent():
    task = MarkovChain(states=3, examples=5, initial="stationary")
    matrices = latents(task, 3)
    np.testing.assert_allclose(jax.vmap(task.stationary)(matrices), stationary(np.asarray(matrices, float)), atol=1e-5)
    prompts = sample(task, 16384)
    share = np.asarray(jax.vmap(task.stationary)(prompts.latent))
    standard = (np.asarray(prompts.x[:, 0]) - share).sum(0) / np.sqrt((share * (1 - share)).sum(0))
    assert (np.abs(standard) < 4).all()
    with pytest.raises(ValueError, match="initial: 'stationary' is for chains of order 1, not 2"):
        MarkovChain(order=2, initial="stationary").sample(jax.random.key(0), 1)


def test_a_stationary_first_state_counts_in_unigram_chains():
    task = MarkovChain(states=3, examples=9, rows="unigram", concentration=0.7, initial="stationary")
    prompts, chain = made(task)
    counts = np.eye(3)[chain].cumsum(1)[:, :-1] + 0.7
    exact = counts / counts.sum(-1, keepdims=True)
    np.testing.assert_allclose(closed_form(task, prompts), exact, atol=1e-5)


def test_counts_by_suffix_are_counts_by_context():
    task = MarkovChain(states=3, order=2, examples=40, concentration=0.5)
    prompts, _ = made(task)
    by_suffix, by_context = suffix_counts(task, prompts, 2, 0.5), context_counts(task, prompts, 0.5)
    np.testing.assert_allclose(by_suffix.log_probs, by_context.log_probs, atol=1e-5)
    states = suffix_counts(task, prompts, 0, 1.0)
    np.testing.assert_allclose(states.log_probs, label_mean(task, prompts, 3).log_probs, atol=1e-5)
