"""What is timed against each other computes the same, and times are taken apart from compilation."""

import dataclasses

import jax
import numpy as np

from icl_lab.commands import bench
from icl_lab.learners.linear import ridge
from icl_lab.tasks import LinearRegression


def test_loop_and_learner_compute_the_same_least_squares():
    task = LinearRegression(dimension=2, examples=6)
    prompts = jax.jit(lambda: task.sample(jax.random.key(0), 4))()
    learner = jax.jit(lambda: ridge(task, prompts, 1e-4).mean)()
    loop = bench.lstsq_loop(np.asarray(prompts.x), np.asarray(prompts.y))
    determined = slice(4, None)  # with fewer examples than that the smallest eigenvalue is near the penalty
    np.testing.assert_allclose(learner[:, determined], loop[:, determined], rtol=5e-3, atol=5e-3)
    assert np.abs(loop[:, determined]).max() > 0.1


def test_scanned_and_dispatched_steps_are_the_same_training():
    shape = bench.Shape(layers=1, heads=1, width=8, batch=4, dimension=2, examples=2)
    scanned, dispatched = bench.Run(shape, 1, 3), bench.Dispatched(shape, 3)
    scanned(), dispatched()
    ours, theirs = scanned.state.params, dispatched.trained[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-4, atol=1e-6), ours, theirs)


def test_patching_takes_memory_that_does_not_grow_with_the_number_of_pairs():
    shape = bench.Shape(layers=2, heads=2, width=32, batch=64, dimension=2, examples=4)
    few, many = bench.Patching(shape), bench.Patching(dataclasses.replace(shape, batch=512))
    effects = np.asarray(many())
    assert effects.shape == (2, shape.tokens, 512)
    np.testing.assert_allclose(effects[-1, -1], 1, atol=1e-4)  # the token that answers carries all after the last layer
    stream = 4 * 64 * shape.tokens * 32  # bytes of one layer's, of the pairs that are run at a time
    assert 0 < few.memory < 20 * stream  # 18 patches side by side would take several times that
    assert many.memory < 1.3 * few.memory  # all pairs at once: eight times


def test_the_first_round_is_not_timed(monkeypatch):
    now = iter([0.0, 9.0, 20.0, 22.0, 30.0, 33.0])  # rounds of 9, 2 and 3 seconds
    monkeypatch.setattr(bench, "clock", lambda: next(now))
    assert bench.shortest({"action": lambda: 0}, repetitions=2) == {"action": 2.0}
