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
# # Bring your own learner
#
# Whatever answers a prompt can be judged: a model trained elsewhere, in any framework, or a rule of ten lines. It has
# to be a function from numpy arrays to numpy arrays,
#
#     answer(x, y) -> answers        x [batch, position, feature], y [batch, position]
#
# and to keep one promise: the answer at position i uses the examples before i and the input x_i, and nothing else. That
# is also what makes one call answer every number of examples, from none to all of them.
#
# This tutorial takes well under a minute on one core. Intervals are 95% bootstrap intervals over prompts.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from icl_lab.commands.judge import adapted
from icl_lab.core.errors import InputError
from icl_lab.core.statistics import bootstrap_interval
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import build_bank
from icl_lab.judging.judge import judge_learner, owner_of
from icl_lab.learners.outside import OutsideLearner, peeks
from icl_lab.probes.behaviour.battery import BATTERY, ask, read
from icl_lab.report.text.vocabulary import COLOURS
from icl_lab.tasks import LinearRegression, Pool

plt.rcParams.update({"figure.dpi": 80, "axes.titlesize": 10, "axes.labelsize": 9})

# %% [markdown]
# ## Three learners in numpy
#
# The answers are means where outcomes are real numbers, [batch, position]; where they are classes they are
# probabilities, [batch, position, class].


# %%
def smoother(x, y, bandwidth=1.0):
    """An average of the labels before, weighted by how near their inputs are."""
    distance = np.square(x[:, :, None] - x[:, None]).sum(-1)
    before = np.tri(x.shape[1], k=-1)
    weight = before * np.exp(-distance / (2 * bandwidth**2))
    return (weight * y[:, None]).sum(-1) / np.maximum(weight.sum(-1), 1e-12)


def least_squares(x, y, forgetting=1.0, penalty=0.3):
    """Ridge regression on the examples before; each of them counts `forgetting` times what the next one does."""
    batch, positions, size = x.shape
    answers = np.zeros((batch, positions))
    gram, moment = np.tile(penalty * np.eye(size), (batch, 1, 1)), np.zeros((batch, size))
    for i in range(positions):
        answers[:, i] = (x[:, i] * np.linalg.solve(gram, moment[..., None])[..., 0]).sum(-1)
        gram = forgetting * gram + x[:, i, :, None] * x[:, i, None] + (1 - forgetting) * penalty * np.eye(size)
        moment = forgetting * moment + x[:, i] * y[:, i, None]
    return answers


def ridge(x, y):
    return least_squares(x, y)


def forgetful(x, y):
    return least_squares(x, y, forgetting=0.6)


# %% [markdown]
# ## Judge them
#
# `OutsideLearner` makes the function a learner. `build_bank` draws prompts of every regime and computes the answers of
# reference algorithms on them, once for all subjects; `judge_learner` fits the references' free parameters to the
# subject on calibration prompts, freezes them and measures distances. Thirteen references and 128 prompts a regime keep
# this quick. For a claim leave `references` and `prompts` out: all references and decoys then take part, and a
# hypothesis is refuted by all of its references, not by some.

# %%
task = LinearRegression(dimension=3, examples=8, noise=0.5, prior=Pool(8))
NAMES = (
    *("pool_bayes", "population_bayes", "ridge", "linear_kernel", "kernel_ridge", "nadaraya_watson"),
    *("softmax_kernel", "pool_map", "nearest_neighbour", "gd_1", "gd_2", "label_mean", "previous_label"),
)
bank = build_bank(task, prompts=128, calibration=128, references={name: REFERENCES[name] for name in NAMES})
learners = {function.__name__: OutsideLearner(function, task.outcomes) for function in (smoother, ridge, forgetful)}
found = {name: judge_learner(bank, learner(bank.prompts)) for name, learner in learners.items()}
for name, (verdict, _) in found.items():
    said = ", ".join(verdict.supported) or verdict.reasons[0]
    print(f"{name:10} {verdict.status:12} {said}; nearest {', '.join(verdict.near[:3])}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained", sharex=True)
for axis, (name, (_, distances)) in zip(axes, found.items(), strict=True):
    regime = distances.regimes.index("in_distribution")
    # What is nearer than a millionth of a nat is drawn there.
    mean, low, high = np.maximum([distances.distance[regime], *distances.interval()[:, regime]], 1e-6)
    order = np.argsort(mean)
    for place, index in enumerate(order):
        colour = COLOURS[owner_of(distances.references[index])]
        axis.plot([low[index], high[index]], [place, place], color=colour)
        axis.plot(mean[index], place, "o", color=colour, ms=5)
    titles = [REFERENCES[distances.references[i]] for i in order]
    axis.set_yticks(range(len(order)), [f"{reference.title} ({owner})" for owner, reference in titles], size=8)
    axis.invert_yaxis()
    axis.set(xscale="log", xlim=(4e-7, 30), xlabel="distance (nats per position)", title=name)
plt.show()

# %% [markdown]
# The numpy smoother *is* Nadaraya-Watson. The numpy ridge is ridge (H2), and with about the penalty σ²/τ² of the
# training prior also the posterior mean under it: H1 and H2 are the same function there and are supported together.
# The forgetful one is nearest to ridge too, but leaves more of its answers unexplained than the 2% that the judge lets
# pass, so nothing is claimed of it. Nearest is not near.

# %% [markdown]
# ## What a learner must not do
#
# `peeks` changes, at a few positions, the outcome and all that comes after it, and looks for earlier answers that move.
# It gives the first position whose answer does, or None.


# %%
def average(x, y):
    """The mean label so far, which by mistake includes the one that is asked for."""
    mean = np.cumsum(y, axis=1) / np.arange(1, y.shape[1] + 1)
    mean[:, 0] = 0  # no example yet
    return mean


prompts = jax.tree.map(lambda leaf: leaf[:4], bank.prompts)
print("smoother:", peeks(learners["smoother"], prompts))
print("average: ", peeks(OutsideLearner(average, task.outcomes), prompts))

# %% [markdown]
# `icl-lab judge` tries a callable before anything else and says in one line what is wrong. `adapted` is that trial;
# `my_model:…` is the name it would have on the command line.


# %%
def broken(x, y):
    return x @ np.ones(7)


for function in (average, broken):
    try:
        adapted(f"my_model:{function.__name__}", function, task, seed=0)
    except InputError as error:
        print(error)

# %% [markdown]
# ## One that answers the last position only
#
# Many models are trained to answer one query. Say so with `last_only=True`: the function then returns [batch] (or
# [batch, class]), the other positions hold NaN, and the bank must be told which positions count.


# %%
def nearest(x, y):
    """The label of the nearest example, for the last input alone."""
    closest = np.square(x[:, :-1] - x[:, -1:]).sum(-1).argmin(-1)
    return y[np.arange(len(y)), closest]


query_only = OutsideLearner(nearest, task.outcomes, last_only=True)
last = np.arange(task.positions) == task.positions - 1
verdict, _ = judge_learner(bank.score(last), query_only(bank.prompts))
print(f"nearest: {verdict.status} {', '.join(verdict.supported)}; nearest {verdict.nearest}")

# %% [markdown]
# One position of nine is less evidence. If the model takes shorter prompts, ask it for every prefix and answer all
# positions: `np.stack([nearest(x[:, : i + 1], y[:, : i + 1]) for i in range(1, x.shape[1])], 1)`, with whatever it says
# to no example at all in front.

# %% [markdown]
# ## Ask it more: the battery
#
# The judge says which function a learner is near to. Probes of the battery say what it *does*, and need no reference.
# `ask` makes the questions of a probe once; `read` puts them to a learner. (`BATTERY[name](learner, task, key)` does
# both.) They need calls only, so they run on any learner; a probe that needs ∂ŷ/∂x does not run on a numpy function.

# %%
SHOWN = {
    ("influence", "negative share"): "share of negative\ninfluences",
    ("influence", "sum"): "sum of influences",
    ("influence", "recency"): "recency of influences\n(−1 first, 1 last example)",
    ("interaction", "turn"): "turn of influences when\nanother example moves",
    ("order_variance", "nats"): "spread over orders of\nthe examples (nats)",
}
questions = {name: ask(BATTERY[name], task, jax.random.key(0), 128) for name, _ in SHOWN}
asked = {**learners, "nearest": query_only}
measured = {
    (name, who): np.asarray(read(BATTERY[name], learner, task, question))
    for name, question in questions.items()
    for who, learner in asked.items()
}
figure, axes = plt.subplots(1, len(SHOWN), figsize=(12, 2.5), layout="constrained", sharey=True)
for axis, ((name, statistic), title) in zip(axes, SHOWN.items(), strict=True):
    column = BATTERY[name].statistics.index(statistic)
    for place, who in enumerate(asked):
        values = measured[name, who][:, column]
        low, high = bootstrap_interval(values)
        axis.plot([low, high], [place, place], color="#0072B2")
        axis.plot(values.mean(), place, "o", color="#0072B2", ms=5)
    axis.axvline(0, color="0.7", lw=0.8)
    axis.set(xlabel=title)
axes[0].set_yticks(range(len(asked)), list(asked))
axes[0].invert_yaxis()
plt.show()

# %% [markdown]
# Smoothing and copying give weights that are never negative and sum to one; regression does not. Where one example
# moves, the smoother rescales the others' weights together (no turn), regression turns them. And the forgetful learner
# gives itself away: recent examples weigh more, and another order of the same examples gets another answer. That is
# what no reference of the bank does, and why the judge found none.

# %% [markdown]
# ## A PyTorch model
#
# PyTorch is no dependency of the lab, so this is to be read, not run. Write a module that loads the model and has a
# function like those above. The arrays that it gets may be read-only: `torch.tensor` copies them.
#
# ```python
# # my_model.py
# import torch
# from torch import nn
#
#
# class InContext(nn.Module):
#     """A causal transformer over the tokens x_0, y_0, x_1, y_1, …, which answers y_i at the token of x_i."""
#
#     def __init__(self, features, width=64, heads=4, layers=3, longest=64):
#         super().__init__()
#         self.embed = nn.Linear(features + 1, width)
#         self.place = nn.Embedding(2 * longest, width)
#         layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
#         self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
#         self.read = nn.Linear(width, 1)
#
#     def forward(self, x, y):
#         asking = torch.cat([x, torch.zeros_like(x[..., :1])], -1)
#         telling = torch.cat([torch.zeros_like(x), y[..., None]], -1)
#         tokens = torch.stack([asking, telling], 2).flatten(1, 2)[:, :-1]  # the last outcome never enters
#         count = tokens.shape[1]
#         stream = self.embed(tokens) + self.place(torch.arange(count))
#         stream = self.blocks(stream, mask=nn.Transformer.generate_square_subsequent_mask(count))
#         return self.read(stream[:, ::2])[..., 0]
#
#
# MODEL = InContext(features=5)
# MODEL.load_state_dict(torch.load("my_model.pt", map_location="cpu", weights_only=True))
# MODEL.eval()
#
#
# @torch.inference_mode()
# def answer(x, y):
#     """A model that answers every position: [batch, position]."""
#     return MODEL(torch.tensor(x), torch.tensor(y)).numpy()
#
#
# @torch.inference_mode()
# def last(x, y):
#     """A model that answers the last query only: [batch]. Its y is there, but it must not be looked at."""
#     x, y = torch.tensor(x), torch.tensor(y)
#     y[:, -1] = 0
#     return MODEL(x, y)[:, -1].numpy()
# ```
#
# Of classes, `answer` returns `logits.softmax(-1).numpy()`, [batch, position, class], and `y` holds integers.
#
# The task comes from a configuration, the one of its first subject (or of `--subject NAME`): the distribution that the
# model was trained on, or the judge compares it with the wrong posterior.
#
# ```yaml
# # mine.yaml
# subjects:
#   mine:
#     task: {kind: linear_regression, dimension: 5, examples: 12, noise: 0.5, pool: 64}
# ```
#
# In the folder that holds both files,
#
#     icl-lab judge my_model:answer --config mine.yaml
#     icl-lab judge my_model:last --config mine.yaml
#
# try the callable, judge it against every reference, print the scoreboard and end with the path of a report. Whether it
# answers all positions or the last only is seen from the shape. Judged again without a change of the file, the run is
# reused. A task of your own is named `kind: "my_tasks:MyTask"`; `icl-lab new-task NAME` writes one to begin with.
#
# What happens *inside* such a model the lab cannot see, so the verdict is about the function, and the mechanism stays
# "not tested"; [`02_look_inside`](02_look_inside.ipynb) shows what more can be said of a model in the lab's own format.
