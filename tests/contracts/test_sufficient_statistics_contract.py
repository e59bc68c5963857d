"""What the sufficient statistics of every kind of task keep to."""

import jax
import numpy as np
import pytest
from contracts.kinds import KINDS

from icl_lab.probes.inside.sufficient_statistics import sufficient_statistics

PROMPTS = 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_finite_numbers_per_prompt(kind):
    task = KINDS[kind]

    @jax.jit
    def drawn(key):
        prompts = task.sample(key, PROMPTS)
        other = prompts.replace(y=prompts.y.at[:, -1].set(task.outcomes.altered(prompts.y)[:, -1]))
        return prompts, sufficient_statistics(task, prompts), sufficient_statistics(task, other)

    prompts, found, blind = drawn(jax.random.key(0))
    assert {"moment", "target sums", "latent"} <= set(found)
    for name, values in found.items():
        assert values.ndim == 2, name
        assert len(values) == PROMPTS, name
        assert values.dtype == np.float32, name
        assert np.isfinite(values).all(), name
        np.testing.assert_array_equal(values, blind[name], err_msg=name)  # the last outcome is asked for
    np.testing.assert_allclose(found.get("posterior", np.ones((PROMPTS, 1))).sum(1), 1, rtol=1e-5)
    eager = sufficient_statistics(task, prompts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, eager)
