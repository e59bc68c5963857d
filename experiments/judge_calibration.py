"""Is the judge to be trusted? Verdicts on learners whose function is known, against what was asked of them in advance.

    python experiments/judge_calibration.py [quick|paper] [--judge.prompts 128 …]

Claim     Planted references are identified, .97 of them on linear regression at no and low noise, on Markov chains more
          than the first prototype's .76, .47 and .08 at low, middle and high noise; support for learners of no
          hypothesis that the judge does not know is false in at most .02; no reference that is the same function as the
          subject is rejected. What is supported once the truth is removed from the candidates is published.
Source    This lab's own control, on prompts, pools, parameters and noise of seeds that the rule was not chosen on.
Time      quick: four minutes on two cores. paper: all families at full size, not yet run.

What `icl-lab calibrate` does, at the size of the preset, and a page with the matrix of planted against identified. The
preset's own subjects are transformers taught by a reference; those near enough to their teacher are judged as well. A
rate is shown with its 95% interval (Wilson 1927); it is a gate only where one learner could be missed.
"""

from typing import Any

import jax
import numpy as np

from icl_lab.calibration.distilled import answered, apart
from icl_lab.calibration.truth import named, scored, truth_of
from icl_lab.commands.calibrate import CalibrationConfig, calibrate
from icl_lab.commands.train import TrainedSubject
from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim, claim
from icl_lab.core.errors import InputError
from icl_lab.experiments.script import Subjects, run_experiment
from icl_lab.judging.bank import build_bank
from icl_lab.judging.judge import compare, judge
from icl_lab.learners.answers import answers_of
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.report.pages.calibration import build
from icl_lab.store.claims import read_claims
from icl_lab.store.directory import RunDirectory

SOURCE = "this lab's own control"
FIRST_SEED = 7000  # the rule was chosen on seeds below
# What is calibrated beside the subjects that are trained, by name of the preset.
SIZES: dict[str, dict[str, Any]] = {
    "judge_calibration_quick": {"families": ("linear_regression", "markov_chain"), "draws": 2, "distilled": 0},
    "judge_calibration_paper": {"draws": 4, "distilled": 3},
}


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """The claims of a calibration, and those on the preset's own students."""
    if config.name not in SIZES:
        raise InputError(f"--name: {config.name!r} says nothing of the size; it must be one of {', '.join(SIZES)}")
    size = SIZES[config.name]
    asked = CalibrationConfig(prompts=config.judge.prompts, seed=FIRST_SEED + config.seed, mechanisms=0, **size)
    found = calibrate(asked, directory.path, say=lambda line: print(line))
    print(f"page: {build(found.path)}")
    return [*read_claims(found.claims_file), *(taught(config, subject) for subject in subjects.values())]


def taught(config: RunConfig, subject: TrainedSubject) -> Claim:
    """Every student near enough to its teacher is identified as one of the teacher's hypotheses."""
    member = subject.members[0].member
    teacher = member.teacher
    assert isinstance(teacher, ReferenceLearner)
    bank = answered(build_bank(member.task, FIRST_SEED, config.judge.prompts, config.judge.prompts), subject.format)
    function = jax.tree.map(np.asarray, answers_of(teacher, bank.prompts))
    delta = apart(bank, function, function)[1]
    truth = truth_of(bank, function, teacher.reference.name, delta)
    excess, labels, right = [], [], []
    for index in range(len(subject.members)):
        student = jax.tree.map(np.asarray, answers_of(subject.learner(index), bank.prompts))
        excess.append(float(np.max(np.divide(*apart(bank, student, function)))))
        verdict = judge(compare(bank, student))
        labels.append("+".join(named(verdict)) or verdict.status)
        if excess[-1] <= 1:
            right.append(scored(verdict, truth)["identified"])
    return claim(
        f"taught.{teacher.reference.name}",
        f"transformers taught by {teacher.reference.title} and within δ of it are identified; distances in units of δ",
        "condition",
        excess,
        source=SOURCE,
        labels=labels,
        condition=f"a part of {'+'.join(truth.hypotheses)}, of each within δ",
        decided=right,
        gate="order" if right else "report",
    )


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
