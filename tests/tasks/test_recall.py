"""Key-value recall against an enumeration of all prompts: how often each comes, and what the exact learner says."""

import itertools

import jax
import numpy as np
import pytest

from icl_lab.tasks.recall import Recall

PLAIN = Recall(examples=2, symbols=3, labels=2, start=1.0, end=4.0, reach=1.5)
CONFLICT = Recall(examples=3, symbols=3, labels=3, conflict=True, latest=0.7)
TASKS = pytest.mark.parametrize("task", [PLAIN, CONFLICT], ids=["demand", "conflict"])
DRAWS = 20_000
Joint = dict[tuple[tuple[int, ...], tuple[int, ...]], float]  # (keys, values) of all positions → probability


def every_prompt(task: Recall) -> Joint:
    """All prompts and their probabilities, from the words of the task's docstring."""
    joint: Joint = {}
    size, values = task.examples, range(task.labels)
    orders = list(itertools.permutations(range(task.symbols), size - task.conflict))
    if not task.conflict:
        weight = [1 + 1.0 * np.exp(-j / 1.5) + 4.0 * np.exp(-(size - 1 - j) / 1.5) for j in range(size)]
        for keys, said, asked in itertools.product(orders, itertools.product(values, repeat=size), range(size)):
            share = weight[asked] / sum(weight) / len(orders) / task.labels**size
            joint[(*keys, keys[asked]), (*said, said[asked])] = share
        return joint
    pairs = list(itertools.combinations(range(size), 2))
    for (early, late), keys, said in itertools.product(pairs, orders, itertools.product(values, repeat=size)):
        if said[early] == said[late]:
            continue
        placed = list(keys)
        placed.insert(late, placed[early])
        share = 1 / len(pairs) / len(orders) / (task.labels ** (size - 1) * (task.labels - 1))
        for right, chance in ((late, 0.7), (early, 1 - 0.7)):
            joint[(*placed, placed[early]), (*said, said[right])] = share * chance
    return joint


@pytest.fixture(scope="module")
def drawn():
    """Prompts of both tasks and the exact answers to them."""
    run = jax.jit(lambda task, key: (prompts := task.sample(key, DRAWS), task.posterior_predictive(prompts)))
    return {task: jax.tree.map(np.asarray, run(task, jax.random.key(0))) for task in (PLAIN, CONFLICT)}


@TASKS
def test_prompts_come_as_often_as_enumerated(drawn, task):
    joint, prompts = every_prompt(task), drawn[task][0]
    assert sum(joint.values()) == pytest.approx(1)
    found = dict.fromkeys(joint, 0)
    for keys, values in zip(prompts.x.argmax(-1), prompts.y, strict=True):
        found[tuple(keys.tolist()), tuple(values.tolist())] += 1
    expected = DRAWS * np.array(list(joint.values()))
    chi_squared = (np.square(np.array(list(found.values())) - expected) / expected).sum()
    freedom = len(joint) - 1
    assert abs(chi_squared - freedom) < 4.5 * np.sqrt(2 * freedom)


@TASKS
def test_the_exact_answer_conditions_the_enumeration(drawn, task):
    joint, (prompts, answer) = every_prompt(task), drawn[task]
    for row in range(40):
        keys, values = prompts.x[row].argmax(-1).tolist(), prompts.y[row].tolist()
        for i in range(task.positions):
            share = np.zeros(task.labels)
            for (other_keys, other_values), chance in joint.items():
                if list(other_keys[: i + 1]) == keys[: i + 1] and list(other_values[:i]) == values[:i]:
                    share[other_values[i]] += chance
            np.testing.assert_allclose(np.exp(answer.log_probs[row, i]), share / share.sum(), atol=1e-6)


def test_demand_is_a_distribution_with_the_ends_it_is_given():
    flat = Recall(examples=6).demand()
    np.testing.assert_allclose(flat, 1 / 6, rtol=1e-6)
    late, both = (np.asarray(Recall(examples=6, start=s, end=9.0).demand()) for s in (0.0, 9.0))
    assert (np.diff(late) > 0).all()
    np.testing.assert_allclose(both, both[::-1], rtol=1e-6)
    assert both[0] > both[2]
    assert late.sum() == pytest.approx(1)


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(ValueError, match="examples: 5 pairs should be 1 to symbols = 4"):
        jax.eval_shape(lambda: Recall(examples=5, symbols=4).sample(jax.random.key(0), 1))
    with pytest.raises(TypeError, match="reorder"):
        CONFLICT.reorder(jax.random.key(0), CONFLICT.sample(jax.random.key(0), 1))
