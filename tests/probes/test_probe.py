"""How a probe is run: the numbers are those of the probe compiled with the learner in it."""

import jax
import numpy as np
import pytest
from probes.subjects import KEY, PROMPTS, TASKS, asked, measured, reference, regression

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass, static
from icl_lab.learners.answers import Learner
from icl_lab.probes.behaviour.battery import BATTERY, ask_all, read, read_all

CASES = {
    "regression": (regression("ridge", penalty=0.4), "interaction"),  # it asks twice as many prompts at once
    "chain": (reference(TASKS["chain"], "context_counts", concentration=0.7), "joint_probability"),
}


@pytree_dataclass
class Watched:
    """A learner that notes the batches it is compiled for."""

    learner: Learner
    batches: list = static()

    def __call__(self, prompts: Prompts) -> Predictions:
        assert prompts.latent is None
        self.batches.append(len(prompts.y))
        return self.learner(prompts)


@pytest.mark.parametrize("family", CASES)
def test_the_numbers_are_those_of_one_program(family):
    learner, name = CASES[family]
    whole = jax.jit(BATTERY[name].read)(jax.tree_util.Partial(learner), TASKS[family], asked(name, family))
    expected = np.stack(list(measured(name, family, learner).values()), axis=1)
    np.testing.assert_allclose(whole, expected, atol=1e-4)


def test_a_large_batch_is_answered_in_parts_and_without_its_latents():
    learner, name = CASES["regression"]
    batches: list[int] = []
    found = read(BATTERY[name], Watched(learner, batches), TASKS["regression"], asked(name, "regression"), PROMPTS // 2)
    assert batches == [PROMPTS // 2]
    expected = np.stack(list(measured(name, "regression", learner).values()), axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_all_are_asked_and_read_that_apply():
    learner = CASES["regression"][0]
    given = ask_all(TASKS["regression"], {"label_copying": KEY, "martingale": KEY}, PROMPTS)
    found = read_all(learner, TASKS["regression"], given, PROMPTS)
    assert list(found) == ["label_copying"]
    np.testing.assert_array_equal(
        found["label_copying"][:, 0], measured("label_copying", "regression", learner)["distance"]
    )
    assert ask_all(TASKS["rules"], {"spectral_filter": KEY}, PROMPTS) == {}
