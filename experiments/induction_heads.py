"""Two layers grow induction heads on repeated random sequences, one layer cannot (B9).

    python experiments/induction_heads.py [quick|paper] [--subjects.two_layers.training.steps 5000 …]

Claim     A two-layer attention-only transformer learns to look for the earlier occurrence of the last token and to copy
          what followed: a head of the second layer attends there (prefix matching), fed by a head of the first layer
          that attends to the token before. A one-layer model has no such head and does not predict the repetition.
Source    Olsson et al. 2022, "In-context learning and induction heads".
Time      quick: about 3 minutes on two cores. paper: wider, on an accelerator.

The period of repetition differs between prompts, so that positions alone do not say where to look. Scores are the mean
attention of a layer's best head, 1 for a perfect head. The in-context score is the loss over the first tenth of a
prompt minus that over its last tenth, in nats.
"""

import numpy as np

from icl_lab.core.compiling import exact
from icl_lab.experiments import COLOURS, Experiment, claim, panels
from icl_lab.learners.answers import answers_of, exact_answers, sample
from icl_lab.probes import induction_scores

HIGH, TIMES = 0.5, 4.0  # a head that has formed: half of the attention, and four times the untrained network's best
HEADS = (
    ("prefix_matching", COLOURS["H4"], "-", "prefix matching, last layer"),
    ("previous_token", COLOURS["H5"], "--", "previous token, first layer"),
)


@exact
def in_context_score(answers, prompts):
    """Loss over the first tenth of the positions minus that over the last tenth."""
    loss = answers.loss(prompts.y).mean(0)
    few = max(1, len(loss) // 10)
    return loss[:few].mean() - loss[-few:].mean()


def prompts_of(trained):
    """Prompts of the task of training."""
    return sample(trained.task, trained.key("induction heads"), trained.prompts)


def measure(trained):
    """Scores of the best head of the last and of the first layer, and the in-context score."""
    subject, prompts = trained.subject, trained.prepared
    scores = induction_scores(
        subject.model, subject.format, trained.learner.params, prompts, subject.members[0].member.task.outcomes
    )
    return {
        "prefix_matching": ((), np.asarray(scores["prefix matching"]).max(-1)[-1]),
        "previous_token": ((), np.asarray(scores["previous token"]).max(-1)[0]),
        "in_context": ((), in_context_score(answers_of(trained.learner, prompts), prompts)),
    }


def exact_score(trained):
    """The in-context score of the exact learner."""
    return {"exact": ((), in_context_score(exact_answers(trained.task, trained.prepared), trained.prepared))}


def claims(found):
    """Both heads and the in-context score of networks of two layers, and that they exceed those of one layer."""
    deep = {name: data for name, data in found.items() if data.model_layers > 1}
    for name, data in deep.items():
        for key, _, _, words in HEADS:
            first, last = data[key].isel(step=0), data[key].isel(step=-1)
            text = f"{words}: score of the best head, above {HIGH} and {TIMES:g} times the untrained network's"
            yield claim(f"{name}.{key}", text, "above", last, np.maximum(HIGH, TIMES * first))
        text = f"in-context score, above half of the exact learner's ({float(data.exact):.3f} nats)"
        last = data.in_context.isel(step=-1)
        yield claim(f"{name}.in_context", text, "above", last, 0.5 * data.exact, unit="nats")
    for name, data in found.items():
        if name in deep or not deep:
            continue
        other = next(iter(deep))
        for key in ("prefix_matching", "in_context"):
            least, most = found[other][key].isel(step=-1).min(), data[key].isel(step=-1).max()
            text = f"final {key.replace('_', ' ')} score: the least seed of {other} above twice the best seed of {name}"
            yield claim(f"{name}.{key}", text, "above", least, 2 * most)


def figure(found):
    """Head scores and in-context score against the training step, a line per seed."""
    drawn, axes = panels.grid(len(found), 2, width=4.8, height=2.8, sharey="row", sharex=True)
    for (top, bottom), data in zip(axes.T, found.values(), strict=True):
        steps = np.maximum(data.step, 1)
        for key, colour, dashes, words in HEADS:
            panels.curves(top, steps, data[key], colour, words, mean=False, lw=1.2, ls=dashes)
        panels.curves(bottom, steps, data.in_context, "black", "network, each seed", mean=False)
        panels.level(bottom, float(data.exact), "exact learner", COLOURS["H1"])
        top.set(title=f"{data.title} ({data.sizes['member']} seeds)", ylim=(-0.02, 1.02))
        bottom.set(xscale="log", xlabel="training step")
    axes[0, 0].set_ylabel("attention of the best head")
    axes[1, 0].set_ylabel("in-context score (nats)\nearly loss − late loss")
    axes[0, 0].legend(frameon=False, loc="upper left")
    axes[1, 0].legend(frameon=False, loc="lower right")
    return drawn


experiment = Experiment("Olsson et al. 2022", measure, claims, figure, prompts_of, exact_score, steps="all")
if __name__ == "__main__":
    experiment.main(__file__)
