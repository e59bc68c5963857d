"""Read-outs: how well a statistic of the prompt can be read off the residual stream, layer by layer, token by token.

A third of the prompts fits the read-out, a third chooses its penalty or its stopping time, a third scores it. Alain &
Bengio 2017; Akyürek et al. 2022. Decoding alone does not show that the model uses what is found: compare with an
untrained model, with `shuffled` targets and with `control_task`, and intervene.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.outcomes import Outcomes, Real
from icl_lab.core.prompts import Prompts
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.models import capture
from icl_lab.probes.inside.interventions import in_pieces

REAL = Real()
PENALTIES = np.geomspace(1e-6, 10.0, 8)  # in units of the mean variance of a feature
AT_ONCE = 16  # read-outs fitted at the same time


@exact
def residual_streams(learner: TransformerLearner, prompts: Prompts) -> Float[Array, "layer token prompt width"]:
    """`resid_post` of every layer and token. Take the tokens you need before fitting."""
    names = [f"{layer}.resid_post" for layer in range(learner.model.config.applications)]
    inputs = learner.format.encode(prompts, learner.outcomes)
    _, found = capture(learner.model, learner.params, inputs, names)
    return jnp.stack([found[name] for name in names]).swapaxes(1, 2)


@exact(static=("kind",))
def linear_readout(
    features: Float[Array, "*place prompt width"], targets: Float[Array, "prompt target"], kind: Outcomes = REAL
) -> Float[Array, "*place"]:
    """Held-out score of the ridge read-out of every place, see `readout_score` and `linear_predictions`."""
    return readout_score(linear_predictions(features, targets, kind), targets, kind)


@exact(static=("kind", "hidden", "steps"))
def mlp_readout(
    features: Float[Array, "*place prompt width"],
    targets: Float[Array, "prompt target"],
    key: Array,
    kind: Outcomes = REAL,
    hidden: int = 64,
    steps: int = 200,
    rate: float | Array = 0.01,
) -> Float[Array, "*place"]:
    """The same of a read-out with one hidden layer, out(gelu(in(features))): Adam on the fitting third.

    Inputs and real targets are standardised; the step with the best loss on the choosing third is kept.
    """
    fit, choose, _ = thirds(targets.shape[0])
    scale = targets[fit].std(0) + 1e-6
    wanted = (targets - targets[fit].mean(0)) / scale if kind.linear else targets
    optimiser = optax.adam(rate)

    def one(features: Array) -> Array:
        x = (features - features[fit].mean(0)) / (features[fit].std(0) + 1e-6)
        into, out = jax.random.split(key)
        size = {"in": (x.shape[-1], hidden), "out": (hidden, targets.shape[-1])}
        params = {
            "in": jax.random.normal(into, size["in"]) / np.sqrt(size["in"][0]),
            "out": jax.random.normal(out, size["out"]) / hidden,
            "bias in": jnp.zeros(hidden),
            "bias out": jnp.zeros(targets.shape[-1]),
        }

        def answers(params: dict) -> Array:
            return jax.nn.gelu(x @ params["in"] + params["bias in"]) @ params["out"] + params["bias out"]

        def losses(found: Array) -> Array:
            if kind.linear:
                return jnp.square(found - wanted).sum(-1)
            return -(wanted * jax.nn.log_softmax(found)).sum(-1)

        def fitting(params: dict) -> tuple[Array, Array]:
            found = answers(params)
            return losses(found)[fit].mean(), found

        def step(carry: tuple, _: None) -> tuple[tuple, None]:
            params, state, best, kept = carry
            (_, found), gradient = jax.value_and_grad(fitting, has_aux=True)(params)
            chosen = losses(found)[choose].mean()
            better = chosen < best
            update, state = optimiser.update(gradient, state)
            kept = jnp.where(better, found, kept)
            return (optax.apply_updates(params, update), state, jnp.minimum(best, chosen), kept), None

        start = (params, optimiser.init(params), jnp.asarray(jnp.inf), answers(params))
        kept = jax.lax.scan(step, start, None, length=steps)[0][3]
        return kept * scale + targets[fit].mean(0) if kind.linear else jax.nn.softmax(kept)

    return readout_score(over_places(one, features), targets, kind)


def linear_predictions(
    features: Float[Array, "*place prompt width"], targets: Float[Array, "prompt target"], kind: Outcomes = REAL
) -> Float[Array, "*place prompt target"]:
    """What the ridge read-out of every place answers to all prompts: t̄ + (x − x̄)(C + λI)⁻¹c, in closed form.

    C and c are the features' covariance with themselves and with the targets on the fitting third. λ, of eight, is the
    one with the best score on the choosing third. Classes are regressed on as one-hot vectors or probabilities.
    """
    fit, choose, _ = thirds(targets.shape[0])
    base = targets[fit].mean(0)

    def one(features: Array) -> Array:
        x = features - features[fit].mean(0)
        covariance = jnp.matmul(x[fit].T, x[fit], precision="highest") / x[fit].shape[0]
        moment = jnp.matmul(x[fit].T, targets[fit] - base, precision="highest") / x[fit].shape[0]
        values, vectors = jnp.linalg.eigh(covariance)
        values = jnp.maximum(values, 0.0)
        penalty = (jnp.asarray(PENALTIES) * values.mean() + jnp.finfo(x.dtype).tiny)[:, None]
        turned = jnp.matmul(x, vectors, precision="highest")
        weights = jnp.matmul(vectors.T, moment, precision="highest")
        found = base + jnp.matmul(turned / (values + penalty)[:, None], weights, precision="highest")
        scores = jax.vmap(lambda some: _score(some[choose], targets[choose], base, kind))(found)
        return found[scores.argmax()]

    return over_places(one, features)


def readout_score(
    predictions: Float[Array, "*place prompt target"], targets: Float[Array, "prompt target"], kind: Outcomes = REAL
) -> Float[Array, "*place"]:
    """Score on the scoring third, against always answering the fitting third's mean.

    Real targets: R² = 1 − Σ|t − t̂|²/Σ|t − t̄|², over all of the target's numbers. Classes (one-hot or probabilities):
    nats saved per prompt, E[−t·log t̄ + t·log t̂].
    """
    fit, _, score = thirds(targets.shape[0])
    return _score(predictions[..., score, :], targets[score], targets[fit].mean(0), kind)


def _score(found: Array, wanted: Array, base: Array, kind: Outcomes) -> Array:
    if kind.linear:
        return 1 - jnp.square(wanted - found).sum((-2, -1)) / jnp.square(wanted - base).sum()
    logs = [jnp.log(kind.from_mean(share).mean_target()) for share in (found, base)]
    return (wanted * (logs[0] - logs[1])).sum(-1).mean(-1)


def thirds(prompts: int) -> tuple[slice, slice, slice]:
    """The prompts that fit, choose and score.

    Raises:
        ValueError: fewer than three prompts.
    """
    if prompts < 3:
        raise ValueError(f"prompts: {prompts} cannot be parted in three; give hundreds")
    return slice(0, prompts // 3), slice(prompts // 3, 2 * prompts // 3), slice(2 * prompts // 3, prompts)


def over_places(one: object, features: Float[Array, "*place prompt width"]) -> Float[Array, "*place prompt target"]:
    """`one` ([prompt, width] → [prompt, target]) of every place, some at a time."""
    lead = features.shape[:-2]
    found = in_pieces(jax.vmap(one), features.reshape(-1, *features.shape[-2:]), AT_ONCE)  # type: ignore[arg-type]
    return found.reshape(*lead, *found.shape[-2:])
