"""Layers as iterations: does the answer improve from layer to layer as gradient descent does, or Newton's method? (A10)

    python experiments/layers_as_iterations.py [quick|paper] [--subjects.looped.training.steps 6000 …]

Claim     Every layer of looped linear attention, given a linear read-out of its own, answers what as many steps of GD++
          answer, and its error falls with the order of GD++'s. That order, and not the best match, tells an algorithm:
          k steps of Newton's method answer like 2^k of gradient descent.
Source    Fu et al. 2023, "Transformers learn higher-order optimization methods for in-context learning", who find
          doubling in softmax transformers; von Oswald et al. 2022 for GD++.
Time      quick: about two minutes on two cores. paper: softmax transformers as well, for an accelerator, not yet run.

Read-outs are ridge regressions of the true outcome on the stream of the answering token, fitted, chosen and scored on
different prompts. Inputs are brought to unit covariance before reference iterates are computed, which a model that
knows the covariance can do; step sizes are those of least error after as many steps as there are layers. An error is
the geometric mean over prompts of (ŷ − y)², outcomes being noiseless: the mean itself would show the worst-conditioned
prompts alone. Layer 0 is the answer 0. A read-out chooses its own scale, so that answers are matched up to scale, and
reference errors are those at the best scale. A layer that explains less than a tenth of the outcomes is silent.

All three seeds lie on the curve of the best GD++ of four steps: layers 1, 3 and 4 answer what its steps 1, 3 and 4
answer, at most .3% being left, and layer 2 is silent as its second step is. That the error falls from layer to layer
*fails*, for GD++ itself too: of four shared steps those are best whose second undoes the answer to better condition
the inputs. So an order of convergence says little at this depth. It prefers doubling (R² .92 against .72) for an
iteration that is neither linear nor doubling, and the comparison step by step decides.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim, Gate
from icl_lab.core.prompts import Prompts
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.formats import Paired
from icl_lab.learners import TransformerLearner
from icl_lab.models import one_step_gd
from icl_lab.probes.inside.early_exit import (
    convergence_order,
    gradient_iterates,
    layer_answers,
    match_iterates,
    newton_iterates,
    scoring,
)
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.text.vocabulary import COLOURS
from icl_lab.store.directory import RunDirectory
from icl_lab.tasks import LinearRegression

FU = "Fu et al. 2023"
ROUNDING = 1e-8  # of squared errors of order one, in single precision
ALGORITHMS = {"gd": "gradient descent", "gd_plus_plus": "GD++", "newton": "Newton's method"}


def whitened(task: LinearRegression, prompts: Prompts) -> Prompts:
    """The prompts with inputs Λ^(−1/2)x: of unit covariance."""
    factor = jnp.linalg.cholesky(task.input_covariance())
    x = jax.scipy.linalg.solve_triangular(factor, prompts.x.reshape(-1, prompts.x.shape[-1]).T, lower=True)
    return prompts.replace(x=x.T.reshape(prompts.x.shape))


def tuned(iterates: Callable[..., jax.Array], prompts: Prompts, start: list[float]) -> list[float]:
    """The positive parameters with the least mean squared error of the last iterate."""

    @jax.jit
    @jax.value_and_grad
    def loss(logs: jax.Array, prompts: Prompts) -> jax.Array:
        return jnp.square(iterates(prompts, *jnp.exp(logs))[-1, :, 0] - prompts.y[:, -1]).mean()

    def objective(logs: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = loss(jnp.asarray(logs, jnp.float32), prompts)
        return float(value), np.asarray(gradient, float)

    return list(np.exp(minimize(objective, np.log(start), jac=True, method="L-BFGS-B").x))


def typical(answers: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Geometric mean over prompts of (ŷ − y)² of every row of answers, [layer, prompt, 1] → [layer]."""
    return np.exp(np.log(np.maximum(np.square(answers[..., 0] - y), 1e-12)).mean(-1))


def scaled(answers: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Every row of answers times the number that brings it nearest to the outcomes, as a linear read-out would."""
    size = np.square(answers).sum((1, 2))
    factor = (answers[..., 0] * y).sum(1) / np.where(size > 0, size, 1.0)
    return answers * factor[:, None, None]


def references(task: LinearRegression, prompts: Prompts, layers: int) -> dict[str, Callable[[Prompts, int], jax.Array]]:
    """Algorithm → (prompts, steps) → iterates 0 … steps, at the parameters of least error after `layers` steps."""
    makers: dict[str, tuple[Callable[..., jax.Array], list[float]]] = {
        "gd": (lambda p, n, rate: gradient_iterates(task, p, n, rate), [0.5]),
        "gd_plus_plus": (lambda p, n, rate, gamma: gradient_iterates(task, p, n, rate, curvature=gamma), [0.5, 0.4]),
        "newton": (lambda p, n, start: newton_iterates(task, p, n, start), [1.0]),
    }

    def at_best(make: Callable[..., jax.Array], start: list[float]) -> Callable[[Prompts, int], jax.Array]:
        values = tuned(lambda p, *v: make(p, layers, *v), prompts, start)
        return lambda p, steps: make(p, steps, *values)

    return {name: at_best(make, start) for name, (make, start) in makers.items()}


def read_out(learner: TransformerLearner, prompts: Prompts) -> np.ndarray:
    """The answers of layers 0, 1, … on the scoring prompts; layer 0 answers 0."""
    found = np.asarray(layer_answers(learner, prompts))
    return np.concatenate([np.zeros_like(found[:1]), found])


def silent(answers: np.ndarray, y: np.ndarray) -> list[bool]:
    """Of every row whether it answers next to nothing: it explains less than a tenth of the outcomes at any scale."""
    rest = np.square(scaled(answers, y)[..., 0] - y).mean(1) / np.square(y).mean()
    return list(rest > 0.9)


def orders(errors: np.ndarray) -> tuple[float, float]:
    """R² of linear and of doubling convergence."""
    # From where an error is rounding the curve is level, which is no order of convergence.
    above = errors > ROUNDING
    found = convergence_order(jnp.asarray(errors[: len(errors) if above.all() else int(above.argmin()) + 1]))
    return float(found.linear), float(found.doubling)


def controls(name: str, curves: dict[str, np.ndarray], planted: np.ndarray) -> list[Claim]:
    """The measurement on algorithms that are known."""
    claims = []
    for key, doubles in (("gd", False), ("newton", True)):
        linear, doubling = orders(curves[key])
        claims.append(
            said(
                f"{name}.control.{key}",
                f"{ALGORITHMS[key]} itself: convergence is {'doubling' if doubles else 'linear'}",
                "algebra",
                f"R² {'doubling above linear' if doubles else 'linear above doubling'}",
                None,
                f"linear {linear:.4f}, doubling {doubling:.4f}",
                (doubling > linear) == doubles,
                "exact",
            )
        )
    wanted = list(range(1, len(planted) + 1))
    shown = ", ".join(map(str, planted))
    claims.append(
        said(
            f"{name}.control.planted",
            "layers of a hand-built gradient descent, read out, are nearest to its iterates in order",
            "von Oswald et al. 2022, the construction",
            ", ".join(map(str, wanted)),
            None,
            shown,
            list(planted) == wanted,
            "exact",
        )
    )
    return claims


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Layers of every member against iterates of three algorithms, and the order of both."""
    claims, panels = [], {}
    for name, subject in subjects.items():
        task = subject.members[0].member.task
        assert isinstance(task, LinearRegression)
        prompts = jax.jit(lambda key, t=task: t.sample(key, config.judge.prompts))(stream(config.seed, name))
        layers = subject.model.config.applications
        white = whitened(task, prompts)
        known = references(task.replace(covariance=1.0), jax.tree.map(lambda leaf: leaf[:2048], white), layers)
        scored, y = scoring(white), np.asarray(scoring(prompts).y[:, -1])
        own = {key: np.asarray(make(scored, layers)) for key, make in known.items()}
        curves = {key: typical(scaled(found, y), y) for key, found in own.items()}
        steps = {"gd": 64, "gd_plus_plus": layers, "newton": 8}
        iterates = {key: make(scored, steps[key]) for key, make in known.items()}
        # The hand-built network knows no covariance: it is planted on white inputs, at a rate that is safe there.
        rate = 0.5 / float(jnp.linalg.norm(jnp.cov(white.x.reshape(-1, task.dimension).T), 2))
        model, params = one_step_gd(task.dimension, task.examples, rate, layers)
        built = read_out(TransformerLearner(params, model, Paired()), white)
        plain = gradient_iterates(task.replace(covariance=1.0), scored, 4 * layers, rate)
        claims += controls(
            name,
            {key: typical(found, y) for key, found in own.items()},
            np.asarray(match_iterates(jnp.asarray(built[1:]), plain, scale_free=True).best),
        )

        untrained = read_out(subject.learner(0, subject.snapshots.load(0)), prompts)
        rows = [read_out(subject.learner(index), prompts) for index in range(len(subject.members))]
        errors = [typical(row, y) for row in rows]
        matches = [
            {key: match_iterates(jnp.asarray(row[1:]), iterates[key], scale_free=True) for key in iterates}
            for row in rows
        ]
        quiet = [silent(found[1:], y) for found in (own["gd_plus_plus"], *rows)]
        title = subject.subject.title
        claims += layer_claims(name, errors, matches, curves, quiet, typical(untrained, y), title)
        panels[name] = (title, errors, curves, matches, quiet[1:])
    draw(panels, directory)
    return claims


def layer_claims(
    name: str,
    errors: list[np.ndarray],
    matches: list[dict],
    curves: dict[str, np.ndarray],
    quiet: list[list[bool]],
    untrained: np.ndarray,
    title: str,
) -> list[Claim]:
    """What is claimed of trained members. A step that answers next to nothing is nearest to none, written –.

    `quiet` says which, of GD++ first and then of every member.
    """
    both = [orders(each) for each in errors]
    own = orders(curves["gd_plus_plus"])
    best = {
        key: [
            ["–" if none else str(at) for at, none in zip(np.asarray(match[key].best), hush, strict=True)]
            for match, hush in zip(matches, quiet[1:], strict=True)
        ]
        for key in curves
    }
    left = [
        float(np.asarray(match["gd_plus_plus"].unexplained)[~np.array(hush)].max(initial=0.0))
        for match, hush in zip(matches, quiet[1:], strict=True)
    ]
    wanted = ["–" if none else str(step) for step, none in enumerate(quiet[0], 1)]
    linear_attention = name == "looped"
    gaps = {
        key: [float(np.abs(np.log(each[1:] / curve[1:])).mean()) for each in errors] for key, curve in curves.items()
    }
    gate: Gate = "order" if linear_attention else "report"
    return [
        members_claim(
            f"{name}.untrained",
            f"{title}: after the last layer the error is below an untrained model's in any layer",
            "control",
            f"below {untrained.min():.2g}",
            [float(each[-1]) for each in errors],
            [bool(each[-1] < untrained.min()) for each in errors],
        ),
        members_claim(
            f"{name}.falls",
            f"{title}: the error falls from layer to layer",
            FU,
            "falls throughout (GD++ here: " + " → ".join(f"{value:.2g}" for value in curves["gd_plus_plus"]) + ")",
            [" → ".join(f"{value:.2g}" for value in each) for each in errors],
            [bool((np.diff(each) < 0).all()) for each in errors],
        ),
        members_claim(
            f"{name}.errors",
            f"{title}: the errors of all layers are nearer to GD++'s than to gradient descent's and Newton's",
            "von Oswald et al. 2022",
            "smallest mean |Δ log error| of the three",
            [", ".join(f"{ALGORITHMS[key]} {gaps[key][i]:.2f}" for key in gaps) for i in range(len(errors))],
            [min(gaps, key=lambda key, i=i: gaps[key][i]) == "gd_plus_plus" for i in range(len(errors))],
            gate=gate,
        ),
        members_claim(
            f"{name}.gd_plus_plus",
            f"{title}: layer l is nearest to step l of GD++, and silent where that is",
            "von Oswald et al. 2022",
            " ".join(wanted),
            [
                f"{' '.join(found)} ({rest:.1%} of it left at most)"
                for found, rest in zip(best["gd_plus_plus"], left, strict=True)
            ],
            [found == wanted for found in best["gd_plus_plus"]],
            gate=gate,
        ),
        members_claim(
            f"{name}.order",
            f"{title}: the order of convergence is that of GD++ (R² linear {own[0]:.3f}, doubling {own[1]:.3f})",
            FU,
            "linear" if own[0] > own[1] else "doubling",
            [f"linear {linear:.3f}, doubling {doubling:.3f}" for linear, doubling in both],
            [
                bool(np.isfinite(found).all() and each[-1] < each[0] and (found[0] > found[1]) == (own[0] > own[1]))
                for found, each in zip(both, errors, strict=True)
            ],
            gate="report",  # of five errors in no order at all every second has it
        ),
        members_claim(
            f"{name}.doubles",
            f"{title}: doubling describes the error better than linear convergence",
            FU,
            "R² doubling above linear",
            [f"{doubling:.3f} against {linear:.3f}" for linear, doubling in both],
            [doubling > linear for linear, doubling in both],
            gate="report",
        ),
        members_claim(
            f"{name}.nearest",
            f"{title}: nearest step of gradient descent and of Newton's method, layer by layer",
            FU,
            None,
            [f"GD {' '.join(a)}, Newton {' '.join(b)}" for a, b in zip(best["gd"], best["newton"], strict=True)],
            [True] * len(errors),
            gate="report",
        ),
    ]


def draw(panels: dict[str, tuple], directory: RunDirectory) -> None:
    """Error from layer to layer beside the algorithms, and which of their steps every layer is nearest to."""
    import matplotlib.pyplot as plt

    looks = {"gd": (COLOURS["H5"], ":"), "gd_plus_plus": (COLOURS["H5"], "--"), "newton": (COLOURS["rival"], "--")}
    with style():
        figure, axes = plt.subplots(len(panels), 2, figsize=(9, 3.6 * len(panels)), squeeze=False, layout="constrained")
        for (left, right), (title, errors, curves, matches, quiet) in zip(axes, panels.values(), strict=True):
            layer = np.arange(len(errors[0]))
            for key, curve in curves.items():
                left.plot(
                    layer, curve, color=looks[key][0], ls=looks[key][1], lw=1.4, label=f"steps of {ALGORITHMS[key]}"
                )
            for index, each in enumerate(errors):
                left.plot(layer, each, "o-", color="black", ms=4, lw=1, alpha=0.7, label=None if index else "layers")
            left.set(yscale="log", xlabel="layer, or step", ylabel="typical squared error", xticks=layer, title=title)
            left.legend(frameon=False)
            for key in curves:
                for index, match in enumerate(matches):
                    best = np.where(quiet[index], np.nan, np.maximum(np.asarray(match[key].best), 0.5))
                    label = None if index else ALGORITHMS[key]
                    right.plot(
                        layer[1:], best, "o", ls=looks[key][1], color=looks[key][0], ms=4, alpha=0.7, label=label
                    )
            right.set(yscale="log", xlabel="layer", ylabel="nearest step", xticks=layer[1:])
            right.set_yticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
            right.set_title("the step a layer is nearest to; silent layers left out")
            right.legend(frameon=False)
        save_figure(figure, directory.path / "figures", "layers_as_iterations")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
