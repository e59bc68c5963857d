"""Networks with a known inner loop: fast weights that the delta rule writes while the prompt is read.

With u_t token t and the `window` − 1 tokens before it, k_t = W_k u_t, v_t = W_v u_t and q_t = W_q u_t,

    S_t = S_{t−1} + β_t (v_t − A_t k_t) k_tᵀ,        answer_t = W_o S q_t,

S of shape [value, key] and S_0 learned or zero. A_t is the state at which the gradient of ½|S k_t − v_t|² is taken: the
one that token t's mini-batch of b tokens began with. b = 1 is the delta rule, S_t from S_{t−1} (DeltaNet: Schlag et al.
2021; Yang et al. 2024), and one and the same as TTT-linear, one gradient step per token from a learned W_0 (Sun et al.
2024), without the normalisation inside its loss. From b ≥ all tokens on, A = S_0: one step of batch gradient descent,
which is linear attention. A learned S_0 and β make it meta-learning (H3), S_0 = 0 and a fixed β plain gradient descent
(H5).
"""

import dataclasses
import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from icl_lab.models.attention import Tap, rows_of
from icl_lab.models.functional import Params, applied, drawn, graph_of
from icl_lab.models.layers import Normals
from icl_lab.models.transformer import EVERY, at_layer

InitialState = Literal["learned", "zero"]
Step = Literal["learned", "gated", "fixed"]
Order = Literal["write_read", "read_write"]
CHOICES = {"initial_state": get_args(InitialState), "step": get_args(Step), "order": get_args(Order)}
SIZES = ("channels", "tokens", "outputs", "key_size", "value_size", "window", "mini_batch")

RECURRENT_SITES: dict[str, tuple[str, ...]] = {
    "q": ("batch", "token", "key"),
    "k": ("batch", "token", "key"),
    "v": ("batch", "token", "value"),
    "beta": ("batch", "token"),
    "initial_state": ("batch", "value", "key"),
    "state": ("batch", "token", "value", "key"),
    "z": ("batch", "token", "value"),
}
"""Sites of the only layer, "0.q" and so on, with their axes. All before `state` act on every later token when replaced;
`state` is what token t reads, after the whole loop was run, so replacing it changes the answer at t alone."""


@dataclasses.dataclass(frozen=True)
class DeltaRuleConfig:
    """One layer of fast weights from [batch, token, channel] to [batch, token, output].

    Attributes:
        channels, tokens, outputs: as of a transformer; longer sequences than `tokens` are served too.
        key_size, value_size: columns and rows of S.
        window: tokens seen by the projections. Interleaved prompts and streams need 2: at a token, its key is the one
            before. 1 does for paired prompts.
        mini_batch: b, in tokens.
        normalised: keys and queries have length 1 (Yang et al. 2024).
        initial_state: "learned": S_0 is trained, from zero on; "zero".
        step: "learned": one β > 0 is trained; "gated": β_t = 2β σ(w·u_t + c), with w and c trained from zero on;
            "fixed": β is the given one.
        beta: β, or where its training begins. Stable below 2/|k|².
        order: "write_read": token t is written before it is answered (Schlag et al. 2021); "read_write": after it, for
            paired prompts, whose query would write its empty label.

    Raises:
        ValueError: one line that names the field, its value and what would be right.
    """

    channels: int
    tokens: int
    outputs: int = 1
    key_size: int = 8
    value_size: int = 8
    window: int = 1
    mini_batch: int = 1
    normalised: bool = False
    initial_state: InitialState = "learned"
    step: Step = "learned"
    beta: float = 0.1
    order: Order = "write_read"

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not known; choose one of {', '.join(choices)}")
        for name in SIZES:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is too small; it must be at least 1")
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta: {self.beta} must be above 0 and finite")

    @property
    def width(self) -> int:
        """Values a token carries on: those of a state."""
        return self.key_size * self.value_size


class DeltaRule(nnx.Module):
    """The recurrence of the file's docstring, with no bias anywhere: answers are linear in the values written."""

    def __init__(self, config: DeltaRuleConfig, normals: Normals):
        self.config = config
        seen = config.window * config.channels
        self.query = nnx.Param(seen**-0.5 * normals.take(seen, config.key_size))
        self.key = nnx.Param(seen**-0.5 * normals.take(seen, config.key_size))
        self.value = nnx.Param(seen**-0.5 * normals.take(seen, config.value_size))
        self.readout = nnx.Param(config.value_size**-0.5 * normals.take(config.value_size, config.outputs))
        learned = config.initial_state == "learned"
        self.initial = nnx.Param(jnp.zeros((config.value_size, config.key_size))) if learned else None
        self.log_beta = nnx.Param(jnp.log(jnp.asarray(config.beta))) if config.step == "learned" else None
        gated = config.step == "gated"
        self.gate = nnx.Param(jnp.zeros(seen)) if gated else None
        self.gate_bias = nnx.Param(jnp.zeros(())) if gated else None

    def __call__(
        self, inputs: Float[Array, "batch token channel"], read: slice = EVERY, tap: Tap | None = None
    ) -> Float[Array, "batch read output"]:
        """Answers at the tokens `read`. Only with a tap are the states of all tokens kept."""
        config, at = self.config, at_layer(tap, 0)
        seen = windows(inputs, config.window)
        q, k = seen @ self.query[...], seen @ self.key[...]
        q, k = (unit(q), unit(k)) if config.normalised else (q, k)
        q, k, v = at("q", q), at("k", k), at("v", seen @ self.value[...])
        beta = at("beta", self.steps(seen))
        start = jnp.zeros((config.value_size, config.key_size)) if self.initial is None else self.initial[...]
        initial = at("initial_state", jnp.broadcast_to(start, (inputs.shape[0], *start.shape)))

        def turn(carry: tuple[Array, Array], now: tuple) -> tuple[tuple[Array, Array], Array]:
            state, anchor = carry
            index, q, k, v, beta = now
            anchor = jnp.where(index % config.mini_batch == 0, state, anchor)
            error = v - jnp.einsum("bvk,bk->bv", anchor, k)
            written = state + beta[:, None, None] * error[:, :, None] * k[:, None, :]
            answering = state if config.order == "read_write" else written
            kept = answering if tap is not None else jnp.einsum("bvk,bk->bv", answering, q)
            return (written, anchor), kept

        by_token = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), (q, k, v, beta))
        _, kept = jax.lax.scan(turn, (initial, initial), (jnp.arange(inputs.shape[1]), *by_token))
        kept = jnp.moveaxis(kept, 0, 1)
        z = kept if tap is None else at("z", jnp.einsum("btvk,btk->btv", at("state", kept), q))
        return rows_of(z, read) @ self.readout[...]

    def steps(self, seen: Float[Array, "batch token seen"]) -> Float[Array, "batch token"]:
        """β_t of every token."""
        if self.gate is not None and self.gate_bias is not None:
            return 2 * self.config.beta * jax.nn.sigmoid(seen @ self.gate[...] + self.gate_bias[...])
        beta = self.config.beta if self.log_beta is None else jnp.exp(self.log_beta[...])
        return jnp.broadcast_to(jnp.asarray(beta, seen.dtype), seen.shape[:2])


def windows(inputs: Float[Array, "batch token channel"], window: int) -> Float[Array, "batch token seen"]:
    """Every token with the `window` − 1 before it, the token itself first; zeros before the first."""
    tokens = inputs.shape[1]
    padded = jnp.pad(inputs, ((0, 0), (window - 1, 0), (0, 0)))
    return jnp.concatenate([padded[:, window - 1 - back :][:, :tokens] for back in range(window)], axis=-1)


def unit(x: Float[Array, "*rest channel"]) -> Float[Array, "*rest channel"]:
    """x / |x|; 0, with gradient 0, for a vector of zeros."""
    square = jnp.square(x).sum(-1, keepdims=True)
    return jnp.where(square > 0, x * jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)


@dataclasses.dataclass(frozen=True)
class DeltaRuleModel:
    """The network without its parameters: a `Network`, used as a transformer's `Model` is."""

    config: DeltaRuleConfig

    def init(self, key: Array) -> Params:
        """Fresh parameters: a dictionary of arrays, e.g. params["key"]. Under `jax.vmap` over keys, an ensemble."""
        return drawn(DeltaRule, self.config, key)

    def apply(
        self, params: Params, inputs: Float[Array, "batch token channel"], read: slice = EVERY, tap: Tap | None = None
    ) -> Float[Array, "batch read output"]:
        """Answers at the tokens in the slice `read`; tap(site, value) -> value is called at `RECURRENT_SITES`.

        Raises:
            ValueError: inputs that are not [batch, token, channels].
        """
        return applied(graph_of(DeltaRule, self.config)[0], self.config.channels, params, inputs, read, tap)


def online_gd(
    dimension: int,
    examples: int,
    learning_rate: float | Float[Array, ""],
    mini_batch: int = 1,
    initial: Float[Array, " feature"] | None = None,
) -> tuple[DeltaRuleModel, Params]:
    """Weights set by hand that answer paired prompts with online gradient descent, exactly.

        w_0 = `initial` (or 0),   w_{i+1} = w_i + η (y_i − w_a·x_i) x_i,   ŷ = w_N·x_N,

    w_a being w at the beginning of example i's mini-batch. With mini_batch ≥ N it is one step of gradient descent of
    size ηN on the mean loss, the reference `gd_1` at rate ηN. k = q = x, v = y, S = wᵀ, W_o = 1.
    A point of the trainable model with learned S_0 and β. Source: Schlag et al. 2021; Sun et al. 2024.
    """
    config = DeltaRuleConfig(
        channels=dimension + 1,
        tokens=examples + 1,
        key_size=dimension,
        value_size=1,
        mini_batch=mini_batch,
        order="read_write",
    )
    inputs, label = jnp.eye(dimension + 1)[:, :dimension], jnp.eye(dimension + 1)[:, dimension:]
    start = jnp.zeros(dimension) if initial is None else initial
    params = {"query": inputs, "key": inputs, "value": label, "readout": jnp.ones((1, 1)), "initial": start[None]}
    return DeltaRuleModel(config), {**params, "log_beta": jnp.log(jnp.asarray(learning_rate, jnp.float32))}
