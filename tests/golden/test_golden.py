"""Numbers of a fixed small computation: a change that moves them has to be meant. Tolerances allow rounding only."""

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.formats import Interleaved
from icl_lab.models import Model, TransformerConfig
from icl_lab.tasks import LinearRegression, Pool, pool_posterior
from icl_lab.training import Member, TrainingSettings, init_state, stack, train_chunk

TASK = LinearRegression(dimension=3, examples=5, noise=0.5, prior=Pool(16))
# Last position: squared error of dMMSE and of ridge; all positions: log predictive of the pool, nats.
EXACT = [0.354887, 0.605589, -1.148167]
# First step, and mean of the last ten of thirty.
TRAINED = [5.547177, 3.439359]


def test_losses_of_the_exact_learners():
    prompts = TASK.sample(jax.random.key(7), 512)
    posterior = pool_posterior(TASK, prompts)
    found = [
        float(jnp.mean((posterior.predictive.mean[:, -1] - prompts.y[:, -1]) ** 2)),
        float(jnp.mean((TASK.population_predictive(prompts).mean[:, -1] - prompts.y[:, -1]) ** 2)),
        float(posterior.log_predictive.mean()),
    ]
    np.testing.assert_allclose(found, EXACT, rtol=1e-3)


def test_losses_of_a_training():
    format = Interleaved()
    model = Model(TransformerConfig(channels=4, tokens=format.tokens(6), layers=1, heads=2, width=16))
    settings = TrainingSettings(steps=30, batch=16, learning_rate=3e-3)
    members = stack([Member(0, TASK, 3e-3, 0.0)])
    _, metrics = train_chunk(model, format, settings, members, init_state(model, settings, members), 30)
    loss = np.asarray(metrics["loss"])[0]
    np.testing.assert_allclose([loss[0], loss[-10:].mean()], TRAINED, rtol=1e-3)
