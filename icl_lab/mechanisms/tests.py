"""Measurements inside a network that the signatures of hypotheses look at: numbers, never a verdict.

All of them patch from independent prompts, with other inputs and other labels: what then comes out is the answer to no
prompt at all, so that a prediction of it is one about the circuit and not about behaviour. `explained` is the share of
the change that is foreseen. Statistics that make no sense for a learner are NaN.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.learners.kernels import squared_distances
from icl_lab.learners.recurrent import RecurrentLearner
from icl_lab.learners.reference import has_pool, has_population_predictive, has_real_outcomes, is_stream
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.mechanisms.descent import descent, explained, one_bare_head, rolled, weights
from icl_lab.mechanisms.fast_weights import fast_weights, has_fast_weights
from icl_lab.models import capture
from icl_lab.probes.behaviour.interpolation import can_interpolate
from icl_lab.probes.inside.attention_kernels import attention_kernels
from icl_lab.probes.inside.attention_latents import carriers
from icl_lab.probes.inside.interventions import ALL, asked, worlds
from icl_lab.probes.inside.patching import every_place, patched_answers
from icl_lab.probes.inside.prompt_pairs import prompts_of
from icl_lab.probes.inside.readout import linear_predictions, thirds
from icl_lab.probes.inside.sufficient_statistics import pool_weights
from icl_lab.tasks import Pool, Task

PROMPTS = 192
DRAWN = 8 * PROMPTS  # prompts of which the least certain are taken
LARGEST_POOL = 256  # members whose posterior is held at once
MOST = 1.1  # times an average of labels: an answer that is more is no average
Statistics = dict[str, Float[Array, ""]]
Network = TransformerLearner | RecurrentLearner


def heads(learner: TransformerLearner, task: Task, key: Array) -> Statistics:
    """What single heads look at, and what follows when they look elsewhere.

    Let a_j be a head's attention from the query to the token that holds label t_j, and ŷ the mean target answered.
    A head's attention at the query is replaced by another prompt's, a'.

    Statistics, each pair of one head, the one whose smaller number is largest: `kernel`, R² of the head's scores as a
    linear function of φ·φ' or −|φ − φ'|² (0 if attention falls with similarity; where attention may be negative, if
    the answer does: keys and values of both signs turned are the same head), and `averaged`, how much of the change is
    foreseen by ŷ = g(Σ_j a'_j t_j), where the affine map g (`_alike`) is fitted to the answers of unaltered prompts;
    of softmax attention 0 where g turns averages around or makes more of them than they are. `copied mass`, the mean
    share |a_j|/Σ|a| of the latest of the nearest examples (so of the most recent match), and `copied label`, how much
    is foreseen by ŷ = t_j' with j' the place of that example in the other prompt.
    """
    prompts = task.sample(key, PROMPTS)
    config, format, outcomes = learner.model.config, learner.format, task.outcomes
    tokens, last = format.tokens(prompts.positions), prompts.positions - 1
    query = asked(format, prompts.positions, -1)[0].start
    layer, head, _ = every_place(learner, "pattern", 1)
    which = worlds(config, "pattern", tokens, layer, head, np.full_like(layer, query))
    natural = patched_answers(learner, jax.tree.map(rolled, prompts), prompts, which, "pattern")[:, :, 0]
    after = outcomes.from_natural(natural).mean_target()  # [head of any layer, prompt, target]
    before = learner(prompts).mean_target()[:, -1]

    holds = carriers(format, prompts.positions).outcomes[:last]
    names = [f"{index}.pattern" for index in range(config.applications)]
    _, found = capture(learner.model, learner.params, format.encode(prompts, outcomes), names)
    rows = jnp.stack([found[name][:, :, query] for name in names]).swapaxes(1, 2)
    rows = rows.reshape(-1, *rows.shape[2:])
    looks = rows[..., holds]  # [head of any layer, prompt, example]
    labels = outcomes.targets(prompts.y)[:, :last]

    def average(attention: Array) -> Array:
        return jnp.einsum("bj,bjt->bt", attention, labels, precision="highest")

    def says(attention: Array) -> Array:
        """Whether answers rise (1) or fall (−1) with the average of the labels."""
        rise = average(attention) - average(attention).mean(0)
        return jnp.sign(jnp.sum(rise * (before - before.mean(0))))

    signed = jax.vmap(says)(looks) if config.attention == "linear" else jnp.ones(len(looks))
    fits = _to_outcomes(attention_kernels(learner, task, prompts))
    rising = [jnp.where(fit.slope.ravel() * signed > 0, fit.explained.ravel(), 0.0) for fit in fits]
    kernel = jnp.stack(rising).max(0)

    def foreseen(row: Array, patched: Array) -> Array:
        answers, slope = _alike(average(row), before, average(rolled(row)))
        keeps = slope != 0 if config.attention == "linear" else (slope > 0) & (slope <= MOST)
        return jnp.where(keeps, explained(patched, answers, before), 0.0)

    averaged = jax.vmap(foreseen)(looks, after)

    distance = squared_distances(task.features(prompts.x))[:, last, :last]
    nearest = distance <= distance.min(-1, keepdims=True) * (1 + 1e-6)
    place = last - 1 - nearest[:, ::-1].argmax(-1)
    mass = jnp.abs(jnp.take_along_axis(looks, place[None, :, None], axis=-1))[..., 0]
    share = (mass / jnp.maximum(jnp.abs(rows).sum(-1), 1e-12)).mean(-1)
    there = jnp.take_along_axis(labels, rolled(place)[:, None, None], axis=1)[:, 0]
    copied = jax.vmap(lambda patched: explained(patched, there, before))(after)

    chosen = jnp.minimum(kernel, averaged).argmax()
    copier = jnp.minimum(share, copied).argmax()
    return {
        "kernel": kernel[chosen],
        "averaged": averaged[chosen],
        "copied mass": share[copier],
        "copied label": copied[copier],
    }


def _to_outcomes(fits: dict[str, Any]) -> list[Any]:
    return [fit for name, fit in fits.items() if name.endswith("to outcomes")]


def _alike(average: Array, answers: Array, other: Array) -> tuple[Array, Array]:
    """The least-squares map from averages v to answers that treats all classes alike, at other averages; its slope s.

    v ↦ c + s·v + u·(Σv)·1, with c of every class: what a pseudo-count or a token that holds the prior adds is u and c.
    """
    middle, target = average.mean(0), answers.mean(0)

    def regressors(values: Array) -> Array:
        x = values - middle
        both = [x] if x.shape[-1] == 1 else [x, jnp.broadcast_to(x.mean(-1, keepdims=True), x.shape)]
        return jnp.stack(both, axis=-1)

    x = regressors(average)
    normal = jnp.einsum("btr,bts->rs", x, x, precision="highest")
    normal = normal + (1e-6 * jnp.trace(normal) + 1e-12) * jnp.eye(len(normal))
    slopes = jnp.linalg.solve(normal, jnp.einsum("btr,bt->r", x, answers - target, precision="highest"))
    return target + jnp.matmul(regressors(other), slopes, precision="highest"), slopes[0]


def attended(learner: TransformerLearner, prompts: Prompts) -> dict[str, Float[Array, "layer prompt channel"]]:
    """{"pattern", "z"} of all heads of a layer together, at the token that answers the last position."""
    format, layers = learner.format, range(learner.model.config.applications)
    query = asked(format, prompts.positions, -1)[0].start
    names = {site: [f"{layer}.{site}" for layer in layers] for site in ("pattern", "z")}
    inputs = format.encode(prompts, learner.outcomes)
    _, found = capture(learner.model, learner.params, inputs, [*names["pattern"], *names["z"]])
    count = prompts.y.shape[0]
    return {
        site: jnp.stack([found[name][:, :, query].reshape(count, -1) for name in each]) for site, each in names.items()
    }


def readable_and_moving(
    learner: TransformerLearner,
    prompts: Prompts,
    statistic: Float[Array, "prompt statistic"],
    predicted: Float[Array, "prompt target"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The place that holds a statistic of the prompt: how well it is read there, how well a patch of it is foreseen.

    Places are pattern and z of every layer, at the query. Read: held-out R² of a ridge read-out, minus that (if it is
    positive) of the statistics of other prompts. Moved: share of the change foreseen when that place comes from
    another prompt. Of all places, the one whose smaller number is largest.

    Args:
        predicted: mean targets answered to each prompt's query, given the statistic of the next prompt of the batch.
    """
    config, tokens = learner.model.config, learner.format.tokens(prompts.positions)
    query = asked(learner.format, prompts.positions, -1)[0].start
    before = learner(prompts).mean_target()[:, -1]
    spread = statistic.std(0) + 1e-6 * statistic.std() + 1e-12
    wanted = (statistic - statistic.mean(0)) / spread
    both = jnp.concatenate([wanted, rolled(rolled(wanted))], axis=-1)
    score = thirds(len(both))[2]
    read, moved = [], []
    for site, features in attended(learner, prompts).items():
        error = jnp.square(linear_predictions(features, both)[:, score] - both[score]).sum(1)
        share = 1 - error.reshape(len(error), 2, -1).sum(-1) / jnp.square(wanted[score] - wanted.mean(0)).sum()
        read.append(share[:, 0] - jnp.maximum(share[:, 1], 0.0))
        which = worlds(config, site, tokens, np.arange(config.applications), np.array(ALL), np.array(query))
        natural = patched_answers(learner, jax.tree.map(rolled, prompts), prompts, which, site)[:, :, 0]
        after = learner.outcomes.from_natural(natural).mean_target()
        moved.append(jax.vmap(lambda patched: explained(patched, predicted, before))(after))
    read, moved = jnp.concatenate(read), jnp.concatenate(moved)
    chosen = jnp.minimum(read, moved).argmax()
    return read[chosen], moved[chosen]


def pool(learner: TransformerLearner, task: Task, key: Array, members: int) -> Statistics:
    """Where the posterior over the pool is, or its mode, on prompts that leave it open.

    Prompts come from latents halfway between two members; of `DRAWN` those with the least certain posterior are taken,
    where mean and mode differ. Statistics (`readable_and_moving`): `posterior`, `posterior moves`: of the posterior
    mean Σ_m p_m θ_m, after which the answer is foreseen to be Σ_m p'_m E[t | θ_m, x_q] with the other prompt's p';
    `retrieved`, `retrieved moves`: the same of the most probable member alone.
    """
    pair_key, prompt_key = jax.random.split(key)
    pairs = jax.random.randint(pair_key, (2, DRAWN), 0, members)
    latents = jax.vmap(task.pool_latent)(jnp.arange(members))
    first, second = (jax.tree.map(lambda leaf, p=each: leaf[p], latents) for each in pairs)
    between = jax.vmap(lambda a, b: task.interpolate(a, b, 0.5))(first, second)
    drawn = prompts_of(task, between, prompt_key, 1)
    certain = pool_weights(task, drawn, members)
    least = jnp.argsort(certain.max(-1))[:PROMPTS]
    # In their first order: sorted by certainty, source and target would be alike.
    least = jnp.sort(least)
    prompts = jax.tree.map(lambda leaf: leaf[least], drawn)
    posterior = certain[least]
    mode = jax.nn.one_hot(posterior.argmax(-1), members)

    def told(latent: Any) -> Array:
        return jax.vmap(lambda x: task.outcome(latent, x).mean_target()[-1])(prompts.x)

    answers = jax.vmap(told)(latents)  # [member, prompt, target]
    stored = jnp.concatenate([leaf.reshape(members, -1) for leaf in jax.tree.leaves(latents)], axis=-1)
    found = {}
    for name, shares in (("posterior", posterior), ("retrieved", mode)):
        predicted = jnp.einsum("bm,mbt->bt", rolled(shares), answers, precision="highest")
        statistic = jnp.matmul(shares, stored, precision="highest")
        found[name], found[f"{name} moves"] = readable_and_moving(learner, prompts, statistic, predicted)
    return found


def counts(learner: TransformerLearner, task: Task, key: Array) -> Statistics:
    """Where the posterior predictive of a stream's counts is: `predictive` and `predictive moves`.

    The statistic is the exact predictive under the population, and with another prompt's value of it the answer is
    foreseen to be that one's predictive (`readable_and_moving`).
    """
    prompts = task.sample(key, PROMPTS)
    predictive = task.population_predictive(prompts)
    assert predictive is not None
    share = predictive.mean_target()[:, -1]
    found = readable_and_moving(learner, prompts, share, rolled(share))
    return dict(zip(("predictive", "predictive moves"), found, strict=True))


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One row of the table.

    Attributes:
        applies: (learner, task) → whether it makes sense; of other learners than `of` it does not.
        measure: (learner, task, key, **settings) → statistics; pure and jittable.
        settings: task → arguments that fix shapes.
        told: statistics of a learner that its control is measured at: they come as one more argument, `told`.
        of: the class of learners.
    """

    applies: Callable[[Any, Task], bool]
    measure: Callable[..., Statistics]
    settings: Callable[[Task], dict[str, int]] = lambda task: {}
    told: tuple[str, ...] = ()
    of: type = TransformerLearner

    def __call__(
        self, learner: Network, task: Task, key: Array, found: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Statistics as numbers, at full float32 precision, compiled.

        Args:
            found: what the measurement gave of the learner whose control this is.
        """
        settings = tuple(self.settings(task).items())
        told = {name: jnp.float32(found[name] if found else 0) for name in self.told}
        values = jax.device_get(_measured(self.measure, settings, learner, task, key, told))
        return {name: float(value) for name, value in values.items()}


@exact(effort="once", static=("measure", "settings"))
def _measured(
    measure: Callable, settings: tuple, learner: Network, task: Task, key: Array, told: dict[str, Array]
) -> Statistics:
    return measure(learner, task, key, **dict(settings), **({"told": told} if told else {}))


def members(task: Task) -> int:
    """Size of the pool, 0 without one."""
    return int(task.prior.size) if isinstance(task.prior, Pool) else 0


MEASUREMENTS: dict[str, Measurement] = {
    "weights": Measurement(
        lambda learner, task: has_real_outcomes(task) and not task.is_stream and one_bare_head(learner, task), weights
    ),
    "descent": Measurement(
        lambda learner, task: has_real_outcomes(task) and not task.is_stream,
        descent,
        told=("steps", "steps from zero"),
    ),
    "heads": Measurement(lambda learner, task: task.examples > 1, heads),
    "pool": Measurement(
        lambda learner, task: can_interpolate(task) and 1 < members(task) <= LARGEST_POOL,
        pool,
        lambda task: {"members": members(task)},
    ),
    "counts": Measurement(
        lambda learner, task: is_stream(task) and not has_pool(task) and has_population_predictive(task), counts
    ),
    "fast weights": Measurement(
        lambda learner, task: has_real_outcomes(task) and not task.is_stream and has_fast_weights(learner, task),
        fast_weights,
        of=RecurrentLearner,
    ),
}
