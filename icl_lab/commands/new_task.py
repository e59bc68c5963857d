"""`icl-lab new-task`: a task, its test and its configuration, ready to run and to edit."""

import importlib.util
import keyword
import re
from pathlib import Path

from icl_lab.core.errors import InputError
from icl_lab.core.files import write_atomically
from icl_lab.store.directory import writing

TASK = '''"""One sentence: what is hidden in a prompt, and how its outcomes follow from it."""

from typing import Annotated

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Float

from icl_lab.core.prompts import Gaussian
from icl_lab.tasks import Task, task_dataclass


@task_dataclass
class {camel}(Task):
    """y_i = w_0 + w_1 x_i + w_2 x_i² + σ ε_i, ε_i ~ N(0, 1), w ~ N(0, I), x_i ~ U(−1, 1).

    Example with σ = 0, w = (1, 0, −2):   x_0 = 0 → y_0 = 1   x_1 = 1 → y_1 = −1   x_2 = ½ → ? (½)

    Attributes:
        noise: standard deviation σ. Fields are settings of the configuration; those that fix shapes are `static(...)`.
    """

    noise: Annotated[float, Ge(0)] = 0.2

    def draw_latent(self, key: Array) -> Float[Array, " feature"]:
        """What is hidden in a prompt."""
        return jax.random.normal(key, (3,))

    def draw_inputs(self, key: Array, latent: Array) -> Float[Array, "position input"]:
        """The inputs of one prompt. Here they say nothing about the latent; else define `input_log_prob` too."""
        return jax.random.uniform(key, (self.positions, 1), minval=-1.0, maxval=1.0)

    def outcome(self, latent: Array, x: Float[Array, "position input"]) -> Gaussian:
        """The distribution of every outcome of one prompt, given what is hidden."""
        mean = self.features(x) @ latent
        return Gaussian(mean, self.noise**2 * jnp.ones_like(mean))

    def features(self, x: Array) -> Float[Array, "*batch position feature"]:
        """What ridge, gradient descent and the other linear learners work on; leave it out to give them x itself."""
        return jnp.concatenate([jnp.ones_like(x), x, x**2], axis=-1)
'''

TEST = '''"""The contracts that every task keeps, on {camel}: run with `python -m pytest test_{name}.py`."""

import jax
import jax.numpy as jnp
import numpy as np
from {name} import {camel}

from icl_lab.tasks import Pool


def test_the_same_key_gives_the_same_prompts():
    task = {camel}(examples=6)
    first, again = task.sample(jax.random.key(0), 4), task.sample(jax.random.key(0), 4)
    assert first.x.shape[:2] == first.y.shape == (4, 7)
    np.testing.assert_array_equal(first.y, again.y)
    assert not np.array_equal(first.y, task.sample(jax.random.key(1), 4).y)


def test_outcomes_have_the_distribution_that_outcome_says():
    task = {camel}(examples=200)
    prompts = task.sample(jax.random.key(2), 50)
    said = jax.vmap(task.outcome)(prompts.latent, prompts.x)
    standardised = (prompts.y - said.mean) / jnp.sqrt(said.variance)
    assert abs(float(standardised.mean())) < 0.05
    assert abs(float(standardised.std()) - 1) < 0.05


def test_the_exact_learner_of_a_small_pool_beats_the_mean_label():
    task = {camel}(examples=12, prior=Pool(4))
    prompts = task.sample(jax.random.key(3), 256)
    exact = task.posterior_predictive(prompts).mean[:, -1]
    mean_label = prompts.y[:, :-1].mean(axis=1)
    exact_error, mean_error = (jnp.mean((answer - prompts.y[:, -1]) ** 2) for answer in (exact, mean_label))
    assert exact_error < 0.8 * mean_error
'''

CONFIG = """# icl-lab run {name}.yaml
name: {name}
subjects:
  transformer:
    task: {{kind: "{name}:{camel}", examples: 12, noise: 0.2, pool: 16}}
    format: interleaved
    model: {{layers: 2, heads: 2, width: 32}}
    training: {{steps: 1000, batch: 64, learning_rate: 1e-3}}
    ensemble: {{seeds: 2}}
judge: {{prompts: 128, calibration: 128, snapshots: 6}}
"""


def new_task(name: str, directory: Path) -> int:
    """Write NAME.py, test_NAME.py and NAME.yaml into a directory.

    Raises:
        InputError: no usable name, or one of the files is there already; then none is written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise InputError(f"new-task: {name!r} should be a Python name in small letters, such as noisy_parity")
    if importlib.util.find_spec(name) is not None and not (directory / f"{name}.py").exists():
        raise InputError(f"new-task: {name!r} is the name of an installed module; choose another")
    names = {"name": name, "camel": "".join(word.capitalize() for word in name.split("_"))}
    if re.search(rf"\b{names['camel']}\b", TASK + TEST):
        raise InputError(f"new-task: {name!r} would hide {names['camel']}, which the file itself needs; choose another")
    files = {f"{name}.py": TASK, f"test_{name}.py": TEST, f"{name}.yaml": CONFIG}
    for file in files:
        if (directory / file).exists():
            raise InputError(f"{directory / file}: exists already; choose another name or another directory")
    with writing(directory):
        for file, template in files.items():
            write_atomically(directory / file, template.format(**names).encode())
    for file, purpose in zip(files, ("the task", "its test: python -m pytest", "its run: icl-lab run"), strict=True):
        print(f"{file:<{len(name) + 10}} {purpose}{'' if purpose == 'the task' else ' ' + file}")
    return 0
