"""Prompts from outside the training prior: what the prior costs, and what the mechanism adds (S1, S7).

    python experiments/prior_and_coverage.py [quick|paper] [--subjects.pools.training.steps 20000 …]

Claim     Asked about weights that its pool does not hold, a transformer trained on few tasks answers more like the
          exact learner of its pool than like that of the prior asked about. One trained on fresh tasks follows ridge,
          between pool members and outside.
Source    Raventós et al. 2023, "Pretraining task diversity and the emergence of non-Bayesian in-context learning for
          regression"; Garg et al. 2022 (inputs of another scale).
Time      quick: about 4 minutes on two cores. paper: on an accelerator, not yet run.

With c the exact learner of the changed prior, t that of the training prior, s the subject, and D the distance of
answers in nats, in units of the exact predictive variance, mean over positions:

    mismatch D(c‖t), which the best learner of that training has too;  bias D(c‖s) − D(c‖t);  distance D(t‖s).

Changed priors are w ~ N(μ, (sτ)²) for other scales s and means μ, and inputs of another scale, for which fresh tasks
have no mismatch: inputs say nothing about w. For coverage, w = (1 − t)·w_a + t·w_b of two of the FEW pool members that
every pool here begins with: t = 0 and 1 are in the pool, 0 < t < 1 is between, the rest outside. c is then ridge, the
learner of all tasks. All subjects get the same prompts.

Gates: nearer to one exact learner than to the other by the 95% interval over prompts, the two distances of a prompt
paired, in every member: D(t‖s) < D(c‖s) on changed priors. Also half as far as the answer 0, which falls back on
nothing. Bias against mismatch is a report: |bias| < mismatch says 0 < D(c‖s) < 2 D(c‖t) only, and of the learners
s = t + a(c − t) all with 0 < a < 1 pass, also those that are mostly c; they are nearer to t for a < ½.

The quick preset, 5,000 steps: after 4 tasks networks are nearer to their pool's learner than to the changed prior's in
all six priors (fresh w: .47 to .54 nats against 1.26 to 1.35; w × 3: 1.1 against 14; w + 1: .47 to .52 against 2.3).
Beyond two tasks networks are at .33 to .39 nats from the pool's posterior, 3.1 to 3.3 from ridge; between two, at .22
to .30 against .36 to .43. Trained on fresh tasks all follow ridge, between two tasks (.08 to .11 against .60 to .64)
and beyond (.8 to 1.1 against 1.6); beyond, weights are larger than in training, which costs these networks .8 to 1.1
nats at w × 2, nearly all of it bias. Networks of 4 tasks are half as far from the pool's learner as the answer 0 for
fresh w (44 to 50%) and other means (10 to 27%), not for other scales (52 to 71% at w × ½, × 2, × 3), where these claims
fail. After 2,500 steps claims of one member each failed, of networks that were .15 nats off in the pool itself.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.errors import InputError
from icl_lab.core.prompts import Point, Prompts
from icl_lab.core.statistics import bootstrap_interval
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.learners.bayes import pool_bayes, population_bayes
from icl_lab.learners.reference import has_pool
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.text.vocabulary import COLOURS, MUTED, SUBJECT
from icl_lab.store.directory import RunDirectory
from icl_lab.tasks import LinearRegression, Pool

SOURCE = "Raventós et al. 2023"
FEW = 4  # tasks between which, and outside of which, is asked
SHARES = (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
BETWEEN, OUTSIDE = (0.25, 0.5, 0.75), (-1.0, -0.5, 1.5, 2.0)


class Change(NamedTuple):
    """Of the prior: scale of the weights, their mean (in τ), and scale of the inputs."""

    scale: Any = 1.0
    mean: Any = 0.0
    inputs: Any = 1.0


CHANGES = {
    "w × ½": Change(scale=0.5),
    "fresh w": Change(),
    "w × 2": Change(scale=2.0),
    "w × 3": Change(scale=3.0),
    "w + 1": Change(mean=1.0),
    "w + 2": Change(mean=2.0),
    "x × ½": Change(inputs=0.5),
    "x × 2": Change(inputs=2.0),
}
PRIORS = tuple(name for name, change in CHANGES.items() if change.inputs == 1.0)


class Asked(NamedTuple):
    """Prompts and the means of exact answers, [change or share, prompt, position].

    Attributes:
        prompts: changed ones; latents stay with them.
        changed, trained: c and t.
        pool: the posterior over the training pool; of the FEW tasks where training had none.
        unit: v.
    """

    prompts: Prompts
    changed: Any
    trained: Any
    pool: Any
    unit: Any


def first_tasks(task: Any, seed: int) -> Any:
    """The same task with a pool of the FEW tasks that all pools of this seed begin with."""
    return task.replace(prior=Pool(FEW, seed))


@functools.partial(jax.jit, static_argnames="count")
def ask_changed(task: LinearRegression, seed: int, key: Array, change: Change, count: int) -> Asked:
    """`count` prompts of each of several changed priors: fields of `change` have a leading axis."""

    def one(change: Change) -> Asked:
        other = task.fresh().replace(
            weight_scale=change.scale * task.weight_scale,
            weight_mean=task.weight_mean + change.mean * task.weight_scale,
            covariance=jnp.square(change.inputs) * task.covariance,
        )
        return _asked(task, seed, other.sample(key, count), other)

    return jax.lax.map(one, change)


@functools.partial(jax.jit, static_argnames="count")
def ask_between(task: LinearRegression, seed: int, key: Array, shares: Array, count: int) -> Asked:
    """Prompts whose weights lie on lines through two tasks of the first FEW, at each of several places."""
    few = first_tasks(task, seed)

    def draw(key: Array, share: Array) -> Prompts:
        first_key, step_key, inputs_key, outcome_key = jax.random.split(key, 4)
        first = jax.random.randint(first_key, (), 0, FEW)
        second = (first + jax.random.randint(step_key, (), 1, FEW)) % FEW
        latent = task.interpolate(few.pool_latent(first), few.pool_latent(second), share)
        x, y = task.draw_pairs(latent, task.draw_inputs(inputs_key, latent), outcome_key)
        return Prompts(x=x, y=y, latent=latent, scored=jnp.ones(y.shape, bool))

    def one(share: Array) -> Asked:
        prompts = jax.vmap(draw, (0, None))(jax.random.split(key, count), share)
        return _asked(task, seed, prompts, task.fresh())

    return jax.lax.map(one, shares)


def _asked(task: Any, seed: int, prompts: Prompts, other: Any) -> Asked:
    pool: Any = pool_bayes(task if has_pool(task) else first_tasks(task, seed), prompts)
    changed: Any = population_bayes(other, prompts)
    trained: Any = pool if has_pool(task) else population_bayes(task, prompts)
    return Asked(prompts, changed.mean, trained.mean, pool.mean, task.unit(prompts))


@jax.jit
def means(learner: Any, prompts: Prompts) -> Array:
    """The learner's answers to stacked batches, one after the other."""
    return jax.lax.map(lambda each: learner(each).mean_target()[..., 0], prompts)


class Terms(NamedTuple):
    """In nats, mean over positions, [change or share, prompt]."""

    mismatch: np.ndarray
    bias: np.ndarray
    distance: np.ndarray
    to_pool: np.ndarray
    silent: np.ndarray  # D(t‖0): distance of the answer 0 from t
    silent_to_pool: np.ndarray

    @property
    def lost(self) -> np.ndarray:
        """D(c‖s)."""
        return self.mismatch + self.bias


def terms(asked: Asked, answers: Any) -> Terms:
    """The terms of a subject that answers so."""

    def apart(first: Any, second: Any) -> np.ndarray:
        found = Point(jnp.asarray(first)).divergence(Point(jnp.asarray(second)), asked.unit)
        return np.asarray(found).mean(-1)

    mismatch = apart(asked.changed, asked.trained)
    bias = apart(asked.changed, answers) - mismatch
    zero = jnp.zeros_like(jnp.asarray(asked.trained))
    distances = (apart(exact, given) for given in (answers, zero) for exact in (asked.trained, asked.pool))
    return Terms(mismatch, bias, *distances)


class Row(NamedTuple):
    """One member: its pool (0: fresh tasks), terms by change and by share."""

    pool: int
    prior: Terms
    between: Terms

    def change(self, term: str, name: str) -> np.ndarray:
        return getattr(self.prior, term)[list(CHANGES).index(name)]

    def places(self, term: str, shares: tuple[float, ...]) -> np.ndarray:
        """Mean over these places on the line, [prompt]."""
        return getattr(self.between, term)[[SHARES.index(share) for share in shares]].mean(0)


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Terms of every member, and claims on the smallest pool and on fresh tasks."""
    pools = sorted({planned.pool for subject in subjects.values() for planned in subject.members if planned.pool})
    if not pools or pools[0] < FEW:
        found = f"the smallest pool has {pools[0]} tasks" if pools else "no subject has a pool"
        raise InputError(
            f"task.pool, ensemble.pool: {found}; lines are drawn between {FEW} tasks of it: give that many"
        )
    rows: list[Row] = []
    changes = Change(*(jnp.asarray(column) for column in zip(*CHANGES.values(), strict=True)))
    for subject in subjects.values():
        for index, planned in enumerate(subject.members):
            task: Any = planned.member.task
            seed, learner = subject.subject.task.pool_seed, subject.learner(index)
            key = stream(config.judge.seed, "prior and coverage")
            count, places = config.judge.prompts, jnp.asarray(SHARES)
            asked = [ask_changed(task, seed, key, changes, count), ask_between(task, seed, key, places, count)]
            rows.append(Row(planned.pool, *(terms(each, means(learner, each.prompts)) for each in asked)))
    few = [row for row in rows if row.pool == pools[0]]
    fresh = [row for row in rows if row.pool == 0]
    draw(rows, directory)
    return few_claims(few, pools[0]) + fresh_claims(fresh) + [report(rows, pool) for pool in (*pools, 0)]


def shown(values: np.ndarray) -> str:
    """A mean and its 95% interval over prompts."""
    low, high = bootstrap_interval(values)
    return f"{values.mean():.3g} ({low:.3g}–{high:.3g})"


def nearer(
    identifier: str, statement: str, near: list[np.ndarray], far: list[np.ndarray], zero: list[np.ndarray], words: str
) -> Claim:
    """In every member one mean is below another by more than the interval, and below half of that of the answer 0."""
    sets = list(zip(near, far, zero, strict=True))
    values = [f"{shown(a)} against {shown(b)} (answering 0: {z.mean():.3g})" for a, b, z in sets]
    holds = [bool(bootstrap_interval(b - a)[0] > 0 and a.mean() < z.mean() / 2) for a, b, z in sets]
    expected = f"{words} by more than the 95% interval over prompts, and half as far as the answer 0"
    return members_claim(identifier, statement, SOURCE, expected, values, holds)


def few_claims(rows: list[Row], pool: int) -> list[Claim]:
    """Fall-back to the pool, on lines through its tasks and under changed priors; bias against mismatch."""
    claims = [
        nearer(
            f"few.{name}",
            f"after {pool} tasks, weights {words}: nearer to the posterior over the pool than to ridge, nats",
            [row.places("to_pool", shares) for row in rows],
            [row.places("lost", shares) for row in rows],
            [row.places("silent_to_pool", shares) for row in rows],
            "nearer to the pool",
        )
        for name, words, shares in (
            ("between", "between two of them", BETWEEN),
            ("outside", "beyond two of them", OUTSIDE),
        )
    ]
    for name in PRIORS:
        mismatch = rows[0].change("mismatch", name).mean()  # of the prompts and the pool: the same for every member
        bias = [row.change("bias", name) for row in rows]
        after, place = f"after {pool} tasks, prompts of {name}", name.replace(" ", "_")
        claims += [
            nearer(
                f"few.prior.{place}",
                f"{after}: nearer to the pool's exact learner than to the changed prior's, nats",
                [row.change("distance", name) for row in rows],
                [row.change("lost", name) for row in rows],
                [row.change("silent", name) for row in rows],
                "nearer to the pool's",
            ),
            members_claim(
                f"few.bias.{place}",
                f"{after}: bias in nats, against a mismatch of {mismatch:.3g}",
                SOURCE,
                "smaller than the mismatch, either way",
                [shown(values) for values in bias],
                [bool(abs(values.mean()) < mismatch) for values in bias],
                gate="report",
            ),
        ]
    return claims


def fresh_claims(rows: list[Row]) -> list[Claim]:
    """Models of many tasks follow ridge; inputs of another scale are no mismatch for them."""
    claims = [
        nearer(
            f"fresh.{name}",
            f"after fresh tasks, weights {words}: nearer to ridge than to the posterior over {FEW} tasks, nats",
            [row.places("distance", shares) for row in rows],
            [row.places("to_pool", shares) for row in rows],
            [row.places("silent", shares) for row in rows],
            "nearer to ridge",
        )
        for name, words, shares in (
            ("between", f"between two of {FEW} tasks", BETWEEN),
            ("outside", f"beyond two of {FEW} tasks", OUTSIDE),
        )
    ]
    if rows:
        largest = max(float(rows[0].change("mismatch", name).max()) for name in CHANGES if name not in PRIORS)
        text = "after fresh tasks, inputs of another scale: no mismatch, nats"
        claims.append(said("fresh.inputs", text, "algebra: inputs say nothing", None, None, largest, None, "report"))
    return claims


def report(rows: list[Row], pool: int) -> Claim:
    """Mismatch + bias of every change, the bias of every member."""
    own = [row for row in rows if row.pool == pool]
    texts = []
    for name in CHANGES:
        bias = ", ".join(f"{row.change('bias', name).mean():.3g}" for row in own)
        texts.append(f"{name}: {own[0].change('mismatch', name).mean():.3g} + ({bias})" if own else "")
    after = f"{pool} tasks" if pool else "fresh tasks"
    return said(
        f"terms.{pool}", f"after {after}: mismatch + bias, nats", SOURCE, None, None, "; ".join(texts), None, "report"
    )


def draw(rows: list[Row], directory: RunDirectory) -> None:
    """Above: mismatch and bias stacked, a bar per seed. Below: along lines through two tasks of the pool."""
    import matplotlib.pyplot as plt

    pools = [*sorted({row.pool for row in rows if row.pool}), *([0] if any(row.pool == 0 for row in rows) else [])]
    with style():
        figure, axes = plt.subplots(
            2, len(pools), figsize=(3.9 * len(pools), 6.6), squeeze=False, sharey="row", layout="constrained"
        )
        for (upper, lower), pool in zip(axes.T, pools, strict=True):
            own = [row for row in rows if row.pool == pool]
            _bars(upper, own)
            _lines(lower, own, pool)
            upper.set_title(f"trained on {pool} tasks" if pool else "trained on fresh tasks")
            lower.set_xlabel("place t on the line through two tasks a (0), b (1)")
        axes[0, 0].set_ylabel("distance from the changed prior's exact\nlearner (nats, log scale: read the levels)")
        axes[1, 0].set_ylabel("distance (nats)")
        figure.suptitle("Outside the training prior: what the prior costs, and what the mechanism adds")
        entries = [pair for line in axes for pair in zip(*line[0].get_legend_handles_labels(), strict=True)]
        figure.legend(*zip(*entries, strict=True), loc="outside lower center", ncols=3, frameon=False)
        save_figure(figure, directory.path / "figures", "prior_and_coverage")
        plt.close(figure)


def _bars(axis: Any, own: list[Row]) -> None:
    """A group per change, a bar per seed."""
    width = 0.8 / len(own)
    for place, name in enumerate(CHANGES):
        for index, row in enumerate(own):
            x = place - 0.4 + width * (index + 0.5)
            mismatch, bias = row.change("mismatch", name).mean(), row.change("bias", name).mean()
            first = not place and not index
            axis.bar(
                x, mismatch, width * 0.9, color=COLOURS["H1"], label="mismatch of the prior, D(c‖t)" if first else ""
            )
            axis.bar(
                x,
                bias,
                width * 0.9,
                bottom=mismatch,
                color=COLOURS["H5"],
                alpha=0.8,
                label="bias of the mechanism: from the mismatch to D(c‖s), up or down; a bar per seed" if first else "",
            )
            axis.vlines(x, *bootstrap_interval(row.change("lost", name)), color=SUBJECT, lw=0.8)
    axis.set_xticks(range(len(CHANGES)), list(CHANGES), rotation=50, ha="right")
    axis.set(yscale="symlog")
    axis.set_yscale("symlog", linthresh=0.1)
    axis.axhline(0, color=MUTED, lw=0.7)


def _lines(axis: Any, own: list[Row], pool: int) -> None:
    """Distances to ridge and to the pool along the line; the mismatch is filled."""
    if pool:
        axis.fill_between(
            SHARES,
            0,
            own[0].between.mismatch.mean(-1),
            color=COLOURS["H1"],
            alpha=0.2,
            label="mismatch: pool from ridge",
        )
    for index, row in enumerate(own):
        for term, colour, words in (
            ("lost", COLOURS["H1"], "network from ridge (mismatch + bias)"),
            ("to_pool", COLOURS["H4"], f"network from the posterior over its pool (right: over {FEW} tasks)"),
        ):
            values = getattr(row.between, term)
            axis.plot(SHARES, values.mean(-1), color=colour, lw=1, marker=".", label="" if index else words)
            low, high = bootstrap_interval(values)
            axis.vlines(SHARES, low, high, color=colour, lw=0.8)
    for end in (0, 1):
        axis.axvline(end, color=MUTED, lw=0.7, ls=":")
    axis.set_yscale("symlog", linthresh=0.1)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
