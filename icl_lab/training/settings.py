"""How to train, as data: validated when it is made, hashable, so that it can be a static jit argument."""

import dataclasses
import math
from typing import Literal, get_args

from icl_lab.formats import CHANGES

Optimiser = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine", "linear"]
Loss = Literal["all", "last"]
MemberAxis = Literal["auto", "map", "vmap"]
Precision = Literal["default", "high", "highest"]

CHOICES = {
    "optimiser": get_args(Optimiser),
    "schedule": get_args(Schedule),
    "loss": get_args(Loss),
    "member_axis": get_args(MemberAxis),
    "precision": get_args(Precision),
}
AT_LEAST = {
    **{"steps": 1, "batch": 1, "weight_decay": 0, "warmup": 0, "chunk": 1},
    **{"shortest": 0, "curriculum": 0, "first_examples": 0, "first_dimensions": 0},
}
ABOVE_ZERO = ("learning_rate", "eps", "clip")


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """Objective, optimiser and how the work is cut up.

    Attributes:
        steps: length of training; the schedule ends there.
        batch: prompts per step.
        learning_rate, weight_decay: what members get that do not bring their own.
        optimiser: "adam": decay is added to the gradient (L2); "adamw": decay is decoupled; "sgd": no momentum.
        b1, b2, eps: Adam's.
        clip: largest global norm of the gradient, or None.
        schedule: factor on the learning rate after warm-up: 1; half a cosine to 0; a line to 0.
        warmup: steps over which the learning rate rises linearly.
        loss: mean over "all" answered positions, or of the "last" one only: squared error, or nats of classes.
        micro_batch: prompts per gradient accumulation piece, a divisor of `batch`. None: what fits the cache on a CPU,
            the whole batch on an accelerator. Same result up to rounding.
        chunk: steps of one compiled program; calls for fewer reuse it.
        member_axis: "map": members one after another; "vmap": at once; "auto": map on CPUs, vmap on accelerators.
        precision: of float32 matrix products on accelerators.
        formats: changes of the subject's own format, names in `formats.CHANGES` ("plain" is none): every prompt is
            written in one of them, drawn at random. Empty: in the subject's own.
        noises: noise levels of the task, each in an equal part of every batch. Empty: that of the task.
        shortest: prompts end after a number of examples drawn from it to the task's, and later positions do not count.
            0: all have full length.
        curriculum: steps over which prompts grow, evenly, to their full size. 0: they have it from the beginning.
        first_examples, first_dimensions: what prompts of a curriculum have at step 0, of examples that count and of
            input features that are not zero. 0: all. Source: Garg et al. 2022.

    Raises:
        ValueError: one line that names the field, its value and what would be right.
    """

    steps: int = 1000
    batch: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    optimiser: Optimiser = "adam"
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    clip: float | None = None
    schedule: Schedule = "constant"
    warmup: int = 0
    loss: Loss = "all"
    micro_batch: int | None = None
    chunk: int = 200
    member_axis: MemberAxis = "auto"
    precision: Precision = "default"
    formats: tuple[str, ...] = ()
    noises: tuple[float, ...] = ()
    shortest: int = 0
    curriculum: int = 0
    first_examples: int = 0
    first_dimensions: int = 0

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not known; choose one of {', '.join(choices)}")
        for name, least in AT_LEAST.items():
            if not getattr(self, name) >= least:
                raise ValueError(f"{name}: {getattr(self, name)} is too small; it must be at least {least}")
        for name in ABOVE_ZERO:
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name}: {value} must be above 0 and finite")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} must be at least 0 and below 1")
        if self.warmup >= self.steps and self.warmup:
            raise ValueError(f"warmup: {self.warmup} must be below steps = {self.steps}")
        if self.micro_batch is not None and (self.micro_batch < 1 or self.batch % self.micro_batch):
            raise ValueError(f"micro_batch: {self.micro_batch} does not divide batch {self.batch}; give a divisor")
        for name in self.formats:
            if name not in CHANGES:
                raise ValueError(f"formats: {name!r} is no change of format; choose among {', '.join(CHANGES)}")
        for noise in self.noises:
            if not (noise >= 0 and math.isfinite(noise)):
                raise ValueError(f"noises: {noise} must be at least 0 and finite")
        if self.noises and self.batch % len(self.noises):
            raise ValueError(f"noises: {len(self.noises)} levels do not divide batch {self.batch}")
        if self.loss == "last" and (self.shortest or self.first_examples):
            field = "shortest" if self.shortest else "first_examples"
            raise ValueError(f"{field}: shorter prompts end before the last position; use loss='all'")
        if bool(self.curriculum) != bool(self.first_examples or self.first_dimensions):
            raise ValueError("curriculum: give the steps that it takes, and first_examples or first_dimensions")
