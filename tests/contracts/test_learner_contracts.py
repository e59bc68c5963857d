"""What every learner keeps to: all references of the package, and transformers behind each format.

References are enrolled by `REFERENCES` itself; a row of TRANSFORMERS enrols a model.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.formats import FORMATS, Format, Interleaved, Paired
from icl_lab.hypotheses import REFERENCES
from icl_lab.learners import TransformerLearner
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.models import Model, TransformerConfig, one_step_gd
from icl_lab.prompts import Prompts
from icl_lab.tasks import Pool, Task

EDITED = 4  # this and later positions are changed in the edited prompts
BATCH = 3


@dataclasses.dataclass(frozen=True)
class Transformer:
    """A row: a model and how prompts reach it."""

    model: Model
    format: Format
    params: Any = None

    def learner(self) -> TransformerLearner:
        params = self.model.init(jax.random.key(0)) if self.params is None else self.params
        return TransformerLearner(params, self.model, self.format)


def small(tokens: int, **changes: Any) -> Model:
    return Model(TransformerConfig(channels=6, tokens=tokens, layers=2, heads=2, width=8, **changes))


TRANSFORMERS = {
    "causal softmax, interleaved": Transformer(small(25, mask="causal"), Interleaved()),
    "causal linear, interleaved": Transformer(small(25, mask="causal", attention="linear"), Interleaved()),
    "full softmax, paired": Transformer(small(13, mask="full"), Paired()),
    "one step by hand, paired": Transformer(one_step_gd(5, 12, 0.7)[0], Paired(), one_step_gd(5, 12, 0.7)[1]),
}


@pytest.fixture(scope="module")
def prompts(bank) -> Prompts:
    """A few prompts of the bank's task."""
    rows = bank.slices["in_distribution"]
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[rows][:BATCH]), bank.prompts)


def parameters(bank, name: str) -> dict[str, Any]:
    """The middle of the grid, and what was learned on the task."""
    middle = {key: jnp.float32(values[len(values) // 2]) for key, values in bank.grids[name].items()}
    return {**bank.prepared[name], **middle}


def edit(prompts: Prompts) -> Prompts:
    """Other inputs from EDITED on, other outcomes from one position earlier: answers before EDITED see neither."""
    return prompts.replace(x=prompts.x.at[:, EDITED:].add(2.0), y=prompts.y.at[:, EDITED - 1 :].set(-3.0))


def everything(answer: Callable[[Prompts], jax.Array], prompts: Prompts) -> dict[str, Any]:
    """Answers in a batch, one by one and after editing, and the derivatives of one prompt's answers."""

    def one(x: jax.Array, y: jax.Array) -> jax.Array:
        alone = jax.tree.map(lambda leaf: leaf[:1], prompts)
        return answer(alone.replace(x=x[None], y=y[None]))[0]

    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), prompts, edit(prompts))
    before, after = jax.lax.map(answer, both)
    return {
        "batch": before,
        "edited": after,
        "one by one": jax.lax.map(lambda pair: one(*pair), (prompts.x, prompts.y)),
        "derivatives": jax.jacfwd(one, (0, 1))(prompts.x[0], prompts.y[0]),
    }


def check(found: dict[str, Any], eager: jax.Array, answered: np.ndarray, subtests: Any) -> None:
    """The contracts; `answered` are the positions at which the learner answers."""
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
        by_x, by_y = (np.nan_to_num(value) for value in found["derivatives"])
        later = np.triu(np.ones((batch.shape[1],) * 2, bool), 1)
        assert not by_x[later].any()
        assert not by_y[later | np.eye(len(later), dtype=bool)].any()
        assert all(np.isfinite(value[answered]).all() for value in found["derivatives"])
    with subtests.test("blind to what comes later, by editing"):
        np.testing.assert_allclose(batch[:, :EDITED], found["edited"][:, :EDITED], atol=2e-5 * scale)


@pytest.mark.parametrize("name", REFERENCES)
def test_references(name, bank, prompts, subtests):
    reference, given = REFERENCES[name][1], parameters(bank, name)
    traces = []

    @jax.jit
    def compiled(task: Task, prompts: Prompts, given: dict[str, Any]) -> dict[str, Any]:
        traces.append(None)
        return everything(lambda p: reference(task, p, **given).answer().mean, prompts)

    found = compiled(bank.task, prompts, given)
    eager = ReferenceLearner(bank.task, given, reference)(prompts).answer().mean
    check(found, eager, np.ones(prompts.positions, bool), subtests)
    with subtests.test("other noise, pools and parameters are no new program"):
        other = bank.task.replace(noise=0.2, prior=Pool(7, seed=1))
        compiled(other, edit(prompts), jax.tree.map(lambda value: 0.9 * value, given))
        assert len(traces) == 1


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name, prompts, subtests):
    row = TRANSFORMERS[name]
    learner = row.learner()
    traces = []

    @jax.jit
    def compiled(learner: TransformerLearner, prompts: Prompts) -> dict[str, Any]:
        traces.append(None)
        return everything(lambda p: learner(p).mean, prompts)

    found = compiled(learner, prompts)
    answered = np.zeros(prompts.positions, bool)
    answered[row.format.answers(prompts.positions)] = True
    check(found, learner(prompts).mean, answered, subtests)
    with subtests.test("other weights are no new program"):
        compiled(jax.tree.map(lambda leaf: 0.9 * leaf, learner), prompts)
        assert len(traces) == 1


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
def test_a_learner_that_breaks_a_contract_is_caught(leak, prompts):
    with pytest.raises(AssertionError):
        check(everything(leak, prompts), leak(prompts), np.ones(prompts.positions, bool), NoSubtests())


def test_every_format_has_a_transformer():
    assert {type(row.format) for row in TRANSFORMERS.values()} == set(FORMATS.values())


@pytest.mark.parametrize("regime", ["in_distribution", "fresh_tasks"])
def test_no_reference_beats_the_exact_learner(bank, regime):
    """At no point of its grid: mean squared error, paired over prompts, within five standard errors."""
    exact = bank.predictions["pool_bayes" if regime == "in_distribution" else "population_bayes"]
    rows = bank.slices[regime]
    y = bank.prompts.y[rows]

    def errors(mean: np.ndarray) -> np.ndarray:
        """Squared error of every prompt, mean over its positions; [grid point, prompt]."""
        return np.square(mean[..., rows, :] - y).mean(-1).reshape(-1, len(y))

    best = errors(exact.mean)
    assert set(bank.references) == set(REFERENCES)
    for name in bank.references:
        excess = errors(bank.predictions[name].mean) - best
        assert (excess.mean(-1) >= -5 * excess.std(-1) / np.sqrt(len(y))).all(), name
