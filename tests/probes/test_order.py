"""Other orders of the same evidence, and what they do to learners that look at counts or at the last example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes.subjects import TASKS, Tempered, asked, measured, reference, regression

from icl_lab.core.prompts import Prompts
from icl_lab.tasks import BooleanRules, LabelMapping, MarkovChain, RepeatedSequence


def transitions(states: np.ndarray, order: int, count: int) -> np.ndarray:
    """Counts of what followed every context, by a loop."""
    found = np.zeros((count,) * (order + 1), int)
    for end in range(order, len(states)):
        found[tuple(states[end - order : end + 1])] += 1
    return found


@pytest.mark.parametrize("order", [1, 2])
def test_a_chain_in_another_order_has_the_same_transitions(order):
    task = MarkovChain(states=2 if order == 2 else 3, order=order, examples=20)
    states = np.random.default_rng(order).integers(0, task.states, (24, 22))
    states[0] = np.arange(22) % task.states  # round and round: blocks between returns are alike, a swap changes nothing
    states = jnp.asarray(states, jnp.int32)
    prompts = Prompts(task.feed(states[:, :-1]), states[:, 1:], None, jnp.ones((24, 21), bool))
    other = jax.jit(lambda given: task.reorder(jax.random.key(1), given))(prompts)
    np.testing.assert_array_equal(other.x[:, 1:], task.feed(other.y[:, :-1]))
    before, after = (np.asarray(p.x.argmax(-1)) for p in (prompts, other))
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(transitions(old, order, task.states), transitions(new, order, task.states))
    np.testing.assert_array_equal(before[:, :order], after[:, :order])
    np.testing.assert_array_equal(before[:, -order:], after[:, -order:])
    np.testing.assert_array_equal(prompts.y[:, -1], other.y[:, -1])
    np.testing.assert_array_equal(before[0], after[0])
    assert (before != after).any(1).mean() > 0.8


def test_pairs_in_another_order_are_the_same_pairs():
    orders, _ = asked("order_variance", "regression")
    first = np.sort(np.asarray(orders.y[0, :, :-1]), axis=1)
    for x, y in zip(np.asarray(orders.x), np.asarray(orders.y), strict=True):
        np.testing.assert_array_equal(np.sort(y[:, :-1], axis=1), first)
        np.testing.assert_array_equal(y[:, -1], orders.y[0, :, -1])
        np.testing.assert_array_equal(x[:, -1], orders.x[0, :, -1])
        by_label = np.take_along_axis(x[:, :-1], y[:, :-1].argsort(1)[..., None], axis=1)
        same = np.take_along_axis(orders.x[0, :, :-1], orders.y[0, :, :-1].argsort(1)[..., None], axis=1)
        np.testing.assert_array_equal(by_label, same)


def test_latents_that_speak_of_positions_move_along():
    task = LabelMapping(classes=8, labels=3, dimension=8, examples=6, items="one_hot", spread=0.0)
    classes = jnp.array([[3, 1, 2, 0, 5, 4, 6], [7, 6, 5, 4, 3, 2, 2]])
    labels = classes % 3
    latent = {"class": classes, "label": labels}
    prompts = Prompts(jax.nn.one_hot(classes, 8), labels, latent, jnp.ones((2, 7), bool))
    other = task.reorder(jax.random.key(1), prompts)
    assert (other.y != prompts.y).any()
    np.testing.assert_array_equal(other.latent["label"], other.y)
    np.testing.assert_array_equal(other.latent["class"], other.x.argmax(-1))


def test_what_has_no_other_order_and_nothing_between():
    sequence = RepeatedSequence(symbols=4, shortest=2, longest=3, examples=6)
    with pytest.raises(TypeError, match=r"^reorder: RepeatedSequence is a stream"):
        sequence.reorder(jax.random.key(0), asked("order_variance", "chain")[0])
    with pytest.raises(TypeError, match=r"^interpolate: the latents of BooleanRules are discrete"):
        BooleanRules(bits=3).interpolate(jnp.array(1), jnp.array(2), 0.5)
    np.testing.assert_allclose(TASKS["chain"].interpolate(jnp.ones(3), jnp.zeros(3), 0.25), 0.75)


def test_order_does_not_matter_to_sets():
    for learner in (regression("gd_2", rate=0.3), regression("nadaraya_watson", bandwidth=1.0)):
        assert measured("order_variance", "regression", learner)["nats"].max() < 1e-8
    counts = reference(TASKS["chain"], "context_counts", concentration=1.0)
    assert measured("order_variance", "chain", counts)["nats"].max() < 1e-6


def test_order_matters_to_those_who_look_at_the_last_example():
    orders, unit = asked("order_variance", "regression")
    expected = np.var(np.asarray(orders.y[:, :, -2], float), axis=0) / (2 * np.asarray(unit))
    found = measured("order_variance", "regression", regression("previous_label"))
    np.testing.assert_allclose(found["nats"], expected, rtol=1e-3)
    assert expected.mean() > 0.1
    assert measured("order_variance", "regression", regression("gd_2_causal", rate=0.3))["nats"].mean() > 1e-4
    recent = measured("order_variance", "chain", reference(TASKS["chain"], "longest_match"))["nats"]
    assert recent.mean() > 0.05
    assert recent.max() <= np.log(8) + 1e-6


def test_joint_probability_of_counts_does_not_depend_on_order_and_of_tempered_counts_does():
    counts = reference(TASKS["chain"], "context_counts", concentration=1.0)
    given = asked("joint_probability", "chain")
    assert (np.asarray(given.y[0]) != np.asarray(given.y[1])).any()
    assert measured("joint_probability", "chain", Tempered(counts, 1.0))["nats"].max() < 1e-5
    assert measured("joint_probability", "chain", Tempered(counts, 2.0))["nats"].mean() > 0.01
