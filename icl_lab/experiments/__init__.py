"""The library behind the scripts of `experiments/`: an experiment is a declaration, everything around it is here."""

from icl_lab.core.claims import Claim, claim, counted, first_of
from icl_lab.experiments.experiment import Experiment, Found, Trained, Variables, per_prompt
from icl_lab.experiments.statistics import Mean, by_pool, distinguishable, first_step, mean_over, right, shown_steps
from icl_lab.report import panels
from icl_lab.report.text.vocabulary import COLOURS, SUBJECT

__all__ = [
    "COLOURS",
    "SUBJECT",
    "Claim",
    "Experiment",
    "Found",
    "Mean",
    "Trained",
    "Variables",
    "by_pool",
    "claim",
    "counted",
    "distinguishable",
    "first_of",
    "first_step",
    "mean_over",
    "panels",
    "per_prompt",
    "right",
    "shown_steps",
]
