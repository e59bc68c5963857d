"""Posteriors inside a transformer: where a statistic of the prompt is held, and how answers change with it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.mechanisms.effects import explained, rolled
from icl_lab.models import capture
from icl_lab.probes.inside.interventions import ALL, asked, worlds
from icl_lab.probes.inside.patching import patched_answers
from icl_lab.probes.inside.prompt_pairs import prompts_of
from icl_lab.probes.inside.readout import linear_predictions, thirds
from icl_lab.probes.inside.sufficient_statistics import pool_weights
from icl_lab.tasks import Task

PROMPTS = 192
SAMPLED = 8 * PROMPTS  # prompts sampled, of which those with the least certain posterior are kept


def pool(learner: TransformerLearner, task: Task, key: Array, members: int) -> dict[str, Float[Array, ""]]:
    """Measure the evidence for the posterior over the pool, and for its mode, on prompts that leave it open.

    Each is a pair of `read_and_moved`. `posterior` and `posterior moves` belong to the posterior mean Σ_m p_m θ_m; with
    another prompt's p' the predicted answer is Σ_m p'_m E[t | θ_m, x_q]. `retrieved` and `retrieved moves` are the same
    for the most probable member alone.

    Args:
        learner: the network.
        task: with a pool.
        key: of the prompts.
        members: size of the pool.
    """
    latents = jax.vmap(task.pool_latent)(jnp.arange(members))
    prompts, posterior = uncertain_prompts(task, latents, key, members)
    mode = jax.nn.one_hot(posterior.argmax(-1), members)

    def answered(latent: Any) -> Array:
        return jax.vmap(lambda x: task.outcome(latent, x).mean_target()[-1])(prompts.x)

    answers = jax.vmap(answered)(latents)  # [member, prompt, target]
    stored = jnp.concatenate([leaf.reshape(members, -1) for leaf in jax.tree.leaves(latents)], axis=-1)
    found = {}
    for name, shares in (("posterior", posterior), ("retrieved", mode)):
        predicted = jnp.einsum("bm,mbt->bt", rolled(shares), answers, precision="highest")
        statistic = jnp.matmul(shares, stored, precision="highest")
        found[name], found[f"{name} moves"] = read_and_moved(learner, prompts, statistic, predicted)
    return found


def uncertain_prompts(
    task: Task, latents: Any, key: Array, members: int
) -> tuple[Prompts, Float[Array, "prompt member"]]:
    """Sample prompts of latents halfway between two members, and keep those with the least certain posterior.

    There the posterior mean and its mode differ. Returns the prompts and their posterior over the pool.
    """
    pair_key, prompt_key = jax.random.split(key)
    pairs = jax.random.randint(pair_key, (2, SAMPLED), 0, members)
    first, second = (jax.tree.map(lambda leaf, p=each: leaf[p], latents) for each in pairs)
    between = jax.vmap(lambda a, b: task.interpolate(a, b, 0.5))(first, second)
    sampled = prompts_of(task, between, prompt_key, 1)
    posterior = pool_weights(task, sampled, members)
    # In their first order: sorted by certainty, neighbours, which exchange values, would be alike.
    least = jnp.sort(jnp.argsort(posterior.max(-1))[:PROMPTS])
    return jax.tree.map(lambda leaf: leaf[least], sampled), posterior[least]


def counts(learner: TransformerLearner, task: Task, key: Array) -> dict[str, Float[Array, ""]]:
    """Measure the evidence for the posterior predictive of a stream's counts: `predictive`, `predictive moves`.

    The statistic is the exact predictive under the population. With another prompt's value of it, the predicted answer
    is that prompt's predictive (`read_and_moved`).
    """
    prompts = task.sample(key, PROMPTS)
    predictive = task.population_predictive(prompts)
    assert predictive is not None
    share = predictive.mean_target()[:, -1]
    found = read_and_moved(learner, prompts, share, rolled(share))
    return dict(zip(("predictive", "predictive moves"), found, strict=True))


def read_and_moved(
    learner: TransformerLearner,
    prompts: Prompts,
    statistic: Float[Array, "prompt statistic"],
    predicted: Float[Array, "prompt target"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Find the place that holds a statistic of the prompt, and measure how well it is read there and moves the answer.

    Places are the pattern and z of every layer at the query. Read: held-out R² of a ridge read-out, minus that of other
    prompts' statistics if it is positive. Moved: `explained` share when the place comes from another prompt. The place
    is the one whose smaller number is largest.

    Args:
        learner: the network.
        prompts: on which it answers.
        statistic: of each prompt.
        predicted: mean target answered to each query given the statistic of the next prompt of the batch.
    """
    config, tokens = learner.model.config, learner.format.tokens(prompts.positions)
    query = asked(learner.format, prompts.positions, -1)[0].start
    before = learner(prompts).mean_target()[:, -1]
    read, moved = [], []
    for site, features in attended(learner, prompts).items():
        read.append(decoded(features, statistic))
        which = worlds(config, site, tokens, np.arange(config.applications), np.array(ALL), np.array(query))
        natural = patched_answers(learner, jax.tree.map(rolled, prompts), prompts, which, site)[:, :, 0]
        after = learner.outcomes.from_natural(natural).mean_target()
        moved.append(jax.vmap(lambda patched: explained(patched, predicted, before))(after))
    read, moved = jnp.concatenate(read), jnp.concatenate(moved)
    chosen = jnp.minimum(read, moved).argmax()
    return read[chosen], moved[chosen]


def decoded(
    features: Float[Array, "layer prompt channel"], statistic: Float[Array, "prompt statistic"]
) -> Float[Array, " layer"]:
    """Return the held-out R² of a statistic read off each layer, less that of other prompts' statistics if positive."""
    spread = statistic.std(0) + 1e-6 * statistic.std() + 1e-12
    wanted = (statistic - statistic.mean(0)) / spread
    both = jnp.concatenate([wanted, rolled(rolled(wanted))], axis=-1)
    score = thirds(len(both))[2]
    error = jnp.square(linear_predictions(features, both)[:, score] - both[score]).sum(1)
    share = 1 - error.reshape(len(error), 2, -1).sum(-1) / jnp.square(wanted[score] - wanted.mean(0)).sum()
    return share[:, 0] - jnp.maximum(share[:, 1], 0.0)


def attended(learner: TransformerLearner, prompts: Prompts) -> dict[str, Float[Array, "layer prompt channel"]]:
    """Return {"pattern", "z"} of all heads of a layer together, at the token that answers the last position."""
    format, layers = learner.format, range(learner.model.config.applications)
    query = asked(format, prompts.positions, -1)[0].start
    names = {site: [f"{layer}.{site}" for layer in layers] for site in ("pattern", "z")}
    inputs = format.encode(prompts, learner.outcomes)
    _, found = capture(learner.model, learner.params, inputs, [*names["pattern"], *names["z"]])
    count = prompts.y.shape[0]
    return {
        site: jnp.stack([found[name][:, :, query].reshape(count, -1) for name in each]) for site, each in names.items()
    }
