"""One layer of linear attention is one step of gradient descent (A1), and its optimum has a closed form (A3).

    python experiments/one_step_gd.py [quick|paper] [--subjects.uniform.task.dimension 20 …]

Claim     A single linear-attention head, trained on noiseless linear regression with N = d = 10, reaches the loss of
          best single gradient step, ½·MSE = 0.2062 at η* = 6.061 (the zero predictor has 0.4167), answers with the
          same sensitivity to the query, has the hand-built construction's weights up to one scale, and can be
          interpolated with it at no cost in loss.
          With Gaussian inputs the loss is 1 − η*, η* = N/(N + d + 1 + σ²), in units of the zero predictor's excess.
Sources   von Oswald et al. 2022, "Transformers learn in-context by gradient descent"; Zhang, Frei & Bartlett 2023;
          Ahn et al. 2023; Mahankali et al. 2023. The closed form used for any setting is in `best_single_step`.
Time      quick: about a minute on two cores. paper: as published, 5,000 steps of 2048 prompts, five seeds.

Other dimensions, numbers of examples and noise are options; the closed form follows them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.prompts import Prompts
from icl_lab.experiments.script import Subjects, members_claim, run_experiment
from icl_lab.hypotheses import REFERENCES
from icl_lab.learners import TransformerLearner
from icl_lab.learners.gradient import best_single_step
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.models import one_step_gd
from icl_lab.probes import alignment, query_sensitivity
from icl_lab.probes.inside.weights import interpolation_losses, weight_cosine
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.text.vocabulary import COLOURS
from icl_lab.store.directory import RunDirectory
from icl_lab.tasks import LinearRegression

PROMPTS = 1 << 16
LOSS_TOLERANCE, COSINE = 0.01, 0.99
SHARES = jnp.linspace(0, 1, 5)  # of the construction, on the line from the trained weights to it


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Loss, sensitivity and interpolation of every trained member against the closed form."""
    claims, curves = [], {}
    for name, subject in subjects.items():
        task = subject.members[0].member.task
        assert isinstance(task, LinearRegression)
        rate, exact = best_single_step(task)
        prompts = jax.jit(lambda key, task=task: task.sample(key, PROMPTS))(jax.random.key(12345))
        construction, weights = one_step_gd(task.dimension, task.examples, rate)
        best = squared_error(TransformerLearner(weights, construction, subject.format), prompts)
        losses, cosines, weight_cosines, path = [], [], [], []
        gd = ReferenceLearner(task, {"rate": jnp.float32(rate)}, REFERENCES["gd_1"][1])
        few = jax.tree.map(lambda leaf: leaf[:1024], prompts)
        for index in range(len(subject.members)):
            params = jax.tree.map(lambda leaf, i=index: jnp.asarray(leaf[i]), subject.params)
            learner = TransformerLearner(params, subject.model, subject.format)
            # The closed form times a ratio on the same prompts: most of the sampling error cancels.
            losses.append(exact * squared_error(learner, prompts) / best)
            cosines.append(float(alignment(query_sensitivity(learner, few), query_sensitivity(gd, few)).mean()))
            weight_cosines.append(min(float(value) for value in weight_cosine(learner, weights).values()))
            path.append(exact * np.asarray(interpolation_losses(learner, weights, prompts, SHARES)) / best)
        title = f"{name}: d={task.dimension}, N={task.examples}, σ={float(task.noise):g}, {task.inputs} inputs"
        zero = zero_loss(task)
        curves[name] = (title, subject, exact, zero, np.array(path))
        half = [0.5 * value for value in losses]
        halfway = [errors[len(SHARES) // 2] for errors in path]
        claims += [
            members_claim(
                f"{name}.loss",
                f"½·MSE of the trained head equals that of the best single step ({title})",
                "von Oswald et al. 2022; algebra",
                round(0.5 * exact, 5),
                half,
                [abs(value / exact - 1) <= LOSS_TOLERANCE for value in losses],
                f"{LOSS_TOLERANCE:.0%}",
                "exact",
            ),
            members_claim(
                f"{name}.sensitivity",
                "cosine between ∂ŷ/∂x of the trained head and of the gradient step",
                "von Oswald et al. 2022",
                f"> {COSINE}",
                cosines,
                [value > COSINE for value in cosines],
                gate="exact",
            ),
            members_claim(
                f"{name}.weights",
                "cosine between the products of weights that act, W_QK and W_VO, and the construction's (the smaller)",
                "von Oswald et al. 2022; Zhang et al. 2023",
                f"> {COSINE}",
                weight_cosines,
                [value > COSINE for value in weight_cosines],
                gate="exact",
            ),
            members_claim(
                f"{name}.interpolation",
                "weights halfway between trained head and construction (scales matched) keep the loss",
                "von Oswald et al. 2022",
                round(0.5 * exact, 5),
                [0.5 * float(value) for value in halfway],
                [abs(value / exact - 1) <= LOSS_TOLERANCE for value in halfway],
                f"{LOSS_TOLERANCE:.0%}",
                "exact",
            ),
        ]
    draw(curves, directory)
    return claims


@jax.jit
def mean_square(learner: TransformerLearner, prompts: Prompts) -> jax.Array:
    """Mean squared error at the query."""
    return jnp.mean(jnp.square(learner(prompts).mean_target()[:, -1, 0] - prompts.y[:, -1]))


def squared_error(learner: TransformerLearner, prompts: Prompts) -> float:
    """The same, as a number."""
    return float(mean_square(learner, prompts))


def zero_loss(task: LinearRegression) -> float:
    """E[y²]: the error of answering 0."""
    return float(jnp.trace(task.input_covariance()) * task.weight_scale**2 + task.noise**2)


def draw(curves: dict[str, tuple], directory: RunDirectory) -> None:
    """Loss during training, and along the line from the trained weights to the construction."""
    import matplotlib.pyplot as plt

    with style():
        figure, axes = plt.subplots(
            len(curves), 2, figsize=(8.5, 3.2 * len(curves)), squeeze=False, layout="constrained"
        )
        for (left, right), (title, subject, exact, zero, path) in zip(axes, curves.values(), strict=True):
            steps, loss = subject.training_log()
            left.plot(steps, 0.5 * loss.T, color=COLOURS["H5"], lw=0.8, alpha=0.8)
            left.axhline(0.5 * exact, color="black", lw=1, ls="--")
            left.annotate("best gradient step", (steps[0], 0.5 * exact), xytext=(0, -10), textcoords="offset points")
            left.axhline(0.5 * zero, color="0.5", lw=1, ls=":")
            left.annotate("answering 0", (steps[-1], 0.5 * zero), xytext=(0, 3), textcoords="offset points", ha="right")
            left.set(xscale="log", yscale="log", xlabel="training step", ylabel="½ · squared error", title=title)
            right.plot(np.linspace(0, 1, path.shape[1]), 0.5 * path.T, "o-", color=COLOURS["H5"], lw=0.8, ms=3)
            right.axhline(0.5 * exact, color="black", lw=1, ls="--")
            right.set(
                ylim=(0.9 * 0.5 * exact, 1.1 * 0.5 * exact),
                xlabel="trained weights  →  construction",
                ylabel="½ · squared error",
                title=f"one line per seed ({len(path)})",
            )
        save_figure(figure, directory.path / "figures", "one_step_gd")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
