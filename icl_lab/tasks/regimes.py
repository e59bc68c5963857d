"""The prompt sets that learners are judged on, and batches of training may be drawn from."""

from typing import Literal, get_args

from icl_lab.tasks.base import Task

Regime = Literal["in_distribution", "fresh_tasks", "shifted"]
REGIMES: tuple[Regime, ...] = get_args(Regime)


def drawn_from(task: Task, regime: Regime) -> tuple[Task, bool]:
    """The task whose latents a regime draws, and whether prompts are shifted.

    in_distribution: the training prior. fresh_tasks: latents the pool does not hold (`task.unseen`); without a pool
    those of the population. shifted: such latents, with `shift_latent` and `shift_inputs` applied.
    """
    return (task if regime == "in_distribution" else task.unseen()), regime == "shifted"
