"""One linear-attention layer is one gradient step: its loss, measured on the transformer, against the closed form.

For weights w ~ N(0, I), n examples with inputs of covariance Λ, and ŷ = x·A (1/n) Σ y_i x_i, with S = XᵀX/n,

    E(y − ŷ)² = σ² + tr Λ − 2 tr(ΛAΛ) + tr(ΛA M Aᵀ),      M = E[S²] + (σ²/n) Λ,
    E[S²]     = (1 − 1/n) Λ² + (1/n) E[x xᵀ |x|²].

Pairs of different examples give Λ² and are a share 1 − 1/n of all; an example with itself gives the fourth moment:

    Gaussian x:             E[x xᵀ|x|²] = 2Λ² + tr(Λ) Λ,   so M = ΛΓ with Γ = (1 + 1/n) Λ + (tr Λ + σ²)/n I
    x uniform on (−h, h)^d: E[x⁴] = h⁴/5 and E[x²] = h²/3 =: v, so E[x xᵀ|x|²] = (h⁴/5 + (d − 1) v²) I.

The minimum over matrices is A = Γ⁻¹ (Zhang, Frei & Bartlett 2023), over multiples of I it is η* = tr Λ² / tr(ΛM): both
coincide where Λ is a multiple of I. Isotropic Gaussian inputs: η* = n/(n + d + 1 + σ²).
Uniform, h = ½, d = n = 10, σ = 0: v = 1/12, M = (.9/144 + (.0125 + 9/144)/10) I = .01375 I, η* = v/.01375 = 6.0606 and
½E = ½(10/12)(1 − η*/12) = .2062; at h = 1 with the same η, ½E = ½(10/3)(1 − 2η*/3 + η*²·.66) = 8.404.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from icl_lab.core.claims import Claim
from icl_lab.formats import Paired
from icl_lab.learners import TransformerLearner, gradient
from icl_lab.models import constructions
from icl_lab.tasks import LinearRegression
from icl_lab.verify import check

Matrix = Float[np.ndarray, "d d"]
VON_OSWALD = "von Oswald et al. 2022"
ZHANG = "Zhang, Frei & Bartlett 2023; Ahn et al. 2023"
PUBLISHED = ((5, 20, 0.2308), (10, 10, 0.5238))


def second_moment(task: LinearRegression) -> tuple[Matrix, Matrix]:
    """Λ and M of the formulas above."""
    count, noise = task.examples, float(task.noise) ** 2
    if task.inputs == "uniform":
        half, others = float(task.half_width), task.dimension - 1
        covariance = half**2 / 3 * np.eye(task.dimension)
        fourth = (half**4 / 5 + others * half**4 / 9) * np.eye(task.dimension)
    else:
        covariance = np.asarray(task.input_covariance(), float)
        fourth = 2 * covariance @ covariance + np.trace(covariance) * covariance
    return covariance, (1 - 1 / count) * covariance @ covariance + (fourth + noise * covariance) / count


def best_rate(task: LinearRegression) -> float:
    """η* = tr Λ² / tr(ΛM)."""
    covariance, moment = second_moment(task)
    return float(np.trace(covariance @ covariance) / np.trace(covariance @ moment))


def layers(task: LinearRegression, step: float | Matrix, steps: int = 1, gamma: float = 0.0) -> TransformerLearner:
    """The hand-built transformer that takes these steps."""
    rate = step if isinstance(step, float) else jnp.asarray(step, jnp.float32)
    model, params = constructions.one_step_gd(task.dimension, task.examples, rate, steps, gamma)
    return TransformerLearner(params, model, Paired())


def von_oswald() -> list[Claim]:
    """A1 and A2: d = N = 10, uniform inputs, no noise."""
    narrow = LinearRegression(dimension=10, examples=10, inputs="uniform", half_width=0.5, noise=0.0)
    wide = narrow.replace(half_width=1.0)
    rate, of_lab = best_rate(narrow), gradient.best_single_step(narrow)[0]
    learners = {
        "best": layers(narrow, rate),
        "best on wide": layers(narrow, best_rate(wide)),
        "zero": layers(narrow, 0.0),
        "two": layers(narrow, 6.0, steps=2, gamma=0.0),
        "two++": layers(narrow, 13.5, steps=2, gamma=0.175),
    }
    claims = [
        check.number("A1.rate", "best step size η*, from E x⁴ = h⁴/5", "algebra", 6.061, rate, 5e-4),
        check.number("A1.rate_of_the_lab", "the same by learners.gradient", "algebra", rate, of_lab, 1e-3),
    ]
    at = {name: check.mean_square_error(learners, task) for name, task in (("narrow", narrow), ("wide", wide))}
    for id, statement, inputs, learner, expected, tolerance in (
        ("A1.loss", "½·MSE of one layer that takes the best step", "narrow", "best", 0.2062, 0.01),
        ("A1.zero", "½·MSE of answering 0", "narrow", "zero", 0.4167, 0.01),
        ("A1.shifted", "½·MSE of the same layer with inputs on (−1, 1)", "wide", "best", 8.40, 0.02),
        ("A1.wide", "½·MSE of the best layer for inputs on (−1, 1)", "wide", "best on wide", 0.8249, 0.01),
        ("A2.gd", "½·MSE of two steps that share η = 6", "narrow", "two", 0.157, 0.02),
        ("A2.gd_plus_plus", "½·MSE of two GD++ steps, η = 13.5 and γ = .175", "narrow", "two++", 0.110, 0.02),
    ):
        loss, error = at[inputs][learner]
        claims.append(_loss(id, statement, VON_OSWALD, expected, 0.5 * loss, 0.5 * error, tolerance))
    return claims


def global_minimum(dimension: int, examples: int, noise_variance: float) -> list[Claim]:
    """A3: Gaussian inputs; two published settings, the one asked for, and a general covariance there."""
    claims = []
    for d, n, expected in PUBLISHED:
        statement = f"1 − η* of d={d}, N={n}, σ²=0, from the moments of x"
        rate = best_rate(_gaussian(d, n, 0.0, np.eye(d)))
        claims.append(check.number(f"A3.closed_form.{d}.{n}", statement, "algebra", expected, 1 - rate, 5e-5))
    asked = (dimension, examples, noise_variance)
    settings = [(d, n, 0.0) for d, n, _ in PUBLISHED]
    for d, n, variance in settings + ([] if asked in settings else [asked]):
        rate = n / (n + d + 1 + variance)
        statement = f"(MSE − σ²)/d of one layer at d={d}, N={n}, σ²={variance:g}: 1 − N/(N + d + 1 + σ²)"
        id = f"A3.loss.{d}.{n}" + (f".{variance:g}" if variance else "")
        claims.append(_minimum(id, statement, _gaussian(d, n, variance, np.eye(d)), rate * np.eye(d), d * (1 - rate)))
    return [*claims, _general(*asked)]


def _general(dimension: int, examples: int, noise_variance: float) -> Claim:
    """The minimum over all matrices, Γ⁻¹, for inputs of a covariance that is no multiple of I."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(dimension, dimension)))[0]
    covariance = turn @ np.diag(np.linspace(0.4, 1.6, dimension)) @ turn.T
    spread = (np.trace(covariance) + noise_variance) / examples * np.eye(dimension)
    best = np.linalg.inv((1 + 1 / examples) * covariance + spread)
    expected = np.trace(covariance) - np.trace(covariance @ best @ covariance)
    statement = f"(MSE − σ²)/tr Λ of one layer with A = Γ⁻¹ at d={dimension}, N={examples}, σ²={noise_variance:g}"
    task = _gaussian(dimension, examples, noise_variance, covariance)
    return _minimum("A3.general_covariance", statement, task, best, expected)


def _minimum(id: str, statement: str, task: LinearRegression, step: Matrix, expected: float) -> Claim:
    """Excess loss of the layer that takes this step, both in units of the zero predictor's."""
    loss, error = check.mean_square_error({"": layers(task, step)}, task)[""]
    zero = float(jnp.trace(task.input_covariance()))
    return _loss(id, statement, ZHANG, expected / zero, (loss - float(task.noise) ** 2) / zero, error / zero, 0.01)


def _gaussian(dimension: int, examples: int, noise_variance: float, covariance: Matrix) -> LinearRegression:
    noise = float(np.sqrt(noise_variance))
    return LinearRegression(dimension=dimension, examples=examples, noise=noise, covariance=jnp.float32(covariance))


def _loss(id: str, statement: str, source: str, expected: float, loss: float, error: float, relative: float) -> Claim:
    """A Monte Carlo mean that must come out to a relative tolerance, or to four standard errors if that is more."""
    tolerance = max(relative * expected, 4 * error)
    shown = f"{relative:.0%}" if tolerance == relative * expected else f"{tolerance:.2g}"
    return check.number(id, f"{statement} (standard error {error:.1g})", source, expected, loss, tolerance, shown)
