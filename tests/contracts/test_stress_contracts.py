"""What every stress test promises: the exact learner shows no bias, and the mismatch is that of an enumeration."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contracts.kinds import KINDS

from icl_lab.formats import Interleaved
from icl_lab.learners.bayes import pool_bayes, population_bayes
from icl_lab.learners.reference import Reference, ReferenceLearner, has_pool, has_population_predictive
from icl_lab.stress.measure import stressed, terms
from icl_lab.stress.perturbations import PERTURBATIONS
from icl_lab.stress.perturbations.conflict import contradicting
from icl_lab.stress.perturbations.formats import FORMAT_PERTURBATIONS
from icl_lab.stress.planted_formats import FormatReader
from icl_lab.tasks import TASKS, Pool, Task

PROMPTS = 6


def exact(task: Task, name: str) -> ReferenceLearner | FormatReader:
    """The exact learner as one of the reference learners, not as the stress test computes it.

    Where the format changes it is the one that reads tokens: no other could be moved at all.
    """
    if name in FORMAT_PERTURBATIONS:
        return FormatReader(task, 0.0, Interleaved(), Interleaved())
    predict = pool_bayes if isinstance(task.prior, Pool) else population_bayes
    return ReferenceLearner(task, {}, Reference("exact", "exact", predict))


@pytest.fixture(scope="module")
def given() -> dict:
    """Changed prompts of every case, at the standard strength."""
    return {
        (kind, name): stressed(perturbation, task, jax.random.key(3), PROMPTS, perturbation.standard)
        for kind, task in KINDS.items()
        for name, perturbation in PERTURBATIONS.items()
        if not perturbation.applies(task)
    }


def is_exact(task: Task) -> bool:
    """Whether the exact learner of the task is known."""
    return has_pool(task) or has_population_predictive(task)


def test_every_perturbation_meets_a_task(given):
    assert {name for kind, name in given if is_exact(KINDS[kind])} == set(PERTURBATIONS)
    assert set(TASKS.values()) <= {type(task) for task in KINDS.values()}


@pytest.mark.parametrize("name", ["conflict", "distractors"])
def test_what_takes_two_examples_is_not_asked_with_one(name):
    one = KINDS["regression"].replace(examples=1)
    assert "at least 2" in PERTURBATIONS[name].applies(one)
    assert not PERTURBATIONS[name].applies(one.replace(examples=2))


@pytest.mark.parametrize("name", ["separators", "swapped", "scaled_encoding", "unseen_format"])
def test_a_reader_by_the_old_layout_is_moved_by_another(given, name):
    """So that the exact one, who is not, could have been."""
    perturbation = PERTURBATIONS[name]
    reader = FormatReader(KINDS["regression"], 1.0, Interleaved(), Interleaved())
    assert terms(perturbation, given["regression", name], reader, perturbation.standard).moved.mean() > 0.01


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_the_exact_learner_shows_no_bias(given, name, subtests):
    perturbation = PERTURBATIONS[name]
    for kind, task in KINDS.items():
        if (kind, name) not in given or not is_exact(task):
            continue
        with subtests.test(kind):
            found = terms(perturbation, given[kind, name], exact(task, name), perturbation.standard)
            if perturbation.likelihood:
                np.testing.assert_allclose(found.distance, 0, atol=1e-5)
                np.testing.assert_allclose(found.bias, 0, atol=1e-4)
                assert (found.mismatch >= -1e-6).all()
            if perturbation.aligned:
                np.testing.assert_allclose(found.moved, 0, atol=1e-5)


def test_changed_prompts_are_prompts_of_the_task(given, subtests):
    for (kind, name), changed in given.items():
        with subtests.test(kind=kind, name=name):
            after = changed.after
            KINDS[kind].check(after)
            assert after.x.shape[:2] == after.y.shape == after.scored.shape
            assert np.asarray(after.scored).any(-1).all()
            if KINDS[kind].is_stream:
                np.testing.assert_array_equal(after.x[:, 1:], KINDS[kind].feed(after.y[:, :-1]))


# -- the mismatch by enumeration, in numpy ---------------------------------------------------------------------------


def normal(y: np.ndarray, mean: np.ndarray, variance: float) -> np.ndarray:
    return np.exp(-np.square(y - mean) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def mixture(weight: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Σ_m w_m answer_m over the first axis."""
    return np.einsum("m,m...->...", weight / weight.sum(), answers)


def pool_weights(task, scale: float = 1.0) -> np.ndarray:
    """The vectors of regression weights of a pool."""
    wide = task.replace(weight_scale=scale * task.weight_scale)
    return np.array([wide.pool_latent(jnp.asarray(m)) for m in range(wide.prior.size)])


def regression(weights: np.ndarray, x: np.ndarray, y: np.ndarray, noise: float, kept=slice(None)) -> float:
    """Posterior mean at the last input over finitely many weight vectors, from the examples kept."""
    before = np.arange(len(y) - 1)[kept]
    likelihood = np.prod([normal(y[j], weights @ x[j], noise**2) for j in before], axis=0) * np.ones(len(weights))
    return float(mixture(likelihood, weights @ x[-1]))


def test_noise_prior_between_and_distractors_by_enumeration(given):
    task = KINDS["regression pool"]
    weights = pool_weights(task)
    pairs = np.array([(a + b) / 2 for a, b in itertools.permutations(weights, 2)])
    changed = {
        "label_noise": lambda x, y: regression(weights, x, y, 0.5 * np.sqrt(2)),
        "prior": lambda x, y: regression(pool_weights(task, 2.0), x, y, 0.5),
        "between": lambda x, y: regression(pairs, x, y, 0.5),
        "distractors": lambda x, y: regression(weights, x, y, 0.5, slice(2, None)),
        "inputs": lambda x, y: regression(weights, x, y, 0.5),
        "length": lambda x, y: regression(weights, x, y, 0.5),
    }
    for name, answer in changed.items():
        found = given["regression pool", name]
        for x, y, c, t in zip(found.after.x, found.after.y, found.changed.mean, found.trained.mean, strict=True):
            x, y = np.asarray(x, float), np.asarray(y, float)
            np.testing.assert_allclose(c[-1], answer(x, y), atol=2e-4, err_msg=name)
            np.testing.assert_allclose(t[-1], regression(weights, x, y, 0.5), atol=2e-4, err_msg=name)


def test_labels_on_one_side_by_enumeration(given):
    """Nine of ten inputs have w·x > 0: a factor .9 or .1 per example in the weight of w; the query's tells nothing."""
    task, found = KINDS["regression pool"], given["regression pool", "imbalance"]
    weights = pool_weights(task)
    for x, y, c, t in zip(found.after.x, found.after.y, found.changed.mean, found.trained.mean, strict=True):
        x, y = np.asarray(x, float), np.asarray(y, float)
        sides = np.where(x[:-1] @ weights.T > 0, 0.9, 0.1)
        chance = np.prod(normal(y[:-1, None], x[:-1] @ weights.T, 0.25) * sides, axis=0)
        np.testing.assert_allclose(c[-1], mixture(chance, weights @ x[-1]), atol=2e-4)
        np.testing.assert_allclose(t[-1], regression(weights, x, y, 0.5), atol=2e-4)


def test_the_share_of_labels_on_one_side_is_the_one_asked_for():
    task = PERTURBATIONS["imbalance"].task(KINDS["regression pool"], 0.9)
    prompts = jax.jit(lambda: task.sample(jax.random.key(0), 2000))()
    above = np.asarray(jax.vmap(KINDS["regression pool"].outcome)(prompts.latent, prompts.x).mean) > 0
    np.testing.assert_allclose(above.mean(0), [0.9, 0.9, 0.9, 0.9, 0.5], atol=0.035)  # three standard errors


def conjunctions() -> list:
    """The nine conjunctions over two bits, as functions, in the task's order."""
    literals = [lambda bit: True, lambda bit: bit > 0, lambda bit: bit < 0]
    return [lambda x, a=a, b=b: literals[a](x[0]) and literals[b](x[1]) for b in range(3) for a in range(3)]


def rule_evidence(x: np.ndarray, y: int, share: float, noise: float) -> np.ndarray:
    """p(x, y | rule) of every conjunction if a share of the inputs make it true."""
    every = list(itertools.product((-1, 1), repeat=2))
    found = []
    for rule in conjunctions():
        true = sum(map(rule, every))
        part = share if rule(x) else 1 - share
        alike = true if rule(x) else 4 - true
        inputs = 1 / 4 if true in (0, 4) else part / alike
        found.append(inputs * (1 - noise if rule(x) == bool(y) else noise))
    return np.array(found)


def test_imbalance_and_flipped_labels_by_enumeration(given):
    for name, share, noise in (("imbalance", 0.9, 0.1), ("label_noise", 0.5, 0.1 + 0.25 - 0.05)):
        found = given["rules", name]
        for x, y, c in zip(found.after.x, found.after.y, found.changed.log_probs, strict=True):
            weight = np.prod([rule_evidence(x[j], y[j], share, noise) for j in range(4)], axis=0)
            joint = [weight * rule_evidence(x[4], label, 0.5, noise) for label in (0, 1)]
            expected = np.array([part.sum() for part in joint])
            np.testing.assert_allclose(np.exp(c[-1]), expected / expected.sum(), atol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", ["regression", "regression pool", "chains", "rules", "rules pool"])
def test_switches_by_enumeration(given, kind):
    """Every pattern of switches, each segment by the task's own posterior on the examples since the last one."""
    task, found = KINDS[kind], given[kind, "switch"]
    hazard, prompts = 1.0 / task.examples, found.after
    last = prompts.positions - 1
    segments = {}
    for begin in range(last + 1):
        kept = jnp.ones((PROMPTS, last + 1, last + 1)) * (jnp.arange(last + 1) >= begin)
        own = task.weighted_predictive(prompts, kept)
        segments[begin] = np.asarray(own.mean_target()), np.asarray(own.log_prob(prompts.y))
    if kind == "rules":  # balanced inputs are evidence as well
        segments = {begin: (mean, log + _input_evidence(prompts, begin)) for begin, (mean, log) in segments.items()}
    top = bottom = 0.0
    for pattern in itertools.product((0, 1), repeat=last):
        starts = np.maximum.accumulate(np.where(np.array((1, *pattern)), np.arange(last + 1), 0))
        log = sum(segments[starts[j]][1][:, j] for j in range(last))
        if kind == "rules":
            log = log + _input_evidence(prompts, starts[last])[:, last]
        weight = np.prod([hazard if switch else 1 - hazard for switch in pattern]) * np.exp(log)
        top, bottom = top + weight[:, None] * segments[starts[last]][0][:, last], bottom + weight
    np.testing.assert_allclose(found.changed.mean_target()[:, last], top / bottom[:, None], atol=2e-5)


def _input_evidence(prompts, begin: int) -> np.ndarray:
    """log p(x_i | pairs since `begin`) of balanced inputs, [prompt, position]; 0 before."""
    found = np.zeros(prompts.y.shape)
    for row, (x, y) in enumerate(zip(prompts.x, prompts.y, strict=True)):
        weight = np.ones(9) / 9
        for i in range(begin, len(y)):
            inputs = rule_evidence(x[i], 0, 0.5, 0.1) + rule_evidence(x[i], 1, 0.5, 0.1)
            found[row, i] = np.log((weight * inputs).sum())
            weight = weight * rule_evidence(x[i], int(y[i]), 0.5, 0.1)
            weight = weight / weight.sum()
    return found


@pytest.mark.parametrize("kind", ["regression", "rules pool"])
def test_of_two_contradicting_labels_the_later_is_an_outcome_of_its_input(kind):
    """Under the latent's own rule, the two stand beside the query's input and the later one has the query's draw."""
    task = KINDS[kind]
    before = jax.jit(lambda: task.sample(jax.random.key(2), 400))()
    found = contradicting(task, before, 2)
    late, early = task.positions - 2, task.positions - 4
    for place in (late, early):
        np.testing.assert_array_equal(found.x[:, place], before.x[:, -1])
    expected = np.asarray(jax.vmap(task.outcome)(found.latent, found.x).mean_target())
    if task.outcomes.linear:
        assert np.std(np.asarray(found.y)[:, late] - expected[:, late, 0]) == pytest.approx(0.5, rel=0.15)
        np.testing.assert_allclose(found.y[:, late] - found.y[:, early], 1.0, rtol=1e-5)
    else:
        right = np.asarray(found.y) == expected.argmax(-1)
        assert np.mean(right[:, late]) == pytest.approx(0.9, abs=0.05)
        np.testing.assert_array_equal(right[:, early], ~right[:, late])


@pytest.mark.parametrize("kind", ["rules pool", "modular rules"])
def test_unseen_rules_are_those_the_pool_leaves_out(kind):
    task = KINDS[kind]
    pool = {np.asarray(task.pool_latent(jnp.asarray(m))).tobytes() for m in range(task.prior.size)}

    def drawn(task) -> set:
        latents = jax.jit(lambda: jax.vmap(task.draw_prior_latent)(jax.random.split(jax.random.key(0), 400)))()
        return {latent.tobytes() for latent in np.asarray(latents)}

    others = drawn(task.unseen())
    assert not pool & others
    assert len(others) == task.support - len(pool)
    assert len(drawn(task.replace(prior=Pool(40 * task.support)).unseen())) == task.support  # none is left out


def test_unseen_rules_by_enumeration():
    """Equal weights over the conjunctions that the pool leaves out."""
    task = KINDS["rules pool"]
    pool = {int(task.pool_latent(jnp.asarray(m))) for m in range(task.prior.size)}
    prompts = jax.jit(lambda: task.unseen().sample(jax.random.key(1), 5))()
    found = jax.jit(lambda p: task.unseen().posterior_predictive(p).log_probs)(prompts)
    others = [rule for index, rule in enumerate(conjunctions()) if index not in pool]
    for x, y, c in zip(np.asarray(prompts.x), np.asarray(prompts.y), found, strict=True):
        weight = np.array([np.prod([0.9 if rule(x[j]) == bool(y[j]) else 0.1 for j in range(4)]) for rule in others])
        one = mixture(weight, np.array([0.9 if rule(x[4]) else 0.1 for rule in others]))
        np.testing.assert_allclose(np.exp(c[-1]), [1 - one, one], atol=1e-5)
