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
# # One model per family: train it, judge it, look inside
#
# Three small transformers, a minute of training each on two cores: one layer of linear attention on linear regression,
# attention on Markov chains, a transformer on Boolean rules. Each is asked which of five explanations describes what it
# answers: Bayesian inference (H1), kernel regression (H2), meta-learning (H3), retrieval (H4), implicit gradient
# descent (H5). Nothing here is special to a family: prompts go in, predictions come out.

# %%
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from icl_lab.commands.train import train_subject
from icl_lab.config.config import parse_config
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import build_bank
from icl_lab.judging.judge import judge_learner, owner_of
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.probes import alignment, induction_scores, mean_attention, query_sensitivity
from icl_lab.report.experiments import plain_ticks
from icl_lab.report.text.vocabulary import COLOURS

# %% [markdown]
# ## Train
#
# A subject is a task, a format that turns prompts into tokens, a model and how it is trained; the same text could stand
# in a YAML file for `icl-lab run`. Every subject trains two members that differ in their seed.

# %%
config = parse_config(
    {
        "name": "notebook",
        "subjects": {
            "regression": {
                "task": {"kind": "linear_regression", "dimension": 3, "examples": 8, "noise": 0.5},
                "format": "paired",
                "model": {
                    "attention": "linear",
                    "mask": "context",
                    "mlp": 0,
                    "normalisation": "none",
                    "positions": "none",
                    "embedding": False,
                    "bias": False,
                    "initialisation": "normal",
                    "initial_scale": 5.0,
                },
                "training": {"steps": 1200, "batch": 512, "learning_rate": 0.01, "schedule": "cosine", "loss": "last"},
                "ensemble": {"seeds": 2},
            },
            "chains": {
                "task": {"kind": "markov_chain", "states": 3, "examples": 31},
                "format": "stream",
                "model": {"layers": 2, "heads": 1, "width": 16, "mlp": 0, "positions": "relative"},
                "training": {"steps": 1500, "batch": 64, "learning_rate": 0.003, "schedule": "cosine"},
                "ensemble": {"seeds": 2},
            },
            "rules": {
                "task": {"kind": "boolean_rules", "bits": 3, "examples": 11, "noise": 0.05},
                "model": {"layers": 2, "heads": 2, "width": 32},
                "training": {"steps": 1500, "batch": 64, "learning_rate": 0.003, "schedule": "cosine"},
                "ensemble": {"seeds": 2},
            },
        },
    },
    "notebook",
)
folder = Path(tempfile.mkdtemp())
trained = {name: train_subject(name, subject, folder / name) for name, subject in config.subjects.items()}

# %% [markdown]
# ## Judge
#
# The reference bank holds the answers of reference algorithms on prompts of every regime; here a dozen of them. Free
# parameters are fitted to the subject on calibration prompts, frozen, and then the distance in nats decides. A verdict
# is "unexplained" where the nearest reference leaves more than 2% of the answers: after a minute of training two of
# the three still are, and the distances say what they are on their way to.

# %%
NAMES = (
    *("population_bayes", "ridge", "context_counts"),
    *("nadaraya_watson", "softmax_kernel", "linear_kernel"),
    *("nearest_neighbour", "population_map"),
    *("gd_1", "gd_2", "preconditioned_gd_1"),
    *("label_mean", "previous_label"),
)
few = {name: REFERENCES[name] for name in NAMES}

banks, verdicts, distances = {}, {}, {}
for name, subject in trained.items():
    bank = build_bank(subject.members[0].member.task, prompts=128, calibration=128, references=few)
    answered = np.zeros(bank.prompts.positions, bool)
    answered[subject.format.answers(bank.prompts.positions)] = True
    banks[name] = bank.score(answered)
    prompts = jax.tree.map(jnp.asarray, bank.prompts)
    found = [judge_learner(banks[name], jax.tree.map(np.asarray, subject.learner(i)(prompts))) for i in range(2)]
    verdicts[name], distances[name] = zip(*found, strict=True)
    for verdict in verdicts[name]:
        said = ", ".join(verdict.supported) or f"{verdict.remainder:.0%} left"
        print(f"{name:11} {verdict.status:12} ({said}); nearest {', '.join(verdict.near[:3])}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(15, 4), layout="constrained")
for axis, (name, compared) in zip(axes, distances.items(), strict=True):
    table = np.array([each.distance[each.regimes.index("in_distribution")] for each in compared])
    references = compared[0].references
    order = np.argsort(table.mean(0))
    for place, index in enumerate(order):
        axis.plot(table[:, index], [place] * len(table), "o", color=COLOURS[owner_of(references[index])], alpha=0.8)
    labels = [f"{REFERENCES[references[i]][1].title} ({owner_of(references[i])})" for i in order]
    axis.set_yticks(range(len(order)), labels)
    axis.invert_yaxis()
    axis.set(xscale="log", xlabel="distance (nats per position)", title=f"{name}: a dot per seed")
    plain_ticks(axis.xaxis)
    axis.tick_params(axis="x", labelsize=7.5)
plt.show()

# %% [markdown]
# The head of linear attention is one gradient step, which is an unnormalised linear kernel as well: the two are the
# same function. On chains with Dirichlet rows the posterior predictive *is* counting transitions, which is a kernel
# that matches contexts: H1 and H2 cannot be told apart there, and the lab does not try to.

# %% [markdown]
# ## Look inside
#
# The query's sensitivity ∂ŷ/∂x of the linear head points where the gradient step's does.

# %%
subject, bank = trained["regression"], banks["regression"]
prompts = jax.tree.map(lambda leaf: jnp.asarray(leaf[bank.slices["in_distribution"]]), bank.prompts)
for index, compared in enumerate(distances["regression"]):
    rate = compared.fits["gd_1"].parameters["rate"]
    descent = ReferenceLearner(bank.task, {"rate": jnp.float32(rate)}, REFERENCES["gd_1"][1])
    cosine = alignment(query_sensitivity(subject.learner(index), prompts), query_sensitivity(descent, prompts))
    print(f"seed {index}: cosine with one gradient step of size {rate:.2f}: {float(cosine.mean()):.4f}")

# %% [markdown]
# The model of chains should look back at what followed the same state, through a head that looks at the state before.

# %%
subject, bank = trained["chains"], banks["chains"]
prompts = jax.tree.map(lambda leaf: jnp.asarray(leaf[bank.slices["in_distribution"]]), bank.prompts)
outcomes = bank.task.outcomes
for step in (0, subject.steps[-1]):
    scores = induction_scores(
        subject.model, subject.format, subject.learner(0, subject.snapshots.load(step)).params, prompts, outcomes
    )
    shown = "; ".join(f"{name} by layer {np.round(np.asarray(value)[:, 0], 2)}" for name, value in scores.items())
    print(f"step {step}: {shown}")

pattern = np.asarray(
    mean_attention(
        subject.model, subject.format, subject.learner(0).params, jax.tree.map(lambda leaf: leaf[:1], prompts), outcomes
    )
)
states = np.asarray(prompts.x[0].argmax(-1))
figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
for layer, axis in enumerate(axes):
    image = axis.imshow(pattern[layer, 0, :16, :16], cmap="viridis", vmin=0, vmax=1)
    axis.set_xticks(range(16), states[:16])
    axis.set_yticks(range(16), states[:16])
    axis.set(title=f"layer {layer}", xlabel="state attended to", ylabel="state asking")
figure.colorbar(image, ax=axes, label="attention")
plt.show()

# %% [markdown]
# The model of rules reads examples that agree with the query: how its answers sharpen as the version space shrinks.

# %%
subject, bank = trained["rules"], banks["rules"]
rows = bank.slices["in_distribution"]
prompts = jax.tree.map(lambda leaf: jnp.asarray(leaf[rows]), bank.prompts)
y = np.asarray(prompts.y)
figure, axis = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
for index in range(2):
    label = "model, each seed" if index == 0 else None
    axis.plot(np.asarray(subject.learner(index)(prompts).loss(y)).mean(0), color="black", lw=1, label=label)
exact = np.asarray(bank.task.population_predictive(prompts).loss(y)).mean(0)
axis.plot(exact, "--", color=COLOURS["H1"], label="exact posterior")
axis.axhline(np.log(2), color="0.6", lw=0.8)
axis.annotate("guessing", (0.1, np.log(2)), xytext=(0, 3), textcoords="offset points")
axis.set(xlabel="examples before the query", ylabel="cross-entropy (nats)", ylim=(0, 0.8))
axis.legend(frameon=False)
plt.show()

# %% [markdown]
# Next: `make quickstart` judges a model of every family with all references, controls and intervals, and writes a
# report; `experiments/` reproduces published results with one command each.
