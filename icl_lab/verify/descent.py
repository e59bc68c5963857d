"""Learners that take steps: their limits, their equivalences, and their recursions played out token by token."""

import jax.numpy as jnp
import numpy as np

from icl_lab.core.claims import Claim
from icl_lab.core.outcomes import Real
from icl_lab.core.prompts import Prompts
from icl_lab.formats import Paired
from icl_lab.learners import TransformerLearner, gradient, kernels, linear
from icl_lab.models import constructions
from icl_lab.tasks import LinearRegression
from icl_lab.verify import check, literal

REAL = Real()

TASK = LinearRegression(dimension=3, examples=9, noise=0.5)
VON_OSWALD = "von Oswald et al. 2022"


def limits() -> list[Claim]:
    """What gradient descent and Newton's iteration become."""
    prompts = check.draw(TASK, 32)
    exact = check.over_prefixes(prompts, lambda x, y, q, _: literal.least_squares(x, y, q))
    steps, rate = 1500, 0.1
    # Flat directions need more steps than are taken: only prefixes whose least nonzero curvature s has η·s·K ≥ 12.
    curvature = check.over_prefixes(prompts, lambda x, *_: _least_curvature(x))
    converged = np.where(rate * curvature * steps >= 12, 1.0, np.nan)
    # Not compiled: a program of that many steps would take longer to compile than to run.
    descent = np.asarray(gradient.gradient_descent(TASK, prompts, steps, rate).mean_target()[..., 0], float)
    start = 1.5
    newton = check.answers(lambda p: gradient.newton_schulz(TASK, p, 3, start), prompts)
    doubled = check.over_prefixes(prompts, lambda x, y, q, _: _descent_of_newton(x, y, q, start, 2**3))
    return [
        check.same(
            "gd.limit",
            f"GD, K={steps} ({np.mean(np.isfinite(converged)):.0%} of prefixes), and min-norm OLS",
            "algebra",
            descent * converged,
            exact * converged,
            1e-3,
        ),
        check.same(
            "least_squares",
            "least squares and the pseudo-inverse of every prefix",
            "algebra",
            check.answers(lambda p: linear.least_squares(TASK, p), prompts),
            exact,
            1e-3,
        ),
        check.same("newton", "Newton-Schulz, K=3, and GD of 2^K steps", "Fu et al. 2023", newton, doubled, 1e-4),
    ]


def equivalences() -> list[Claim]:
    """Learners of different hypotheses that are one function."""
    prompts = check.draw(TASK, 64)
    kernel = check.answers(lambda p: kernels.linear_kernel(TASK, p, 0.8), prompts)
    step = check.answers(lambda p: gradient.gradient_descent(TASK, p, 1, 0.8), prompts)
    dual = check.answers(lambda p: kernels.linear_kernel_ridge(TASK, p, 0.3), prompts)
    primal = check.answers(lambda p: linear.ridge(TASK, p, 0.3), prompts)
    return [
        check.same("linear_kernel", "linear kernel smoother and one GD step", "algebra", kernel, step, 1e-5),
        check.same("kernel_ridge", "linear kernel ridge and ridge", "algebra", dual, primal, 1e-4),
    ]


def recursions() -> list[Claim]:
    """Full and causal descent and GD++ against loops over layers and tokens, and the transformer built for it."""
    prompts = check.draw(TASK, 16)
    rates = np.random.default_rng(0).uniform(0.05, 0.5, size=(3, 3))
    initial = np.array([1.0, -0.5, 0.25])
    unrolled = check.answers(
        lambda p: REAL.from_natural(
            gradient.unrolled_descent(REAL, p.x, REAL.targets(p.y), jnp.float32(initial)[:, None], jnp.float32(rates))
        ),
        prompts,
    )
    claims = [
        check.same(
            "gd.steps",
            "GD, K=3, learned start and rates, and a loop over steps",
            "algebra",
            unrolled,
            check.over_prefixes(prompts, lambda x, y, q, _: literal.gradient_descent(x, y, q, initial, rates)),
            1e-5,
        )
    ]
    for name, rate, gamma, steps, causal in (
        ("causal_gd", 0.4, 0.0, 3, True),
        ("gd_plus_plus", 0.4, 0.15, 3, False),
        ("causal_gd_plus_plus", 0.4, 0.15, 3, True),
    ):
        form = "causal " if causal else ""
        method = "GD++" if gamma else "GD"
        learned = check.answers(
            lambda p, r=rate, g=gamma, k=steps, c=causal: gradient.gradient_descent_plus_plus(TASK, p, k, r, g, c),
            prompts,
        )
        if not gamma:
            plain = check.answers(lambda p, r=rate, k=steps: gradient.gradient_descent(TASK, p, k, r, True), prompts)
            learned = np.where(np.abs(learned - plain) < 1e-4, plain, np.inf)
        played = check.over_prefixes(
            prompts,
            lambda x, y, q, _, r=rate, g=gamma, k=steps, c=causal: literal.layer_by_layer(
                np.vstack([x, q]), y, r, g, k, c
            ),
        )
        claims.append(check.same(name, f"{form}{method}, K={steps}, token by token", VON_OSWALD, learned, played, 1e-4))
    return [*claims, _transformer(prompts)]


def _transformer(prompts: Prompts) -> Claim:
    """Two GD++ layers built by hand, run as a transformer, and the learner."""
    count, gamma = TASK.examples, 0.15
    model, params = constructions.one_step_gd(TASK.dimension, count, 0.4, steps=2, gamma=gamma / count)
    built = check.answers(TransformerLearner(params, model, Paired()), prompts)
    learned = check.answers(lambda p: gradient.gradient_descent_plus_plus(TASK, p, 2, 0.4, gamma), prompts)
    statement = "two hand-built GD++ layers and the learner"
    return check.same("gd_plus_plus.transformer", statement, VON_OSWALD, built[:, -1], learned[:, -1], 1e-4)


def _least_curvature(x: np.ndarray) -> float:
    """Least nonzero eigenvalue of XᵀX/n; infinite without examples."""
    if not len(x):
        return np.inf
    values = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
    return float(values[values > 1e-12].min())


def _descent_of_newton(x: np.ndarray, y: np.ndarray, query: np.ndarray, start: float, steps: int) -> float:
    """Gradient descent whose rate is start / tr(XᵀX/n)."""
    if not len(y):
        return 0.0
    rate = start / (np.square(x).sum() / len(y))
    return literal.gradient_descent(x, y, query, np.zeros(len(query)), np.full((steps, len(query)), rate))
