"""Students are trained on their teacher's answers, on prompts of every regime, whatever the outcomes were."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.formats import Interleaved, Paired, Stream
from icl_lab.hypotheses import REFERENCES
from icl_lab.learners import TransformerLearner
from icl_lab.models import Model, TransformerConfig, one_layer_config, one_step_gd
from icl_lab.tasks import LinearRegression, MarkovChain, ModularRules, Pool
from icl_lab.training import Member, TrainingSettings, init_state, loop, stack, train_chunk
from icl_lab.training.distil import Panel, distil, distil_from_panel, teacher_of
from icl_lab.training.objective import loss_and_gradient, taught
from icl_lab.training.regimes import REGIMES, sample_regimes

TASK = LinearRegression(dimension=2, examples=4, noise=0.5, prior=Pool(4))
CHAIN = MarkovChain(states=3, examples=5)
GD, RIDGE, COUNTS = (REFERENCES[name][1] for name in ("gd_1", "ridge", "context_counts"))
HEAD = Model(one_layer_config(2, 4))
PROMPTS = jax.jit(lambda: TASK.sample(jax.random.key(5), 64, True))()
SETTINGS = TrainingSettings(steps=300, batch=48, chunk=300, learning_rate=0.02, schedule="cosine")


def losses(members: list[Member], params: dict, steps: int) -> dict:
    """Metrics of some steps of the one-layer head from given parameters."""
    stacked = stack(members)
    given = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(members)), params)
    state = dataclasses.replace(init_state(HEAD, SETTINGS, stacked), params=given)
    return jax.tree.map(np.asarray, train_chunk(HEAD, Paired(), SETTINGS, stacked, state, steps)[1])


def member(rate: float = 0.4, **changes: object) -> Member:
    fields = {"seed": 0, "task": TASK, "learning_rate": 0.02, "teacher": teacher_of(TASK, GD, {"rate": rate})}
    return Member(**(fields | {"regimes": REGIMES} | changes))  # type: ignore[arg-type]


def test_a_construction_has_nothing_to_learn_from_the_algorithm_it_computes() -> None:
    # In no regime: outcomes, which are noisy, would leave a loss of σ² = .25 at least.
    _, params = one_step_gd(2, 4, 0.4)
    metrics = losses([member(0.4, learning_rate=0.0), member(0.8, learning_rate=0.0)], params, 2)
    assert metrics["loss"][0].max() < 1e-9
    assert metrics["loss"][1].min() > 0.01


def test_students_approach_their_own_teachers_in_one_program_for_all_parameters() -> None:
    rates = (0.3, 0.6)
    programs = loop._chunk._cache_size()
    students = [distil(TASK, GD, {"rate": rate}, HEAD, Paired(), SETTINGS, seeds=(0, 1)) for rate in rates]
    assert loop._chunk._cache_size() <= programs + 1
    teachers = [teacher_of(TASK, GD, {"rate": rate})(PROMPTS).mean[:, -1] for rate in rates]
    for seed in (0, 1):
        learners = [
            TransformerLearner(jax.tree.map(lambda leaf, seed=seed: leaf[seed], params), HEAD, Paired())(PROMPTS)
            for params in students
        ]
        distance = np.array([[jnp.mean((s.mean[:, -1] - t) ** 2) for t in teachers] for s in learners])
        assert distance.shape == (2, 2)
        assert np.diag(distance).max() < 0.02 * min(distance[0, 1], distance[1, 0])


def test_of_a_panel_the_chosen_teacher_teaches_and_all_share_a_program() -> None:
    teachers = tuple(teacher_of(TASK, GD, {"rate": rate}) for rate in (0.4, 0.8))
    answer = jax.jit(lambda panel, prompts: panel(prompts))
    for chosen in (0, 1):
        found = answer(Panel(teachers, chosen), PROMPTS)
        np.testing.assert_allclose(found.mean, teachers[chosen](PROMPTS).mean, rtol=1e-6)
    assert answer._cache_size() == 1
    short = dataclasses.replace(SETTINGS, steps=60, chunk=60)
    panel = distil_from_panel(TASK, teachers, [(1, 0), (0, 0)], HEAD, Paired(), short)
    alone = distil(TASK, GD, {"rate": 0.8}, HEAD, Paired(), short)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b[0], rtol=1e-3, atol=1e-3), panel, alone)
    assert np.abs(jax.tree.leaves(panel)[0][0] - jax.tree.leaves(panel)[0][1]).max() > 1e-2


@pytest.mark.parametrize("family", ["real", "classes"])
def test_the_loss_is_squared_distance_or_divergence_from_the_teacher(family: str) -> None:
    task, format, teacher = {
        "real": (TASK, Interleaved(), teacher_of(TASK, RIDGE, {"penalty": 0.5})),
        "classes": (CHAIN, Stream(), teacher_of(CHAIN, COUNTS, {"concentration": 0.4})),
    }[family]
    positions, size = task.positions, task.outcomes.size
    channels, tokens = format.channels(task.inputs_size, size), format.tokens(positions)
    fields = {"width": 8, "mlp": 0, "normalisation": "none", "attention": "linear", "outputs": size}
    model = Model(TransformerConfig(channels, tokens, **fields))
    params = jax.jit(model.init)(jax.random.key(0))
    prompts = jax.jit(lambda: task.sample(jax.random.key(1), 6))()
    scored = np.ones((6, positions), bool)
    scored[1:3, 2] = False
    prompts = prompts.replace(scored=jnp.asarray(scored))
    lesson = taught(teacher, prompts)

    def errors(params: dict) -> np.ndarray:
        """In numpy, zero where nothing is scored."""
        read = model.apply(params, format.encode(prompts, task.outcomes))[:, format.read(positions)]
        answers = np.asarray(read, np.float64)
        if family == "real":
            return np.where(scored, (answers[..., 0] - np.asarray(lesson.mean)) ** 2, 0.0)
        p, odds = np.exp(np.asarray(lesson.log_probs)), np.exp(answers)
        return np.where(scored, (p * np.log(p / (odds / odds.sum(-1, keepdims=True)))).sum(-1), 0.0)

    @jax.jit
    def ours(params: dict) -> tuple:
        settings = TrainingSettings(batch=6, micro_batch=3)
        return loss_and_gradient(model, format, task.outcomes, settings, params, prompts, lesson)

    value, gradient = ours(params)
    expected = errors(params)
    assert float(value) == pytest.approx(expected.sum() / scored.sum(), rel=1e-4)
    assert float(value) > 0.01
    # Along its gradient the independent loss changes as fast as the gradient is long.
    norm = float(jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(gradient))))
    ahead, back = (jax.tree.map(lambda p, g, h=h: p + h / norm * g, params, gradient) for h in (3e-3, -3e-3))
    slope = (errors(ahead).sum() - errors(back).sum()) / (6e-3 * scored.sum())
    assert slope == pytest.approx(norm, rel=0.01)


def test_batches_are_equal_parts_of_the_regimes_the_judge_scores() -> None:
    prompts = jax.tree.map(np.asarray, jax.jit(lambda: sample_regimes(TASK, jax.random.key(3), 301, REGIMES))())
    pool = np.asarray(jax.vmap(TASK.pool_latent)(jnp.arange(4)))
    held = np.abs(prompts.latent[:, None] - pool).max(-1).min(1) < 1e-5
    assert held.tolist() == [True] * 101 + [False] * 200
    spread = prompts.x.std((1, 2))
    np.testing.assert_allclose(spread[:201].mean(), 1.0, rtol=0.1)
    np.testing.assert_allclose(spread[201:].mean() / spread[:201].mean(), 1.5, rtol=0.1)
    assert len(np.unique(prompts.x[:, 0, 0])) == 301


def test_by_default_training_draws_what_the_task_draws() -> None:
    def program(draw: Callable) -> str:
        return str(jax.make_jaxpr(draw)(jax.random.key(0)))

    assert Member(0, TASK).regimes == ("in_distribution",)
    ours, theirs = (lambda key: sample_regimes(TASK, key, 5)), (lambda key: TASK.sample(key, 5))
    assert program(ours) == program(theirs) != program(lambda key: sample_regimes(TASK, key, 5, ("shifted",)))


def test_regimes_that_cannot_be_drawn_are_named() -> None:
    with pytest.raises(ValueError, match=r"regimes: \[\] should be one or more of in_distribution, fresh_tasks"):
        sample_regimes(TASK, jax.random.key(0), 5, ())
    with pytest.raises(ValueError, match=r"regimes: \['fresh'\] should be"):
        sample_regimes.__wrapped__(TASK, jax.random.key(0), 5, ("fresh",))
    with pytest.raises(ValueError, match="batch: 2 is too small for a prompt of each of 3 regimes"):
        sample_regimes(TASK, jax.random.key(0), 2, REGIMES)


@pytest.mark.parametrize(
    ("task", "reference", "parameters", "words"),
    [
        (CHAIN, "ridge", {"penalty": 1.0}, "reference: 'ridge' does not apply to MarkovChain"),
        (TASK.fresh(), "pool_bayes", {}, "reference: 'pool_bayes' does not apply"),
        (TASK, "ridge", {"penalti": 1.0}, "'ridge' has no 'penalti'; it has penalty"),
        (TASK, "nadaraya_watson", {"bandwidth": 1.0, "pseudo_count": 1.0}, "has no 'pseudo_count'; it has bandwidth"),
        (TASK, "kernel_ridge", {"penalty": 1.0}, "'kernel_ridge' needs bandwidth"),
        (TASK, "nearest_neighbour", {"lapse": 0.1}, "has no 'lapse'; it has none"),
    ],
)
def test_a_teacher_that_cannot_be_is_refused(task, reference, parameters, words) -> None:
    with pytest.raises(ValueError, match=words):
        teacher_of(task, REFERENCES[reference][1], parameters)


def test_a_copying_teacher_of_classes_may_do_without_a_lapse() -> None:
    task = ModularRules(modulus=3, examples=3)
    nearest = REFERENCES["nearest_neighbour"][1]
    assert set(teacher_of(task, nearest, {}).parameters) == set()
    assert set(teacher_of(task, nearest, {"lapse": 0.1}).parameters) == {"lapse"}


def test_teachers_of_different_kind_need_a_program_each() -> None:
    with pytest.raises(ValueError, match=r"^members: tasks differ in structure .* or teachers in their reference"):
        stack([member(), member(teacher=teacher_of(TASK, RIDGE, {"penalty": 1.0}))])
    with pytest.raises(ValueError, match="or regimes"):
        stack([member(), member(regimes=("shifted",))])
