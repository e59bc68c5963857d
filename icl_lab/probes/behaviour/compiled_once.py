"""The whole battery with the learner compiled once.

A probe compiled with the learner inside takes seconds for every pair of the two, and then runs for milliseconds. Here
it runs operation by operation around the compiled learner, and operations are the same for all learners.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.learners.answers import Learner, answers_of, sample
from icl_lab.probes.behaviour.battery import BATTERY, ask
from icl_lab.tasks import Task


def ask_all(task: Task, keys: Mapping[str, Array], prompts: int) -> dict[str, Any]:
    """Probe → what it asks, as `battery.ask`: of all probes that apply and have a key.

    Prompts of pairs are varied operation by operation too. Those of streams are drawn in a loop over positions, every
    turn of which would be operations of its own: for them the probe is compiled.
    """
    found = {}
    for name, key in keys.items():
        if not BATTERY[name].applies(task):
            continue
        if task.is_stream:
            found[name] = ask(BATTERY[name], task, key, prompts)
        else:
            sample_key, vary_key = jax.random.split(key)
            given = sample(task, sample_key, prompts)
            with jax.disable_jit(), jax.default_matmul_precision("highest"):
                found[name] = BATTERY[name].vary(task, vary_key, given)
    return found


def read_all(learner: Learner, task: Task, asked: Mapping[str, Any], batch: int) -> dict[str, np.ndarray]:
    """Probe → what it reads off the learner, [prompt, statistic]: the numbers of `battery.read`.

    Args:
        learner: a pytree. It is compiled once for every kind, parameters being data, and not given the latents.
        task: of the probes.
        asked: probe → what it asks.
        batch: prompts answered at once; probes that ask a multiple of it are answered in parts.
    """

    def answers(prompts: Prompts) -> Predictions:
        public = prompts.replace(latent=None, scored=jnp.ones(prompts.y.shape, bool))
        with jax.disable_jit(False):
            parts = [
                answers_of(learner, jax.tree.map(lambda leaf, s=start: leaf[s : s + batch], public))
                for start in range(0, len(prompts.y), batch)
            ]
            # A learner that is called back may compute with JAX, and waits for good once enough is queued behind it.
            jax.block_until_ready(parts)
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts) if len(parts) > 1 else parts[0]

    with jax.disable_jit(), jax.default_matmul_precision("highest"):
        return {name: np.asarray(BATTERY[name].read(answers, task, given)) for name, given in asked.items()}
