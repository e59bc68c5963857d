"""Kernel heads and copying heads: what single heads attend to, and how answers change when they attend elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.kernels import squared_distances
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.mechanisms.effects import explained, rolled
from icl_lab.models import capture
from icl_lab.probes.inside.attention_kernels import attention_kernels
from icl_lab.probes.inside.attention_latents import carriers
from icl_lab.probes.inside.interventions import asked, worlds
from icl_lab.probes.inside.patching import every_place, patched_answers
from icl_lab.tasks import Task

PROMPTS = 192
MOST = 1.1  # largest slope of answers over averages of labels at which answers still count as averages


def heads(learner: TransformerLearner, task: Task, key: Array) -> dict[str, Float[Array, ""]]:
    """Measure the evidence for a head that averages labels by similarity, and for a head that copies one label.

    Let a_j be a head's attention from the query to the token that holds label t_j, and ŷ the answered mean target. A
    patch replaces a head's attention at the query by another prompt's, a'. Both numbers of a pair belong to one head,
    the one whose smaller number is largest.

    - `kernel`: R² of the head's scores as a linear function of φ·φ' or −|φ − φ'|². 0 if attention falls with
      similarity. (In linear attention: if answers do, because a head with the signs of keys and values turned is the
      same head.)
    - `averaged`: `explained` share of a patch that ŷ = g(Σ_j a'_j t_j) predicts, with the affine map g (`predicted`)
      fitted to unpatched answers. 0 in softmax attention if g reverses averages or makes more of them than they are.
    - `copied mass`: mean share |a_j|/Σ|a| of the latest of the nearest examples, that is of the most recent match.
    - `copied label`: `explained` share of a patch that ŷ = t_j' predicts, with j' the place of that example in the
      other prompt.
    """
    prompts = task.sample(key, PROMPTS)
    last, linear = prompts.positions - 1, learner.model.config.attention == "linear"
    after = patched_attention(learner, prompts)
    before = learner(prompts).mean_target()[:, -1]
    rows = attention(learner, prompts)
    looks = rows[..., carriers(learner.format, prompts.positions).outcomes[:last]]  # [head, prompt, example]
    labels = task.outcomes.targets(prompts.y)[:, :last]

    def average(attention: Array) -> Array:
        return jnp.einsum("bj,bjt->bt", attention, labels, precision="highest")

    def sign(attention: Array) -> Array:
        """1 if answers rise with the average of the labels, −1 if they fall."""
        rise = average(attention) - average(attention).mean(0)
        return jnp.sign(jnp.sum(rise * (before - before.mean(0))))

    def averages(attention: Array, patched: Array) -> Array:
        answers, slope = predicted(average(attention), before, average(rolled(attention)))
        keeps = slope != 0 if linear else (slope > 0) & (slope <= MOST)
        return jnp.where(keeps, explained(patched, answers, before), 0.0)

    kernel = kernels(learner, task, prompts, jax.vmap(sign)(looks) if linear else jnp.ones(len(looks)))
    averaged = jax.vmap(averages)(looks, after)
    place = latest_match(task, prompts)
    mass = jnp.abs(jnp.take_along_axis(looks, place[None, :, None], axis=-1))[..., 0]
    share = (mass / jnp.maximum(jnp.abs(rows).sum(-1), 1e-12)).mean(-1)
    there = jnp.take_along_axis(labels, rolled(place)[:, None, None], axis=1)[:, 0]
    copied = jax.vmap(lambda patched: explained(patched, there, before))(after)
    chosen, copier = jnp.minimum(kernel, averaged).argmax(), jnp.minimum(share, copied).argmax()
    return {
        "kernel": kernel[chosen],
        "averaged": averaged[chosen],
        "copied mass": share[copier],
        "copied label": copied[copier],
    }


def patched_attention(learner: TransformerLearner, prompts: Prompts) -> Float[Array, "head prompt target"]:
    """Return the mean targets answered when each head of any layer attends at the query as in the next prompt."""
    format, config = learner.format, learner.model.config
    query = asked(format, prompts.positions, -1)[0].start
    layer, head, _ = every_place(learner, "pattern", 1)
    tokens = format.tokens(prompts.positions)
    which = worlds(config, "pattern", tokens, layer, head, np.full_like(layer, query))
    natural = patched_answers(learner, jax.tree.map(rolled, prompts), prompts, which, "pattern")[:, :, 0]
    return learner.outcomes.from_natural(natural).mean_target()


def attention(learner: TransformerLearner, prompts: Prompts) -> Float[Array, "head prompt token"]:
    """Return the attention from the query to every token, of every head of any layer."""
    query = asked(learner.format, prompts.positions, -1)[0].start
    names = [f"{layer}.pattern" for layer in range(learner.model.config.applications)]
    _, found = capture(learner.model, learner.params, learner.format.encode(prompts, learner.outcomes), names)
    rows = jnp.stack([found[name][:, :, query] for name in names]).swapaxes(1, 2)
    return rows.reshape(-1, *rows.shape[2:])


def kernels(
    learner: TransformerLearner, task: Task, prompts: Prompts, sign: Float[Array, " head"]
) -> Float[Array, " head"]:
    """Return the larger R² of each head's scores as a kernel; 0 where slope · sign is negative."""
    fits = [fit for name, fit in attention_kernels(learner, task, prompts).items() if name.endswith("to outcomes")]
    rising = [jnp.where(fit.slope.ravel() * sign > 0, fit.explained.ravel(), 0.0) for fit in fits]
    return jnp.stack(rising).max(0)


def latest_match(task: Task, prompts: Prompts) -> Array:
    """Return the place of the latest of the examples nearest to the query, [prompt]."""
    last = prompts.positions - 1
    distance = squared_distances(task.features(prompts.x))[:, last, :last]
    nearest = distance <= distance.min(-1, keepdims=True) * (1 + 1e-6)
    return last - 1 - nearest[:, ::-1].argmax(-1)


def predicted(
    average: Float[Array, "prompt target"], answers: Float[Array, "prompt target"], other: Float[Array, "prompt target"]
) -> tuple[Float[Array, "prompt target"], Float[Array, ""]]:
    """Fit answers as an affine map of averages that treats all classes alike, and evaluate it at other averages.

    The map is v ↦ c + s·v + u·(Σv)·1, with one c per class. A pseudo-count, or a token that holds the prior, adds u and
    c. Returns the values at `other`, and the slope s.
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
