"""The subjects of a calibration: learners whose function is known, from seeds that the judge was not developed on."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from icl_lab.calibration.distortions import DISTORTIONS, STRANGERS, Distortion
from icl_lab.calibration.near_misses import NEAR_MISSES, NearMiss, near_miss_answers
from icl_lab.calibration.planted import answers_at, between_grid_points, disturbed, mixture, steady_parameters
from icl_lab.calibration.truth import KEYS
from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.streams import stream
from icl_lab.formats import Interleaved, Stream
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import Bank
from icl_lab.judging.judge import owner_of
from icl_lab.learners import TransformerLearner
from icl_lab.learners.answers import answers_of
from icl_lab.learners.decoys import label_median
from icl_lab.models import Model, TransformerConfig
from icl_lab.tasks import Task

LOW, MIDDLE, HIGH = 0.02, 0.05, 0.1
NOISES = {"none": 0.0, "low": LOW, "middle": MIDDLE, "high": HIGH}
"""Noise of planted learners, relative to the root mean square of a prompt's answers or logits."""

KINDS = {
    "planted": "a reference at parameters off the grid",
    "listed": "a decoy or rival that the judge knows",
    "mixture": "half of one hypothesis's reference, half of another's",
    "near miss": "almost Bayesian: tempered, wrong noise, matched moments",
    "distorted": "a reference that sees or says something distorted; unknown to the judge, not to its author",
    "stranger": "a reference changed in ways that were thought of after the rule was fixed",
    "untrained": "a transformer with random weights",
    "distilled": "a transformer taught the answers of a reference, near enough to it",
    "retrained": "a hand-built transformer, disturbed and taught the answers of a reference, near enough to it",
    "inner loop": "a trained delta-rule network, known by its parameters",
}


@dataclasses.dataclass(frozen=True)
class KnownSubject:
    """A learner whose function is known.

    Attributes:
        kind: a key of KINDS.
        name: unique among the subjects of a bank.
        group: its row of the confusion matrix: a hypothesis's key, or its kind.
        reference: name of the reference it is, if any.
        answers: () → its answers on the bank's prompts, without noise.
        noises: names of the noises (`NOISES`) it is judged with.
        seed: of the noise.
        function: () → the answers of its known function if they are not its own (a student's teacher).
    """

    kind: str
    name: str
    group: str
    answers: Callable[[], Predictions]
    noises: tuple[str, ...] = ("low",)
    reference: str | None = None
    seed: int = 0
    function: Callable[[], Predictions] | None = None

    def disturbed(self, answers: Predictions, noise: str) -> Predictions:
        """Return its answers with one of its noises."""
        return disturbed(answers, (self.seed, list(NOISES).index(noise)), NOISES[noise])


def known_subjects(bank: Bank, seed: int, draws: int) -> Iterator[KnownSubject]:
    """Return all subjects of a bank, the same for the same seed.

    Args:
        bank: of the task, its prompts drawn from another seed.
        seed: of parameters, strengths and noise.
        draws: subjects per reference, and per family of the other kinds.
    """
    yield from _planted(bank, seed, draws)
    yield from _mixtures(bank, seed, draws)
    yield from _near_misses(bank, seed, 4 * draws)
    yield from _distorted(bank, "distorted", DISTORTIONS, seed, draws)
    yield KnownSubject(
        "distorted", "label_median", "distorted", functools.partial(_median, bank.task, bank.prompts), seed=seed
    )
    yield from _distorted(bank, "stranger", STRANGERS, seed, draws)
    yield from _untrained(bank, seed, 8 * draws)


def _planted(bank: Bank, seed: int, draws: int) -> Iterator[KnownSubject]:
    for name in bank.references:
        owner, reference = REFERENCES[name]
        if reference.yields_to:
            continue  # variations of a reference belong to the near misses
        for draw in range(draws):
            number = seed + draw
            parameters = between_grid_points(bank, name, number)
            yield KnownSubject(
                kind="planted" if owner in KEYS else "listed",
                name=f"{name} {draw}",
                group=owner if owner in KEYS else "listed",
                reference=name,
                answers=functools.partial(answers_at, bank, name, parameters),
                noises=_noises(owner in KEYS, draw == 0 or bool(bank.grids[name])),
                seed=number,
            )


def _noises(planted: bool, new: bool) -> tuple[str, ...]:
    """Return the noises of a listed reference; a second draw without parameters is no new learner without noise."""
    if not planted:
        return ("low",)
    return tuple(noise for noise in NOISES if new or NOISES[noise])


def _mixtures(bank: Bank, seed: int, draws: int) -> Iterator[KnownSubject]:
    """Return mixtures of two random references of different hypotheses."""
    names = [name for name in bank.references if owner_of(name) in KEYS]
    generator = np.random.default_rng([seed, 1])
    for draw in range(10 * draws):
        first, second = generator.choice(names, 2, replace=False)
        while owner_of(first) == owner_of(second):
            first, second = generator.choice(names, 2, replace=False)
        number = seed + draw

        def answers(first: str = str(first), second: str = str(second), number: int = number) -> Predictions:
            both = [answers_at(bank, name, steady_parameters(bank, name, number)) for name in (first, second)]
            return mixture(both[0], both[1], 0.5)

        yield KnownSubject("mixture", f"{first} + {second} {draw}", "mixture", answers, seed=number)


def _near_misses(bank: Bank, seed: int, draws: int) -> Iterator[KnownSubject]:
    for family in NEAR_MISSES:
        if not family.applies(bank.task):
            continue
        generator = np.random.default_rng([seed, *family.name.encode()])
        for draw in range(1 if family.single else draws):
            low, high = family.strengths[draw % len(family.strengths)]
            strength = float(np.exp(generator.uniform(np.log(low), np.log(high))))

            def answers(family: NearMiss = family, strength: float = strength) -> Predictions:
                return jax.tree.map(np.asarray, near_miss_answers(family, bank.task, bank.prompts, strength))

            name = f"{family.name} {strength:.2f}, {draw}"
            yield KnownSubject("near miss", name, "near miss", answers, seed=seed + draw)


def _distorted(
    bank: Bank, kind: str, distortions: Sequence[Distortion], seed: int, draws: int
) -> Iterator[KnownSubject]:
    """Return every distortion of the best known references, with new parameters in every draw."""
    bases = [name for name in DISTORTED if name in bank.references]
    for distortion in distortions:
        generator = np.random.default_rng([seed, *distortion.name.encode()])
        for base in bases:
            for draw in range(draws if bank.grids[base] or distortion.strengths[0] < distortion.strengths[1] else 1):
                number, strength = seed + draw, float(generator.uniform(*distortion.strengths))

                def answers(
                    distortion: Distortion = distortion, base: str = base, number: int = number, s: float = strength
                ) -> Predictions:
                    parameters = steady_parameters(bank, base, number)
                    # Not compiled as a whole: this reuses the program of the undistorted reference.
                    answer = functools.partial(answers_at, bank, base, parameters)
                    found = distortion.apply(lambda prompts: answer(prompts=prompts), bank.task, bank.prompts, s)
                    return jax.tree.map(np.asarray, found.answer())

                name = f"{base}, {distortion.name} {draw}"
                yield KnownSubject(kind, name, kind, answers, seed=number)


# References to distort: at least one of every hypothesis for every kind of task.
DISTORTED = ("pool_bayes", "population_bayes", "ridge", "nadaraya_watson", "nearest_neighbour", "gd_5", "meta_sgd_2")


@exact
def _median_answers(task: Task, prompts: Prompts) -> Predictions:
    return label_median(task, prompts).answer()


def _median(task: Task, prompts: Prompts) -> Predictions:
    return jax.tree.map(np.asarray, _median_answers(task, prompts))


def _untrained(bank: Bank, seed: int, draws: int) -> Iterator[KnownSubject]:
    """Return untrained networks: two layers, two heads, width 32; initial weights one to three times the usual size."""
    task = bank.task
    format = Stream() if task.is_stream else Interleaved()
    for draw in range(draws):
        scale = float(np.geomspace(1.0, 3.0, draws)[draw])
        config = TransformerConfig(
            channels=format.channels(task.inputs_size, task.outcomes.size),
            tokens=format.tokens(task.positions),
            layers=2,
            heads=2,
            width=32,
            outputs=task.outcomes.size,
        )

        def answers(config: TransformerConfig = config, draw: int = draw, scale: float = scale) -> Predictions:
            model = Model(config)
            params = jax.tree.map(lambda leaf: scale * leaf, model.init(stream(seed + draw, "untrained")))
            learner = TransformerLearner(params, model, format, task.outcomes)
            return jax.tree.map(np.asarray, answers_of(learner, bank.prompts))

        yield KnownSubject("untrained", f"untrained {draw}", "untrained", answers, seed=seed + draw)
