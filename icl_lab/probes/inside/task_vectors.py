"""Task vectors: is the task carried by one vector, the mean stream at the query over prompts of that task?

Hendel et al. 2023 put it in place of a dummy prompt's stream; Todd et al. 2024 add theirs. Where the query's own token
is the one that answers, replacing its stream also removes the query, so in late layers only the answer without it can
come back; adding keeps it. In a layer's middle, `resid_mid`, the examples have been read there and the MLP has not. All
batches here are sorted by task, as `prompts_of` gives them: those of one task stand next to each other, as many of
each.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.probes.inside.interventions import ALL, Recording, asked, record, replay, worlds
from icl_lab.tasks import Task

SITE, MIDDLE = "resid_post", "resid_mid"
MODES = ("replace", "add")


@exact(static=("tasks", "site"))
def mean_streams(
    learner: TransformerLearner, prompts: Prompts, tasks: int, site: str = SITE
) -> Float[Array, "layer task width"]:
    """Mean over the prompts of each task of `site` at the token that answers the last position.

    Of informative prompts these are Hendel's task vectors. To *add* one, subtract the mean stream of dummy prompts:
    mean_streams(learner, prompts, tasks) − mean_streams(learner, dummies, 1).
    """
    value = at_query(learner, prompts, site)
    return value.reshape(value.shape[0], tasks, -1, value.shape[-1]).mean(2)


def at_query(learner: TransformerLearner, prompts: Prompts, site: str = SITE) -> Float[Array, "layer prompt width"]:
    """The stream at `site` of every layer at the token that answers the last position."""
    read, _ = asked(learner.format, prompts.positions, -1)
    return recorded(learner, prompts, site).value[:, :, read.start]


def recorded(learner: TransformerLearner, prompts: Prompts, site: str = SITE) -> Recording:
    """The run of these prompts, answers at the last position."""
    read, _ = asked(learner.format, prompts.positions, -1)
    return record(learner, learner.format.encode(prompts, learner.outcomes), site, read)


def with_vectors(
    learner: TransformerLearner,
    prompts: Prompts,
    recording: Recording,
    vectors: Float[Array, "layer prompt width"],
    mode: str,
    site: str = SITE,
) -> Predictions:
    """Predictions [layer, prompt] of the last position, the vector of that layer put in at the token that answers it.

    Raises:
        ValueError: an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode: {mode!r} is not known; choose one of {', '.join(MODES)}")
    config, outcomes = learner.model.config, learner.outcomes
    tokens = learner.format.tokens(prompts.positions)
    read, _ = asked(learner.format, prompts.positions, -1)
    which = worlds(config, site, tokens, np.arange(config.applications), np.array(ALL), np.array(read.start))
    other = vectors[:, :, None] + (recording.value if mode == "add" else 0.0)
    return outcomes.from_natural(replay(learner, recording, other, site, which, read)[:, :, 0])


@exact(static=("mode",))
def task_vector_losses(
    learner: TransformerLearner,
    vectors: Float[Array, "layer task width"],
    full: Prompts,
    dummies: Prompts,
    key: Array,
    mode: str = "replace",
) -> dict[str, Float[Array, "*layer prompt"]]:
    """Losses at the last position, with and without the vector of the prompt's own task in every layer.

    Args:
        vectors: from prompts other than these.
        full, dummies: informative and uninformative prompts of the same tasks in the same order, such as
            `uninformative(task, full, key)`.
        key: of the random directions.
        mode: "replace" the stream by the vector, or "add" it (then vectors should be differences, see `mean_streams`).

    Returns:
        Squared errors or nats: "dummy" and "full" [prompt]; "task vector", and as controls "another task" (the next
        task's vector) and "random" (a random direction of the same norm), [layer, prompt].
    """
    outcomes = learner.outcomes
    run, whole = recorded(learner, dummies), recorded(learner, full)

    def loss(own: Array) -> Array:
        each = jnp.repeat(own, dummies.y.shape[0] // vectors.shape[1], axis=1)
        return with_vectors(learner, dummies, run, each, mode).loss(dummies.y[:, -1])

    kinds = jnp.stack([vectors, jnp.roll(vectors, -1, axis=1), random_like(vectors, key)])
    own, another, random = jax.lax.map(loss, kinds)
    return {
        "dummy": outcomes.from_natural(run.answers[:, 0]).loss(dummies.y[:, -1]),
        "full": outcomes.from_natural(whole.answers[:, 0]).loss(full.y[:, -1]),
        "task vector": own,
        "another task": another,
        "random": random,
    }


def random_like(vectors: Float[Array, "*axes width"], key: Array) -> Float[Array, "*axes width"]:
    """Random directions of the same norms."""
    drawn = jax.random.normal(key, vectors.shape)
    return drawn * jnp.linalg.norm(vectors, axis=-1, keepdims=True) / jnp.linalg.norm(drawn, axis=-1, keepdims=True)


def recovered(losses: dict[str, Shaped[Array, "*layer prompt"]]) -> dict[str, Shaped[Array, "layer prompt"]]:
    """(dummy − patched)/(mean of dummy − full) of every prompt: the mean over prompts is the *recovered share*.

    That is the share of the in-context gain which one vector brings back. 1: as good as the examples; 0: no better than
    the dummy; negative: worse. Meaningless where examples gain nothing.

    Args:
        losses: by `task_vector_losses`; also as numpy arrays.
    """
    gain = (losses["dummy"] - losses["full"]).mean()
    return {name: (losses["dummy"] - losses[name]) / gain for name in ("task vector", "another task", "random")}


def exchanged(vectors: Float[Array, "layer task width"]) -> Float[Array, "layer task width"]:
    """Every task's vector less that of the task before it, whose prompts `task_vector_conflict` puts it into.

    Added there it leaves all that is not the task, the question above all. Source: as steering vectors, differences of
    means times a strength (Turner et al. 2023).
    """
    return vectors - jnp.roll(vectors, 1, axis=1)


@exact(static=("mode", "site"))
def task_vector_conflict(
    learner: TransformerLearner,
    task: Task,
    vectors: Float[Array, "layer task width"],
    prompts: Prompts,
    mode: str = "replace",
    site: str = SITE,
) -> dict[str, Float[Array, "*layer prompt"]]:
    """Examples of one task, the vector of the next: 1 where the answer is nearer to what the vector's task says.

    Nearness is squared distance of mean targets from E[y | latent, x] at the last position. To put one vector in for
    the other, add `exchanged(vectors)`.

    Returns:
        "patched" [layer, prompt], and "unpatched" [prompt], the same of the answers before.
    """
    each = prompts.y.shape[0] // vectors.shape[1]
    run = recorded(learner, prompts, site)

    def expected(latents: object) -> Array:
        return jax.vmap(lambda latent, x: task.outcome(latent, x).mean_target()[-1])(latents, prompts.x)

    own = expected(prompts.latent)
    other = expected(jax.tree.map(lambda leaf: jnp.roll(leaf, -each, axis=0), prompts.latent))

    def wins(answers: Predictions) -> Array:
        found = answers.mean_target()
        return (jnp.square(found - other).sum(-1) < jnp.square(found - own).sum(-1)).astype(jnp.float32)

    moved = jnp.repeat(jnp.roll(vectors, -1, axis=1), each, axis=1)
    return {
        "patched": wins(with_vectors(learner, prompts, run, moved, mode, site)),
        "unpatched": wins(learner.outcomes.from_natural(run.answers[:, 0])),
    }
