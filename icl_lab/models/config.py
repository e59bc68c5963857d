"""What a transformer is, as data: validated when it is made, hashable, so that it can be a static jit argument."""

import dataclasses
from typing import Literal, get_args

Attention = Literal["softmax", "linear"]
Normalisation = Literal["layer", "none"]
Positions = Literal["learned", "sinusoidal", "rotary", "alibi", "relative", "none"]
Mask = Literal["causal", "full", "prefix", "context"]
Initialisation = Literal["scaled", "lecun", "gpt2", "normal"]

CHOICES = {
    "attention": get_args(Attention),
    "normalisation": get_args(Normalisation),
    "positions": get_args(Positions),
    "mask": get_args(Mask),
    "initialisation": get_args(Initialisation),
}
AT_LEAST = {
    "channels": 1,
    "tokens": 1,
    "layers": 1,
    "heads": 1,
    "width": 1,
    "mlp": 0,
    "prefix": 0,
    "loops": 1,
    "outputs": 1,
}


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """A pre-norm transformer that maps [batch, token, channel] to [batch, token, output].

    Attributes:
        channels: channels of an input token.
        tokens: longest sequence. It binds with learned and relative positions; the others serve longer ones too.
        layers, heads, width: the usual; `width` is the size of the residual stream.
        head_size: channels per head; None: width // heads.
        mlp: hidden width of the MLP in multiples of `width`; 0: attention only.
        attention: "softmax": pattern = softmax(q·k/√head_size); "linear": pattern = q·k / number of visible keys.
        normalisation: "layer": layer normalisation before attention, MLP and readout; "none".
        positions: "learned": one vector per token index, added to the embedding; "sinusoidal": a fixed one (Vaswani
            et al. 2017); "rotary": queries and keys of every head are turned by the token index (Su et al. 2021);
            "alibi": scores − slope·|t − s|, head h of H with slope 2^(−8h/H)
            (Press et al. 2022); "relative": in every layer one vector per distance t − s ≥ 0, added to the key, so that
            scores are q_t·(k_s + r_{t−s}) (Shaw et al. 2018); "none". See `positions`.
        mask: "causal"; "full"; "prefix": the first `prefix` tokens see one another, the rest is causal; "context": all
            see every token but the last, which is the paired format's query and no example (von Oswald's choice; under
            "full" the query's own residual enters from the second layer on).
        prefix: number of tokens of the prefix; only with mask="prefix".
        loops: how often the whole stack is applied, with the same weights.
        embedding: False: the tokens themselves are the residual stream (width == channels) and the answer is *minus*
            its last channel. That channel holds residuals y − f(x): the query starts with 0 and ends with −f(x_q).
        bias: biases in linear layers and layer normalisation.
        initialisation: kernels are drawn from N(0, s²) (biases and positions: 0 and N(0, .02²)) with
            "scaled": s = 1/√fan_in, and 1/√(2·layers·loops) of that where a layer writes to the residual stream;
            "lecun": s = 1/√fan_in; "gpt2": s = .02, and 1/√(2·layers·loops) of that where a layer writes;
            "normal": s = .02 everywhere (von Oswald's linear attention wants it small).
        initial_scale: multiplies s.
        outputs: values answered per token.

    Raises:
        ValueError: one line that names the field, its value and what would be right.
    """

    channels: int
    tokens: int
    layers: int = 1
    heads: int = 1
    width: int = 32
    head_size: int | None = None
    mlp: int = 4
    attention: Attention = "softmax"
    normalisation: Normalisation = "layer"
    positions: Positions = "learned"
    mask: Mask = "causal"
    prefix: int = 0
    loops: int = 1
    embedding: bool = True
    bias: bool = True
    initialisation: Initialisation = "scaled"
    initial_scale: float = 1.0
    outputs: int = 1

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not known; choose one of {', '.join(choices)}")
        for name, least in AT_LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} is too small; it must be at least {least}")
        if self.head_size is None and self.width % self.heads:
            raise ValueError(f"heads: {self.heads} does not divide width {self.width}; change one or give head_size")
        if self.head_size is not None and self.head_size < 1:
            raise ValueError(f"head_size: {self.head_size} is too small; it must be at least 1, or None")
        if self.positions == "rotary" and self.size_of_head % 2:
            raise ValueError(f"head_size: {self.size_of_head} is odd; positions='rotary' turns pairs of channels")
        if self.positions == "alibi" and self.attention == "linear":
            raise ValueError("positions: 'alibi' is a penalty inside the softmax; use attention='softmax' or others")
        if not self.initial_scale > 0:
            raise ValueError(f"initial_scale: {self.initial_scale} must be above 0")
        if self.mask == "prefix" and not 1 <= self.prefix <= self.tokens:
            raise ValueError(f"prefix: {self.prefix} must be between 1 and tokens = {self.tokens} with mask='prefix'")
        if self.mask != "prefix" and self.prefix:
            raise ValueError(
                f"prefix: {self.prefix} has no effect with mask={self.mask!r}; leave it 0 or use mask='prefix'"
            )
        if not self.embedding and self.width != self.channels:
            raise ValueError(f"width: {self.width} must equal channels = {self.channels} with embedding=False")
        if not self.embedding and self.outputs != 1:
            raise ValueError(f"outputs: {self.outputs} must be 1 with embedding=False, where one channel is the answer")

    @property
    def size_of_head(self) -> int:
        """Channels per head."""
        return self.width // self.heads if self.head_size is None else self.head_size

    @property
    def applications(self) -> int:
        """Layers applied from input to output: layers · loops. Site names count these."""
        return self.layers * self.loops

    def deviation(self, fan_in: int, writes: bool) -> float:
        """Standard deviation of a kernel's initial entries; `writes`: its output is added to the residual stream."""
        base = 0.02 if self.initialisation in ("gpt2", "normal") else fan_in**-0.5
        shrinks = writes and self.initialisation in ("scaled", "gpt2")
        return self.initial_scale * base * ((2 * self.applications) ** -0.5 if shrinks else 1.0)
