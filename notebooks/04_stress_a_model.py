# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Stress a model
#
# In-context learning fails in known ways: the order of the examples matters, far examples fade, a task that changes in
# mid-prompt is noticed late. To turn such an impression into a number two things must be kept apart. On a changed
# prompt even the exact learner of the training prior does worse than one who knows of the change; that loss is
# the *mismatch* of the prior. What a model loses on top is its *bias*. With c the exact learner
# who knows, t the exact learner of the training prior, s the subject, and distances D in nats,
#
#     mismatch = D(c‖t)        bias = D(c‖s) − D(c‖t)        moved = D(s before ‖ s after)
#
# This tutorial trains one small transformer (a minute on one core), and stresses it beside learners whose fault is
# known.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from icl_lab.core.statistics import bootstrap_interval
from icl_lab.formats import Interleaved
from icl_lab.learners import TransformerLearner
from icl_lab.learners.answers import sample, unit_of
from icl_lab.models import Model, TransformerConfig
from icl_lab.stress.base import Perturbation, composed
from icl_lab.stress.biased import BIASES, BiasedLearner
from icl_lab.stress.measure import answers_of, stressed, terms
from icl_lab.stress.perturbations import PERTURBATIONS
from icl_lab.stress.strength import family_answers, fit_strength
from icl_lab.tasks import LinearRegression
from icl_lab.training import Member, TrainingSettings, init_state, stack, train_chunk

plt.rcParams.update({"figure.dpi": 80, "axes.titlesize": 10, "axes.labelsize": 9})

# %% [markdown]
# ## A model, and three learners whose fault is known
#
# `BiasedLearner` is exact but for one fault of a given strength: one forgets example j after i − j further ones by
# e^(−γ(i−j)), one answers with the last label in a share of its answer. Strength 0 is the exact learner itself.

# %%
task = LinearRegression(dimension=2, examples=8, noise=0.5)
format = Interleaved()
config = TransformerConfig(format.channels(2), format.tokens(task.positions), layers=2, heads=2, width=32)
model = Model(config)
settings = TrainingSettings(steps=1500, batch=64, learning_rate=3e-3, schedule="cosine", warmup=150, chunk=500)
members = stack([Member(0, task, settings.learning_rate)])
state = init_state(model, settings, members)
for _ in range(3):
    state, history = train_chunk(model, format, settings, members, state, 500)
params = jax.tree.map(lambda leaf: leaf[0], state.params)
learners = {
    "transformer": TransformerLearner(params, model, format, task.outcomes),
    "exact": BiasedLearner(task, 0.0, BIASES["forgetting"]),
    "forgets by .3": BiasedLearner(task, 0.3, BIASES["forgetting"]),
    "copies .2": BiasedLearner(task, 0.2, BIASES["last_label"]),
}
COLOURS = dict(zip(learners, ("#111111", "#0072B2", "#D55E00", "#009E73"), strict=True))

# %% [markdown]
# ## Which stress tests there are
#
# A perturbation changes the task, its prompts, or their format. `applies` says why it makes no sense for a task.

# %%
for name, perturbation in PERTURBATIONS.items():
    reason = perturbation.applies(task)
    print(f"{name:20} {'–  ' + reason if reason else perturbation.question}")

# %% [markdown]
# ## The profile
#
# `stressed` draws changed prompts and works out both exact answers, once for all learners; `terms` reads a learner.

# %%
SHOWN = ("switch", "distractors", "prior", "label_noise", "order", "recency")
profile = {}
for name in SHOWN:
    perturbation = PERTURBATIONS[name]
    given = stressed(perturbation, task, jax.random.key(1), 128, perturbation.standard)
    profile[name] = {
        who: terms(perturbation, given, learner, perturbation.standard) for who, learner in learners.items()
    }

figure, axis = plt.subplots(figsize=(9, 3.6), layout="constrained")
for row, name in enumerate(SHOWN):
    kept = PERTURBATIONS[name].aligned
    if not kept:
        axis.barh(row, profile[name]["exact"].mismatch.mean(), height=0.8, color="0.85")
    for place, who in enumerate(learners):
        found = profile[name][who]
        values = found.moved if kept else found.bias + found.mismatch
        low, high = bootstrap_interval(values)
        y = row + 0.15 * (place - 1.5)
        axis.plot([low, high], [y, y], color=COLOURS[who])
        axis.plot(values.mean(), y, "o", ms=5, color=COLOURS[who], label=None if row else who)
titles = [PERTURBATIONS[name].title + (" (moved)" if PERTURBATIONS[name].aligned else "") for name in SHOWN]
axis.set_yticks(range(len(SHOWN)), titles)
axis.invert_yaxis()
axis.set_xscale("symlog", linthresh=0.01)
axis.set_xlabel("nats per answer; grey: what the training prior costs")
axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# The exact learner ends where the grey bars do and is not moved by another order. The forgetful one *gains* where the
# first half of the prompt belongs to another task: a fault can help, so a bias can be negative. The transformer,
# trained for a minute, loses most on tasks of twice the usual scale, and another order of the same examples moves it as
# much as the copier.

# %% [markdown]
# ## How strong is the fault?
#
# Each family of faults can be fitted to any learner: the strength at which it answers most like it, with an interval
# over prompts, and the share of the distance to the exact learner that it explains. What was planted is found.

# %%
prompts = sample(task, jax.random.key(2), 256)
unit = unit_of(task, prompts)
families = {name: family_answers(bias, task, prompts) for name, bias in BIASES.items()}
for who, learner in learners.items():
    answer = answers_of(learner, prompts)
    print(who)
    for name, bias in BIASES.items():
        found = fit_strength(bias, families[name], answer, unit, np.asarray(prompts.scored))
        print(
            f"  {bias.title:32} {found.strength:.3f} [{found.low:.3f}, {found.high:.3f}]  explains {1 - found.left:.0%}"
        )

# %% [markdown]
# A fault that explains little describes nothing, whatever its strength. Of this transformer, trained for a minute, the
# best description is that it makes too little of the examples, and that explains a quarter of what keeps it from the
# exact answer; the others explain a tenth at most.

# %% [markdown]
# ## A sweep
#
# Strengths are increasing and begin with no change. Here an example with the query's own input moves away from it.

# %%
perturbation = PERTURBATIONS["recency"]
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for who, learner in learners.items():
    moved = []
    for strength in perturbation.strengths:
        given = stressed(perturbation, task, jax.random.key(3), 128, strength)
        moved.append(terms(perturbation, given, learner, strength).distance)
    low, high = bootstrap_interval(np.stack(moved))
    axis.fill_between(perturbation.strengths, low, high, color=COLOURS[who], alpha=0.15)
    axis.plot(perturbation.strengths, np.mean(moved, axis=1), "o-", ms=4, color=COLOURS[who], label=who)
axis.set(xlabel=perturbation.unit, ylabel="distance from the exact answer (nats)")
axis.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## One of your own
#
# A perturbation is a `Perturbation` with a name, strengths, and one of three hooks: `task` for a change that has a
# prior of its own (its exact predictive is then c), `prompts` for a change of the drawn prompts, `format` for one of
# what the subject reads. In the lab it is a file in `icl_lab/stress/perturbations` and a line in its table. This one
# repeats the first example at the end, once more: the posterior counts it twice, whoever does not know that it is a
# copy.


# %%
def repeat_first(task, prompts, key, strength):
    if not strength:
        return prompts
    last = prompts.positions - 2
    x = prompts.x.at[:, last].set(prompts.x[:, 0])
    y = prompts.y.at[:, last].set(prompts.y[:, 0])
    return prompts.replace(x=x, y=y, scored=prompts.scored & (jnp.arange(prompts.positions) > last))


REPEATED = Perturbation(
    name="repeated",
    title="the first example repeated",
    question="does an example said twice count twice?",
    unit="no (0) or yes (1)",
    strengths=(0.0, 1.0),
    standard=1.0,
    prompts=repeat_first,
)
both = composed("both", "noisy labels, then repeated", [(PERTURBATIONS["label_noise"], 0.25), (REPEATED, 1.0)])
for perturbation in (REPEATED, both):
    given = stressed(perturbation, task, jax.random.key(4), 128, 1.0)
    print(perturbation.title)
    for who, learner in learners.items():
        found = terms(perturbation, given, learner, 1.0)
        print(f"  {who:14} bias {found.bias.mean():+.3f}, mismatch {found.mismatch.mean():.3f} nats")

# %% [markdown]
# For a trained run all of this is one command, `icl-lab stress RUN`; its profile is part of the run's report. What the
# lab finds with it is in the README under "Stress tests".
