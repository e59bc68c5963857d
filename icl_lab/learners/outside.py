"""A learner of the user's own: any callable from numpy arrays to numpy arrays, such as a wrapped PyTorch model."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.core.outcomes import Outcomes, Real
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass, static

Function = Callable[[np.ndarray, np.ndarray], Any]


@pytree_dataclass
class OutsideLearner:
    """`learner(prompts) -> Predictions` around `function(x, y) -> answers`, called back from compiled programs.

    The function gets x [batch, position, feature] and y [batch, position], and answers every position i from the
    examples before i and from x_i: real outcomes with [batch, position], classes with probabilities
    [batch, position, class]. If `last_only`, it answers the last position alone, without the position axis; then all
    other positions hold NaN.

    It cannot be differentiated: probes that need ∂ŷ/∂x leave it out.
    """

    function: Function = static()
    outcomes: Outcomes = static(default=Real())
    last_only: bool = static(default=False)

    def __call__(self, prompts: Prompts) -> Predictions:
        self.outcomes.check(prompts.y)
        batch = tuple(prompts.y.shape[:1] if self.last_only else prompts.y.shape)
        shape = jax.ShapeDtypeStruct((*batch, self.outcomes.size), jnp.float32)

        def answers(x: Any, y: Any) -> np.ndarray:
            return checked(self.function(np.asarray(x), np.asarray(y)), batch, self.outcomes)

        mean = jax.pure_callback(answers, shape, prompts.x, prompts.y, vmap_method="sequential")
        if self.last_only:
            whole = jnp.full((*prompts.y.shape, self.outcomes.size), jnp.nan)
            mean = whole.at[:, -1].set(mean)
        return self.outcomes.from_mean(mean)


def checked(answers: Any, batch: tuple[int, ...], outcomes: Outcomes) -> np.ndarray:
    """The answers as float32 [*batch, target].

    Raises:
        ValueError: another shape, not finite, or of classes no probabilities; one line that says what would be right.
    """
    found = np.asarray(answers, np.float32)
    wanted = batch if outcomes.linear else (*batch, outcomes.size)
    if found.shape != wanted:
        what = "means" if outcomes.linear else "probabilities"
        raise ValueError(f"answers: shape {found.shape} should be {wanted}, the {what} of every prompt and position")
    if not np.isfinite(found).all():
        prompt, *position = map(int, np.argwhere(~np.isfinite(found))[0][: len(batch)])
        where = f"at position {position[0]} of prompt {prompt}" if position else f"for prompt {prompt}"
        remedy = "; without examples 0 is an answer" if position == [0] else ""
        raise ValueError(f"answers: not finite {where}{remedy}")
    if not outcomes.linear and not (np.all(found >= 0) and np.allclose(found.sum(-1), 1, atol=1e-3)):
        raise ValueError("answers: not probabilities; each position's classes should be at least 0 and sum to 1")
    return found[..., None] if outcomes.linear else found


def peeks(learner: OutsideLearner, prompts: Prompts, tolerance: float = 1e-4) -> int | None:
    """The first position whose answer changes when what comes later is changed, or None: it keeps the contract.

    The answer at position i must not depend on y_i, on later outcomes, or on later inputs. Every position is tried.
    """
    x, y = jnp.asarray(prompts.x), jnp.asarray(prompts.y)
    other_x, other_y = jnp.flip(x, 0), learner.outcomes.altered(y)
    before = np.nan_to_num(np.asarray(learner(prompts).mean_target()))
    scale = max(float(np.abs(before).max()), 1e-6)
    last = prompts.positions - 1
    for at in (last,) if learner.last_only else range(prompts.positions):
        edited = prompts.replace(x=x.at[:, at + 1 :].set(other_x[:, at + 1 :]), y=y.at[:, at:].set(other_y[:, at:]))
        after = np.nan_to_num(np.asarray(learner(edited).mean_target()))
        if np.abs(after - before)[:, at].max() > tolerance * scale:
            return at
    return None
