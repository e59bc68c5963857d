"""What a reader needs to know to judge the page: the hypotheses, the references, the verdict rule."""

from __future__ import annotations

from icl_lab.core.thresholds import Thresholds

CLAIMS = {
    "H1": (
        "The prompt updates a posterior over latent tasks; the answer is its predictive under the training prior.",
        "the posterior over a pool (its mean is dMMSE) and over the population, nothing in it fitted",
    ),
    "H2": (
        "The answer is a similarity-weighted combination of the labels seen.",
        "Nadaraya-Watson smoothers, counts of streams; ridge, kernel ridge and the unnormalised linear smoother, too",
    ),
    "H3": (
        "Training installed an inner optimiser together with the point it starts from and its step sizes.",
        "Meta-SGD with one, two and five learned steps; for streams also an online delta rule with a learned schedule",
    ),
    "H4": (
        "A stored pattern is selected: a task of the pool, or an example of the prompt that is copied.",
        "most probable task (MAP), nearest examples, most recent and longest match of a stream",
    ),
    "H5": (
        "The forward pass takes gradient steps from zero on the examples.",
        "K gradient steps, their causal form, preconditioned steps, GD++",
    ),
}

TERMS = {
    "Subject": "A trained model, or any other learner that is judged. One section each.",
    "Member": (
        "One training run of a subject. Members differ in their seed; each is judged by itself, and 'k of n' "
        "counts them."
    ),
    "Reference": (
        "An algorithm with a known answer for every prompt. Its few free parameters (a step size, a "
        "bandwidth) are fitted "
        "to the subject on calibration prompts that no score uses, then frozen."
    ),
    "Rival": "A reference that belongs to no hypothesis but has to be ruled out all the same, such as Newton's method.",
    "Decoy": (
        "A reference that no hypothesis claims, such as Lasso or the average label. A decoy among the nearest "
        "forbids a verdict."
    ),
    "Prompt sets": (
        "In distribution: as in training. Fresh tasks: the task is drawn anew, not from the "
        "training pool. Shifted: inputs or tasks from a distribution that training never showed, as the task defines."
    ),
    "Distance": (
        "Mean over prompts and positions, in nats. Between distributions over classes the divergence KL(subject ‖ "
        "reference); between real answers Δmean²/2v, that of two Gaussians of the same variance v, the exact "
        "learner's. 0.01 nats is hard to see, 1 nat is a different answer."
    ),
    "Remainder": "What the nearest reference leaves unexplained, in percent of the distance of the answer that knows "
    "nothing: zero, or equal shares.",
    "Exact learner": (
        "The best possible answer when tasks come from the training prior. No learner has a smaller expected "
        "error there."
    ),
    "Nulls": "An untrained model and one trained on shuffled labels. Nothing should be supported for them.",
    "Signature": (
        "Something that must be found inside a network that works as a hypothesis says, with a threshold fixed in "
        "advance: internal, read off the network, or causal, seen in its answers after a part was replaced."
    ),
    "Probe": (
        "A question to the answers alone, such as how far one label moves them. What a hypothesis predicts of it is "
        "what its best reference answers to the same prompts. Probes describe and decide nothing."
    ),
    "Equivalence": (
        "Some hypotheses are the same function in some limits: ridge is Bayes with a Gaussian prior and linear kernel "
        "ridge; one layer of linear attention is one gradient step and a linear smoother; counts with Dirichlet "
        "pseudo-counts are Bayes, a match kernel and an online delta rule. They are then supported together."
    ),
}


def verdict_rule(limits: Thresholds) -> list[str]:
    """The rule in five sentences, with its constants."""
    return [
        f"A reference is near if its distance is at most {limits.near:g} times that of the nearest one on every prompt "
        f"set. Distances count as {limits.floor:g} nats at least, or as {limits.precision:g} of the distance of the "
        "answer that knows nothing.",
        "A decoy among the near ones makes the verdict inconclusive. A variation of a reference, such as a tempered "
        "posterior, does so only where that reference is not near itself, or where the variation is on some prompt set "
        f"more than {limits.nearer:g} times nearer.",
        f"If the nearest leaves more than {limits.remainder:.0%} of the distance of the answer that knows nothing, "
        "the subject is unexplained.",
        f"A reference that is at least {limits.reject:g} times farther on some prompt set is rejected. With a decoy or "
        "rival that is neither near nor rejected the verdict is inconclusive, and so it is when nothing was rejected.",
        "Otherwise the hypotheses of the near references are supported together. A hypothesis is refuted when all "
        "of its references are rejected, undecided when some are neither near nor rejected, and coincides (≡) when "
        "each of its near references has a simpler near counterpart, "
        "such as learned gradient steps where plain ones do as well.",
    ]


LEVELS = (
    "This is a verdict on the function, on what is computed, from behaviour alone. How it is computed, the mechanism, "
    "is a verdict of its own, from inside the network: a hypothesis is supported where one of its circuits is found, "
    "by at least one internal and one causal signature that random weights of the same size lack; refuted where a "
    "signature that makes sense is absent; and 'not tested' otherwise. Refuted means that these circuits are not "
    "there: the same algorithm may be spread over a network in a way that has no test here."
)
