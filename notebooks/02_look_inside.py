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
# # Look inside: probes that find what was built, and nothing where nothing is
#
# A picture of attention tells a good story about any network. So this tutorial starts with transformers whose weights
# were set by hand: there it is known which head does what, and a probe can be *wrong*. Every measurement is repeated on
# the same network with random weights, where there is nothing to find. Only then is a transformer trained, and asked
# the same questions.
#
# It takes about a minute on one core. Intervals are 95% bootstrap intervals over prompts.

# %%
import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from icl_lab.core.statistics import bootstrap_interval
from icl_lab.formats import Paired
from icl_lab.learners import TransformerLearner
from icl_lab.learners.answers import sample
from icl_lab.learners.constructions import CONSTRUCTIONS
from icl_lab.mechanisms.controls import random_control
from icl_lab.models import Model, TransformerConfig
from icl_lab.probes import induction_scores, mean_attention
from icl_lab.probes.inside.ablation import joint_ablation_effect, random_sets
from icl_lab.probes.inside.attribution import logit_attribution, parts
from icl_lab.probes.inside.interventions import ALL, together, untouched, worlds
from icl_lab.probes.inside.patching import interchange_effect, patched_answers
from icl_lab.probes.inside.prompt_pairs import counterpart
from icl_lab.probes.inside.readout import linear_predictions, residual_streams, thirds
from icl_lab.probes.inside.sufficient_statistics import pool_weights, shuffled
from icl_lab.tasks import LinearRegression, Pool
from icl_lab.training import Member, TrainingSettings, init_state, stack, train_chunk

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#8C8C8C"  # colour-blind safe (Okabe and Ito)
plt.rcParams.update({"figure.dpi": 72, "legend.frameon": False, "legend.fontsize": 8, "axes.titlesize": 10})


def dots(axis, places, samples, colour, **style):
    """Means over the last axis with their intervals."""
    mean, (low, high) = samples.mean(-1), bootstrap_interval(samples)
    spread = np.maximum(np.stack([mean - low, high - mean]), 0)
    axis.errorbar(mean, places, xerr=spread, fmt="o", color=colour, ms=5, lw=1.3, **style)


# %% [markdown]
# ## An induction head in a haystack
#
# `CONSTRUCTIONS` holds transformers built by hand, each with a small task and the algorithm that it equals. This one
# reads Markov chains and answers with smoothed bigram counts. Two heads do it.

# %%
built = CONSTRUCTIONS["bigram_counts"]
chain = built.task
print(f"{built.title} ({built.hypothesis}): {built.mechanism}.")

# %% [markdown]
# One head a layer is too easy to find. `hide` puts each beside three random heads, which attend as sharply and write as
# much, but into channels that nobody reads. So two of eight heads matter: number 2 in layer 0 and number 1 in layer 1.

# %%
PLACES = (2, 1)


def hide(learner, places, heads=4, spare=8, seed=0):
    """The same learner with its only head of every layer at the place given, among random ones."""
    old, noise = learner.model.config, np.random.default_rng(seed)
    size, width = old.size_of_head, old.width
    model = Model(dataclasses.replace(old, heads=heads, head_size=size, width=width + spare))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), jax.eval_shape(model.init, jax.random.key(0)))
    own = jax.device_get(learner.params)

    def corner(wide, narrow):
        wide[tuple(slice(0, length) for length in narrow.shape)] = narrow

    jax.tree.map(corner, params, own)
    for layer, place in enumerate(places):
        wide, narrow = params["layers"][str(layer)]["attention"], own["layers"][str(layer)]["attention"]
        for name in ("query", "key", "value"):
            kernel = narrow[name]["kernel"]
            by_head = wide[name]["kernel"].reshape(-1, heads, size)
            by_head[:] = noise.normal(size=by_head.shape) * np.sqrt(np.mean(kernel**2))
            by_head[:, place] = 0
            by_head[:width, place] = kernel
            if "bias" in narrow[name]:
                by_head = wide[name]["bias"].reshape(heads, size)
                by_head[:] = 0
                by_head[place] = narrow[name]["bias"]
        kernel, by_head = narrow["output"]["kernel"], wide["output"]["kernel"].reshape(heads, size, -1)
        by_head[:] = 0
        by_head[:, :, width:] = noise.normal(size=(heads, size, spare)) * np.sqrt(np.mean(kernel**2))
        by_head[place] = 0
        by_head[place, :, :width] = kernel
    return dataclasses.replace(learner, params=jax.tree.map(jnp.asarray, params), model=model)


@jax.jit
def answer(learner, prompts):
    return learner(prompts)


hidden = hide(built.build(chain), PLACES)
learners = {"built": hidden, "random weights": random_control(hidden, jax.random.key(1))}
chains = jax.device_get(sample(chain, jax.random.key(0), 256))
counts = answer(built.algorithm(chain), chains)
for name, learner in learners.items():
    apart = np.asarray(counts.divergence(answer(learner, chains), 1.0))
    print(f"{name:14}: {abs(apart.mean()):.6f} nats from bigram counts")

# %% [markdown]
# ### Read its attention
#
# `induction_scores` measures two shares of every head's attention: what it pays to the token before, and what it pays
# to the tokens that followed the same state earlier.

# %%
positions = chain.positions
one = jax.tree.map(lambda leaf: leaf[:1], chains)
states = one.x[0].argmax(-1)
pattern = np.asarray(mean_attention(hidden.model, hidden.format, hidden.params, one, chain.outcomes))
figure, axes = plt.subplots(1, 4, figsize=(11, 3), layout="constrained", width_ratios=(1, 1, 1, 1.2))
shown = {"layer 0, built head": (0, 2), "layer 1, built head": (1, 1), "layer 1, a random head": (1, 0)}
for axis, (title, (layer, head)) in zip(axes, shown.items(), strict=False):
    image = axis.imshow(pattern[layer, head, :12, :12], cmap="cividis", vmin=0, vmax=1)
    axis.set_xticks(range(12), states[:12])
    axis.set_yticks(range(12), states[:12])
    axis.set(title=title, xlabel="state attended to", ylabel="state asking")
figure.colorbar(image, ax=axes[:3], label="attention weight", shrink=0.8)
for (name, learner), colour in zip(learners.items(), (BLUE, ORANGE), strict=True):
    found = induction_scores(learner.model, learner.format, learner.params, chains, chain.outcomes)
    before, after = (np.asarray(found[key]) for key in ("previous token", "prefix matching"))
    axes[3].plot(before.ravel(), after.ravel(), "o", color=colour, label=name, alpha=0.8)
    if name == "built":
        for layer, head in enumerate(PLACES):
            where = (before[layer, head], after[layer, head])
            axes[3].annotate(f"{layer}.{head}", where, xytext=(6, 4), textcoords="offset points", color=colour)
axes[3].set(xlabel="share paid to the token before", ylabel="share paid to matches")
axes[3].set(title="all 16 heads", xlim=(-0.05, 1.1), ylim=(-0.05, 1.1))
axes[3].legend()
plt.show()

# %% [markdown]
# Left: the head of layer 0 looks one token back; the head of layer 1 looks at every token whose predecessor was the
# present state, and at the first token, where the prior is kept. Right: head 0.2 is found at a glance. Head 1.1 is the
# first among the matchers, but not by much: part of its attention rests on the first token, and of three states a third
# of all tokens match anyway. A score of attention alone could miss it.

# %% [markdown]
# ### Patch one head between two prompts
#
# Looking is not causing. Run prompt A, but let one head write what it writes in prompt B. A *world* is one such altered
# run; all of them are one compiled program. The effect is how far the answer moves from A's to B's: 0 not at all, 1 all
# the way.

# %%
CONFIG, TOKENS = hidden.model.config, hidden.format.tokens(positions)
layer, head = (part.ravel() for part in np.meshgrid(range(CONFIG.layers), range(CONFIG.heads), indexing="ij"))
which = together(untouched(CONFIG, "z", TOKENS), worlds(CONFIG, "z", TOKENS, layer, head, np.array(ALL)))
A, B = (jax.tree.map(lambda leaf, half=half: leaf[half], chains) for half in (slice(0, 128), slice(128, 256)))


def shares(natural):
    """Probabilities of the three states at the last token."""
    raised = np.exp(np.asarray(natural)[..., 0, :] - np.asarray(natural)[..., 0, :].max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


patched, effect = {}, {}
for name, learner in learners.items():
    patched[name] = shares(patched_answers(learner, B, A, which, "z"))
    to_a, to_b = patched[name][0], np.exp(answer(learner, chains).log_probs[128:, -1])
    moved = ((patched[name][CONFIG.layers :] - to_a) * (to_b - to_a)).sum(-1)
    effect[name] = moved / np.maximum(np.square(to_b - to_a).sum(-1), 1e-3)

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.3), layout="constrained", width_ratios=(1.25, 1))
to_b = np.exp(answer(hidden, chains).log_probs[128:, -1])
pair = int(np.square(to_b - patched["built"][0]).sum(-1).argmax())
bars = {
    "A": (patched["built"][0, pair], GREY),
    "B": (to_b[pair], "black"),
    "A, head 1.1 from B": (patched["built"][CONFIG.layers + 5, pair], BLUE),
    "A, head 0.2 from B": (patched["built"][CONFIG.layers + 2, pair], GREEN),
    "A, head 1.0 from B": (patched["built"][CONFIG.layers + 4, pair], ORANGE),
}
for index, (name, (share, colour)) in enumerate(bars.items()):
    axes[0].bar(np.arange(3) + 0.16 * (index - 2), share, width=0.15, color=colour, label=name)
axes[0].set_xticks(range(3))
axes[0].set(xlabel="next state", ylabel="probability answered", title="one pair of prompts", ylim=(0, 1))
axes[0].legend()
for (name, found), colour, shift in zip(effect.items(), (BLUE, ORANGE), (-0.12, 0.12), strict=True):
    dots(axes[1], np.arange(8) + shift, found, colour, label=name)
axes[1].set_yticks(range(8), [f"{a}.{b}" for a, b in zip(layer, head, strict=True)])
axes[1].invert_yaxis()
axes[1].axvline(0, color="0.7", lw=0.8)
axes[1].axvline(1, color="0.7", lw=0.8, ls="--")
axes[1].set(xlabel="effect: 0 = A's answer, 1 = B's answer", ylabel="head patched (layer.head)", title="128 pairs")
axes[1].legend()
plt.show()

# %% [markdown]
# Patching head 1.1 turns the answer to A into the answer to B exactly: everything goes through it. Head 0.2 has a part
# in it, and the six random ones none, although they write as much. With random weights no head carries the answer.

# %% [markdown]
# ### Ablate it, against random heads
#
# Take both heads out (they write what they write in another prompt) and see what the loss costs. The control is as many
# other heads of the same layers, since any head costs something in a network that is used to it. Here all nine such
# pairs are drawn, and three networks with random weights.

# %%
chosen = np.zeros((2, 4), bool)
chosen[(0, 1), PLACES] = True


def with_random_sets(chosen):
    """The chosen set of heads first, then random ones of as many other heads in every layer, each once."""
    drawn = np.asarray(random_sets(jax.random.key(3), jnp.asarray(chosen), 40))
    return jnp.asarray(np.concatenate([chosen[None], np.unique(drawn, axis=0)]))


compared = {"built": hidden} | {f"random weights {i}": random_control(hidden, jax.random.key(i)) for i in (1, 2, 3)}
figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
for row, learner in enumerate(compared.values()):
    rise = np.asarray(joint_ablation_effect(learner, chains, with_random_sets(chosen), by="resample"))
    label = ("9 other pairs of heads", "heads 0.2 and 1.1") if row == 0 else (None, None)
    dots(axis, row + np.linspace(-0.3, 0.3, len(rise) - 1), rise[1:], GREY, label=label[0], alpha=0.6)
    dots(axis, [row], rise[:1], BLUE, label=label[1])
axis.set_yticks(range(4), list(compared))
axis.axvline(0, color="0.7", lw=0.8)
axis.set(xlabel="rise of the loss at the last token (nats)", ylim=(3.6, -0.6))
axis.legend()
plt.show()

# %% [markdown]
# Without the two heads the loss rises, and without any other pair it does not change at all: nobody reads what those
# write. With random weights no interval of the two heads leaves zero: they are a pair like any other.

# %% [markdown]
# ## A posterior that is stored in the weights
#
# The second construction knows four regression tasks. Its last head attends to them, and the attention *is* the
# posterior: how probable each is after the examples. A read-out is a ridge regression from the stream at the query to
# a statistic of the prompt; a third of the prompts fits it, a third sets its penalty, a third scores it.

# %%
task = LinearRegression(dimension=2, examples=8, noise=0.5, prior=Pool(4))
MEMBERS = 4


@jax.jit
def draw(task, key):
    """Prompts, the same inputs under another latent, the posterior over the pool of both, and the pool."""
    prompts_key, other_key = jax.random.split(key)
    prompts = task.sample(prompts_key, 768)
    other = counterpart(task, prompts, other_key)
    pool = jax.vmap(task.pool_latent)(jnp.arange(MEMBERS))
    return prompts, other, pool_weights(task, prompts, MEMBERS), pool_weights(task, other, MEMBERS), pool


prompts, other, posterior, posterior_of_other, pool = jax.device_get(draw(task, jax.random.key(5)))
exact, exact_of_other = ((p * (prompts.x[:, -1] @ pool.T)).sum(-1) for p in (posterior, posterior_of_other))
bayes = CONSTRUCTIONS["pool_posterior"].build(task)
bayesian = {"built": bayes, "random weights": random_control(bayes, jax.random.key(2))}
shuffle = np.asarray(shuffled(jax.random.key(3), posterior))


@jax.jit
def read_out(learner, prompts, targets):
    """What a ridge read-out of every layer's stream at the query says of the targets."""
    return linear_predictions(residual_streams(learner, prompts)[:, -1], targets)


def scores(learner, targets, draws=300):
    """Held-out R² of every layer, and of as many bootstrap samples of the prompts: [1 + draw, layer]."""
    fit, _, score = thirds(len(targets))
    found = np.asarray(read_out(learner, prompts, targets))[:, score]
    left = np.square(found - targets[score]).sum(-1)
    whole = np.square(targets[score] - targets[fit].mean(0)).sum(-1)
    rows = np.random.default_rng(0).integers(len(whole), size=(draws, len(whole)))
    rows = np.concatenate([np.arange(len(whole))[None], rows])
    return 1 - left[:, rows].sum(-1).T / whole[rows].sum(-1)[:, None]


def show_scores(axis, rows, labels):
    """R² by layer, a line per row, with the interval."""
    for index, (name, (found, style)) in enumerate(rows.items()):
        low, high = np.quantile(found[1:], [0.025, 0.975], axis=0)
        place = np.arange(len(labels)) + 0.06 * (index - len(rows) / 2)
        spread = np.maximum(np.stack([found[0] - low, high - found[0]]), 0)
        axis.errorbar(place, found[0], yerr=spread, fmt="o", ms=4, lw=1.2, label=name, **style)
    axis.set_xticks(range(len(labels)), labels)
    axis.set(xlabel="stream at the query after", ylabel="held-out R² of the posterior (no unit)", ylim=(-0.3, 1.05))
    axis.axhline(0, color="0.7", lw=0.8)


# %%
last_query = jax.tree.map(lambda leaf: leaf[:200], prompts)


@jax.jit
def attention_to_members(learner, prompts):
    """Attention of the query to the pool's members in the last layer, prompt by prompt."""

    def of_one(prompt):
        alone = jax.tree.map(lambda leaf: leaf[None], prompt)
        return mean_attention(learner.model, learner.format, learner.params, alone)[-1, 0, -1, :MEMBERS]

    return jax.vmap(of_one)(prompts)


figure, axes = plt.subplots(1, 2, figsize=(9, 3.3), layout="constrained")
for (name, learner), colour in zip(bayesian.items(), (BLUE, ORANGE), strict=True):
    attention = np.asarray(attention_to_members(learner, last_query))
    axes[0].plot(posterior[:200].ravel(), attention.ravel(), ".", color=colour, ms=4, alpha=0.6, label=name)
axes[0].set(xlabel="posterior of a pool member", ylabel="attention weight, layer 2, at the query")
axes[0].legend(loc="upper left")
rows = {
    "built": (scores(bayes, posterior), {"color": BLUE, "linestyle": "-"}),
    "built, shuffled targets": (scores(bayes, shuffle), {"color": BLUE, "linestyle": ":"}),
    "random weights": (scores(bayesian["random weights"], posterior), {"color": ORANGE, "linestyle": "-"}),
}
show_scores(axes[1], rows, ["layer 0", "layer 1", "layer 2"])
axes[1].legend()
plt.show()

# %% [markdown]
# Left: the attention of the built head equals the posterior; with random weights it has nothing to do with it. Right:
# nothing about the task is at the query after layer 0. Layer 1 brings every task's squared error, layer 2 the posterior
# mean of the weights, and from either the posterior can be read in part by a straight line. Shuffled targets score zero
# everywhere. Random weights let something through too: what can be decoded need not be used, so a read-out is never
# read without its controls.

# %% [markdown]
# ## The same questions to a trained transformer
#
# Two seeds of an ordinary transformer, two layers of four heads, are trained on the same four tasks. Nothing tells it
# how to solve them.

# %%
model = Model(TransformerConfig(channels=3, tokens=task.positions, layers=2, heads=4, width=32, mlp=2))
settings = TrainingSettings(steps=2000, batch=64, schedule="cosine", warmup=100, loss="last", chunk=400)
members = stack([Member(seed=seed, task=task, learning_rate=0.004) for seed in range(2)])
state = init_state(model, settings, members)
fresh = jax.device_get(state.params)  # a copy: the state itself is given away to training
while int(state.step) < settings.steps:
    state, metrics = train_chunk(model, Paired(), settings, members, state, settings.chunk)
params = jax.device_get(state.params)


def member(params, seed):
    """One member as a learner."""
    return TransformerLearner(jax.tree.map(lambda leaf: jnp.asarray(leaf[seed]), params), model, Paired())


trained = {f"trained, seed {seed}": member(params, seed) for seed in range(2)}
untrained = member(fresh, 0)
y = prompts.y[:, -1]
answers = {name: np.asarray(answer(learner, prompts).mean)[:, -1] for name, learner in trained.items()}
answers |= {"untrained": np.asarray(answer(untrained, prompts).mean)[:, -1], "zero": 0 * y, "pool Bayes": exact}
for name, found in answers.items():
    low, high = bootstrap_interval(np.square(found - y))
    far = np.square(found - exact).mean()
    error = np.square(found - y).mean()
    print(f"{name:15}: squared error {error:.3f} [{low:.3f}, {high:.3f}], from pool Bayes {far:.3f}")

# %% [markdown]
# ### Where the task is carried: patching, layer by token
#
# Source and target have the same inputs under different tasks (`counterpart`), so only the labels differ. One token's
# stream is taken from the source; the map shows how far the answer follows. The effect is a ratio, so pairs are chosen
# whose *exact* answers differ by more than 2.

# %%
some = np.flatnonzero(np.abs(exact - exact_of_other) > 2)[:128]
target, source = (jax.tree.map(lambda leaf: leaf[some], each) for each in (prompts, other))
labels = [f"$x_{i}, y_{i}$" for i in range(task.examples)] + [f"$x_{task.examples}$, query"]
figure, axes = plt.subplots(1, 2, figsize=(11, 2.6), layout="constrained")
for axis, (name, learner) in zip(axes, trained.items(), strict=True):
    effects = np.asarray(interchange_effect(learner, source, target, site="resid_post"))
    mean, (low, high) = effects.mean(-1), bootstrap_interval(effects)
    image = axis.imshow(mean, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(mean):
        half = (high - low)[row, column] / 2
        ink = "black" if value > 0.5 else "white"
        axis.text(column, row, f"{value:.2f}\n±{half:.2f}", ha="center", va="center", size=7, color=ink)
    axis.set_xticks(range(task.positions), labels, size=7, rotation=35)
    axis.set_yticks(range(2), ["after layer 0", "after layer 1"])
    axis.set(xlabel="token whose stream comes from the source", title=name)
figure.colorbar(image, ax=axes, label="effect: 1 = source's answer")
plt.show()

# %% [markdown]
# After layer 0 the task is still spread: every example carries a little of it, and the query, which has begun to
# collect, about a quarter. After the last layer all of it is at the query, as it must be, since only the query is read.
# The construction above keeps to another schedule: its query has nothing after layer 0.

# %% [markdown]
# ### Which heads it needs
#
# Half of the prompts choose the costliest head of each layer; the other half measure what the pair costs, against
# random pairs of the same layers.

# %%
singles = jnp.asarray(np.eye(8, dtype=bool).reshape(8, 2, 4))
half, rest = (jax.tree.map(lambda leaf, rows=rows: leaf[rows], prompts) for rows in (slice(0, 384), slice(384, 768)))
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
for column, (name, learner) in enumerate(trained.items()):
    colour, shift = (BLUE, GREEN)[column], (-0.12, 0.12)[column]
    alone = np.asarray(joint_ablation_effect(learner, half, singles, by="resample"))
    best = alone.mean(-1).reshape(2, 4).argmax(-1)
    chosen = np.zeros((2, 4), bool)
    chosen[(0, 1), best] = True
    rise = np.asarray(joint_ablation_effect(learner, rest, with_random_sets(chosen), by="resample"))
    dots(axes[0], np.arange(8) + shift, alone, colour, label=name)
    label = None if column else "the 9 pairs of other heads"
    dots(axes[1], column + np.linspace(-0.3, 0.3, len(rise) - 1), rise[1:], GREY, label=label, alpha=0.6)
    dots(axes[1], [column], rise[:1], colour, label=f"heads 0.{best[0]} and 1.{best[1]}")
axes[0].set_yticks(range(8), [f"{a}.{b}" for a, b in zip(layer, head, strict=True)])
axes[0].invert_yaxis()
axes[0].axvline(0, color="0.7", lw=0.8)
axes[0].set(xlabel="rise of the squared error", ylabel="head taken out (layer.head)", title="one head, 384 prompts")
axes[0].legend()
axes[1].set_yticks(range(2), list(trained))
axes[1].set(xlabel="rise of the squared error", title="the costliest pair, 384 other prompts", ylim=(1.5, -0.5))
axes[1].legend()
plt.show()

# %% [markdown]
# Almost every head costs something, and heads of the same number do not correspond between seeds. In seed 1 the chosen
# pair costs about twice what most pairs do; in seed 0 it is a pair like any other, although it was chosen as the
# costliest. The work is shared: to call two heads "the circuit" here would be a story, and the control says so.

# %% [markdown]
# ### What can be read off, layer by layer

# %%
figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
rows = {name: (scores(learner, posterior), {"linestyle": "-"}) for name, learner in trained.items()}
rows["trained, seed 0, shuffled targets"] = (scores(trained["trained, seed 0"], shuffle), {"linestyle": ":"})
rows["untrained"] = (scores(untrained, posterior), {"linestyle": "-"})
for (_, style), colour in zip(rows.values(), (BLUE, GREEN, BLUE, ORANGE), strict=True):
    style["color"] = colour
show_scores(axis, rows, ["layer 0", "layer 1"])
axis.legend()
plt.show()

# %% [markdown]
# The posterior over the four tasks can be partly read off the query's stream of both trained seeds, and not when the
# targets are shuffled. The untrained network says how much of it any mixture of the examples would give away: only what
# is above *that* was learned.

# %% [markdown]
# ### Who wrote the answer
#
# The readout is linear, so the answer is the sum of what the embedding, every head and every MLP wrote to the query's
# stream. Signs are chosen so that the parts sum to the mean size of the answer.

# %%
names = parts(model.config)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
for axis, (name, learner), colour in zip(axes, trained.items(), (BLUE, GREEN), strict=True):
    written = np.asarray(logit_attribution(learner, prompts))[..., 0]
    print(f"{name}: |sum of parts − answer| is at most {np.abs(written.sum(0) - answers[name]).max():.1e}")
    toward = written * np.sign(answers[name])
    dots(axis, np.arange(len(names)), toward, colour)
    axis.plot(toward.mean(-1).sum(), len(names), "D", color="black", ms=5)
    axis.axvline(0, color="0.7", lw=0.8)
    axis.set(xlabel="part of the answer, in its direction (units of y)", title=name)
axes[0].set_yticks(range(len(names) + 1), [*names, "sum = mean |answer|"])
axes[0].invert_yaxis()
plt.show()

# %% [markdown]
# Layer 1 writes about two thirds of the answer, and no head of it alone. What layer 0 does by way of layer 1 does not
# show here; for that the patches and ablations above are the right tool.
#
# Next: `icl_lab.probes.inside.listing.INTERNAL` lists all internal probes in a line each, and
# [`03_bring_your_own_learner`](03_bring_your_own_learner.ipynb) judges a learner that is no transformer at all.
