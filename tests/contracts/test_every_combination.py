"""Every kind of task under everything that says it applies to it: traced, so that no combination ends in a traceback.

Only shapes are computed. What the numbers have to be is tested where each of these is tested alone.
"""

import jax
import jax.numpy as jnp
import pytest
from contracts.kinds import KINDS

from icl_lab.core.prompts import Prompts
from icl_lab.hypotheses import REFERENCES
from icl_lab.learners.decoys import label_mean
from icl_lab.learners.reference import Reference, ReferenceLearner
from icl_lab.probes.behaviour.battery import BATTERY
from icl_lab.probes.behaviour.probe import Probe
from icl_lab.stress.biased import BIASES, can_be_biased
from icl_lab.tasks import Pool, Task
from icl_lab.tasks.regimes import REGIMES, drawn_from

PROMPTS = 3
KEY = jax.random.key(0)


def any_learner(task: Task) -> ReferenceLearner:
    """One that answers any task, and whose answers have derivatives by all labels."""
    return ReferenceLearner(task, {"pseudo_count": jnp.float32(1.0)}, Reference("mean", "label mean", label_mean))


def drawn(task: Task, shifted: bool = False) -> Prompts:
    """Prompts of the task as shapes."""
    return jax.eval_shape(lambda key: task.sample(key, PROMPTS, jnp.asarray(shifted)), KEY)


@pytest.mark.parametrize("kind", KINDS)
def test_every_probe_that_applies_reads_its_statistics(kind):
    task = KINDS[kind]
    for name, probe in BATTERY.items():
        if probe.applies(task):

            def measure(key: jax.Array, probe: Probe = probe) -> jax.Array:
                return probe.read(any_learner(task), task, probe.vary(task, key, task.sample(key, PROMPTS)))

            assert jax.eval_shape(measure, KEY).shape == (PROMPTS, len(probe.statistics)), name


@pytest.mark.parametrize("kind", [kind for kind, task in KINDS.items() if isinstance(task.prior, Pool)])
def test_every_regime_is_drawn_alike(kind):
    task = KINDS[kind]
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), drawn(task))
    for regime in REGIMES:
        source, shifted = drawn_from(task, regime)
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), drawn(source, shifted)) == shapes, regime


@pytest.mark.parametrize("kind", KINDS)
def test_every_reference_that_applies_answers(kind):
    task = KINDS[kind]
    for name, (_, reference) in REFERENCES.items():
        if reference.applies(task) and reference.prepare is None:
            values = {key: jnp.float32(1.0) for key in reference.parameters(task)}
            learner = ReferenceLearner(task, values, reference)
            shape = jax.eval_shape(lambda prompts, f=learner: f(prompts).mean_target(), drawn(task)).shape
            assert shape[:2] == (PROMPTS, task.positions), name


@pytest.mark.parametrize("kind", [kind for kind, task in KINDS.items() if not can_be_biased(task)])
def test_every_fault_is_a_family_of_answers(kind):
    task = KINDS[kind]
    for name, bias in BIASES.items():
        answers = jax.eval_shape(lambda prompts, b=bias: b.answers(task, prompts, 0.3).mean_target(), drawn(task))
        assert answers.shape[:2] == (PROMPTS, task.positions), name
