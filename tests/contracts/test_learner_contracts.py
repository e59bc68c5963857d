"""What every learner keeps to: all references of the package, and transformers behind each format.

References are enrolled by `REFERENCES` itself; a row of TRANSFORMERS enrols a model.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.prompts import Prompts
from icl_lab.formats import FORMATS, Format, Interleaved, Paired, Stream
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.fitting import prompts_of
from icl_lab.learners import TransformerLearner
from icl_lab.learners.reference import ReferenceLearner, Scales
from icl_lab.models import Model, TransformerConfig, one_step_gd
from icl_lab.tasks import BooleanRules, LabelMapping, LinearRegression, MarkovChain, ModularRules, Pool, Task

EDITED = 4  # this and later positions are changed in the edited prompts
BATCH = 3

CASES: dict[str, Task] = {
    "linear": LinearRegression(dimension=5, examples=12, prior=Pool(32)),
    "chain": MarkovChain(states=3, examples=12, prior=Pool(8)),
    "boolean": BooleanRules(bits=4, examples=12, noise=0.1),
}
# Of these only the references that apply to none above.
MORE: dict[str, Task] = {
    "parity": BooleanRules(bits=4, examples=12, rules="parity"),
    "modular": ModularRules(modulus=5, examples=12, noise=0.1),
    "labelled items": LabelMapping(classes=16, labels=3, dimension=8, examples=12, burstiness=2, fixed=0.7),
}
EVERY = CASES | MORE
REFERENCE_ROWS = [
    pytest.param(case, name, id=f"{name}-{case}")
    for case, task in EVERY.items()
    for name, (_, reference) in REFERENCES.items()
    if reference.applies(task) and not (case in MORE and any(map(reference.applies, CASES.values())))
]


@dataclasses.dataclass(frozen=True)
class Transformer:
    """A row: a model, how prompts reach it, and the case whose prompts it answers."""

    model: Model
    format: Format
    params: Any = None
    case: str = "linear"

    def learner(self) -> TransformerLearner:
        params = self.model.init(jax.random.key(0)) if self.params is None else self.params
        return TransformerLearner(params, self.model, self.format, CASES[self.case].outcomes)


def small(tokens: int, channels: int = 6, outputs: int = 1, **changes: Any) -> Model:
    config = TransformerConfig(channels=channels, tokens=tokens, layers=2, heads=2, width=8, outputs=outputs, **changes)
    return Model(config)


TRANSFORMERS = {
    "causal softmax, interleaved": Transformer(small(25, mask="causal"), Interleaved()),
    "causal linear, interleaved": Transformer(small(25, mask="causal", attention="linear"), Interleaved()),
    "full softmax, paired": Transformer(small(13, mask="full"), Paired()),
    "one step by hand, paired": Transformer(one_step_gd(5, 12, 0.7)[0], Paired(), one_step_gd(5, 12, 0.7)[1]),
    "stream": Transformer(small(13, 3, 3, mask="causal", positions="relative"), Stream(), case="chain"),
    "classes, interleaved": Transformer(small(25, 6, 2, mask="causal"), Interleaved(), case="boolean"),
}


def draw(case: str) -> Prompts:
    """A few prompts, streams as batches of their own: what their inputs say of outcomes is no leak."""
    return jax.jit(lambda task: task.sample(jax.random.key(5), BATCH))(EVERY[case])


def edit(task: Task, prompts: Prompts) -> Prompts:
    """Other inputs from EDITED on, other outcomes from one position earlier: answers before EDITED see neither."""
    y = prompts.y.at[:, EDITED - 1 :].set(task.outcomes.altered(prompts.y)[:, EDITED - 1 :])
    if task.is_stream:
        return task.with_outcomes(prompts, y)
    return prompts.replace(x=prompts.x.at[:, EDITED:].add(2.0), y=y)


def everything(answer: Callable[[Prompts], jax.Array], task: Task, prompts: Prompts) -> dict[str, Any]:
    """Answers in a batch, one by one and after editing, and every prompt's derivatives [prompt, answer, …].

    Derivatives are by inputs, and by outcomes where these are real numbers. They come with the answers one by one, so
    that the learner is compiled twice and not three times.
    """
    by = (0, 1) if task.outcomes.linear else (0,)

    def one(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        alone = jax.tree.map(lambda leaf: leaf[:1], prompts)
        answers = answer(alone.replace(x=x[None], y=y[None]))[0]
        return answers, answers

    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), prompts, edit(task, prompts))
    before, after = jax.lax.map(answer, both)
    derivatives, singles = jax.lax.map(lambda pair: jax.jacfwd(one, by, has_aux=True)(*pair), (prompts.x, prompts.y))
    return {"batch": before, "edited": after, "one by one": singles, "derivatives": derivatives}


def check(found: dict[str, Any], eager: jax.Array, answered: np.ndarray, subtests: Any) -> None:
    """The contracts on mean targets [prompt, position, target]; `answered`: the positions the learner answers."""
    batch = np.asarray(found["batch"])
    with subtests.test("type and shape"):
        assert eager.dtype == found["batch"].dtype == jnp.float32
        assert batch.shape == eager.shape
    with subtests.test("finite where it answers, also before the first example; NaN where it does not"):
        assert np.isfinite(batch[:, answered]).all()
        assert np.isnan(batch[:, ~answered]).all()
    scale = np.abs(batch[:, answered]).max()
    with subtests.test("jit is eager"):
        np.testing.assert_allclose(batch, eager, atol=2e-5 * scale)
    with subtests.test("an axis of prompts is a loop over them"):
        np.testing.assert_allclose(batch, found["one by one"], atol=2e-5 * scale)
    with subtests.test("blind to what comes later, by derivative"):
        later = np.triu(np.ones((batch.shape[1],) * 2, bool), 1)
        for value, excluded in zip(found["derivatives"], (later, later | np.eye(len(later), dtype=bool)), strict=False):
            by = np.moveaxis(np.asarray(value), 2, -1)  # [prompt, answer, position, …]
            assert np.isfinite(by[:, answered]).all()
            assert not np.nan_to_num(by)[:, excluded].any()
    with subtests.test("blind to what comes later, by editing"):
        np.testing.assert_allclose(batch[:, :EDITED], found["edited"][:, :EDITED], atol=2e-5 * scale)


@functools.cache
def parameters(case: str, name: str) -> dict[str, Any]:
    """The middle of the grid, and what was learned on the task."""
    task, reference = EVERY[case], REFERENCES[name][1]
    taught = {} if reference.prepare is None else lessons(case, reference.prepare)[name]
    return {**taught, **{key: jnp.float32(value) for key, value in reference.middle(Scales.of(task)).items()}}


@functools.cache
def lessons(case: str, prepare: Callable[[Task], Any]) -> Any:
    """What references learn on the task, once for all of them."""
    return prepare(EVERY[case])


@pytest.mark.parametrize(("case", "name"), REFERENCE_ROWS)
def test_references(case, name, subtests):
    task, prompts = EVERY[case], draw(case)
    reference, given = REFERENCES[name][1], parameters(case, name)
    traces = []

    @jax.jit
    def compiled(task: Task, prompts: Prompts, given: dict[str, Any]) -> dict[str, Any]:
        traces.append(None)
        return everything(lambda p: reference(task, p, **given).mean_target(), task, prompts)

    found = compiled(task, prompts, given)
    eager = ReferenceLearner(task, given, reference)(prompts).mean_target()
    check(found, eager, np.ones(prompts.positions, bool), subtests)
    with subtests.test("other noise, pools and parameters are no new program"):
        changes = {"noise": 0.2} if hasattr(task, "noise") else {}
        changes |= {"prior": Pool(7, seed=1)} if isinstance(task.prior, Pool) else {}
        compiled(task.replace(**changes), edit(task, prompts), jax.tree.map(lambda value: 0.9 * value, given))
        assert len(traces) == 1


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name, subtests):
    row = TRANSFORMERS[name]
    learner, task, prompts = row.learner(), CASES[row.case], draw(row.case)
    traces = []

    @jax.jit
    def compiled(learner: TransformerLearner, prompts: Prompts) -> dict[str, Any]:
        traces.append(None)
        return everything(lambda p: learner(p).mean_target(), task, prompts)

    found = compiled(learner, prompts)
    answered = np.zeros(prompts.positions, bool)
    answered[row.format.answers(prompts.positions)] = True
    check(found, learner(prompts).mean_target(), answered, subtests)
    with subtests.test("other weights are no new program"):
        compiled(jax.tree.map(lambda leaf: 0.9 * leaf, learner), prompts)
        assert len(traces) == 1


@pytest.mark.parametrize(("given", "asked"), list(itertools.permutations(CASES, 2)))
def test_prompts_of_another_family_are_refused_in_one_line(given, asked):
    """By every reference that applies to the family asked, and by a transformer trained on it."""
    prompts = draw(given)
    row = next(row for row in TRANSFORMERS.values() if row.case == asked)
    learners: dict[str, Any] = {"transformer": row.learner()}
    for case, name in (parameter.values for parameter in REFERENCE_ROWS):
        if case == asked:
            learners[name] = lambda p, name=name: REFERENCES[name][1](EVERY[asked], p, **parameters(asked, name))
    for name, learner in learners.items():
        with pytest.raises((TypeError, ValueError), match=r"^(x|y): ") as caught:
            learner(prompts)
        assert "\n" not in str(caught.value), name


class NoSubtests:
    """In place of pytest's fixture, so that a failure can be expected."""

    def test(self, name: str) -> contextlib.AbstractContextManager:
        return contextlib.nullcontext()


@pytest.mark.parametrize(
    "leak",
    [
        lambda p: jnp.broadcast_to(p.y.mean(1, keepdims=True), p.y.shape),
        lambda p: p.y,
        lambda p: p.x[:, ::-1, 0],
        lambda p: p.y - p.y.mean(0),
        lambda p: 1 / (p.y * 0),
    ],
    ids=["mean of all labels", "the answer itself", "inputs to come", "other prompts", "infinite"],
)
def test_a_learner_that_breaks_a_contract_is_caught(leak):
    task, prompts = CASES["linear"], draw("linear")

    def answer(prompts: Prompts) -> jax.Array:
        return leak(prompts)[..., None]

    with pytest.raises(AssertionError):
        check(everything(answer, task, prompts), answer(prompts), np.ones(prompts.positions, bool), NoSubtests())


def test_every_format_has_a_transformer():
    assert {type(row.format) for row in TRANSFORMERS.values()} == set(FORMATS.values())


def test_every_reference_has_a_case():
    assert {name for _, name in (row.values for row in REFERENCE_ROWS)} == set(REFERENCES)


def test_no_reference_beats_the_exact_learner(each_bank):
    """At no point of its grid: mean loss, paired over prompts, within five standard errors."""
    for regime in [name for name in each_bank.regimes if name != "shifted"]:
        own = regime == "in_distribution" and "pool_bayes" in each_bank.references
        rows = each_bank.slices[regime]
        y = each_bank.prompts.y[rows]

        def losses(name: str, rows: slice = rows, y: np.ndarray = y) -> np.ndarray:
            """Loss of every prompt, mean over positions, [grid point, prompt]."""
            leading = len(each_bank.grids[name])
            part = prompts_of(each_bank.predictions[name], rows, leading)
            return np.asarray(part.loss(np.broadcast_to(y, part.mean_target().shape[:-1]))).mean(-1).reshape(-1, len(y))

        # Of an exact learner that may lapse, the least rate, which is .001.
        best = losses("pool_bayes" if own else "population_bayes")[0]
        for name in each_bank.references:
            excess = losses(name) - best
            assert (excess.mean(-1) >= -5 * excess.std(-1) / np.sqrt(len(y))).all(), (regime, name)
