"""Floating-point operations of a training step: what utilisation is measured against.

A matrix product [m, k] × [k, n] counts 2·m·k·n, and a training step three times the forward pass. Normalisation,
activation, softmax, optimiser and sampling count nothing; of the position schemes only relative ones, whose vectors are
multiplied with every query.
"""

from icl_lab.models.config import TransformerConfig


def kernel_parameters(config: TransformerConfig) -> int:
    """Parameters that take part in matrix products, each layer once per application."""
    inner = config.heads * config.size_of_head
    block = 4 * config.width * inner + 2 * config.mlp * config.width**2
    ends = config.width * (config.channels + config.outputs) if config.embedding else 0
    return config.applications * block + ends


def step_flops(config: TransformerConfig, batch: int, tokens: int) -> int:
    """The conventional count: 6·(kernel parameters)·(all tokens) + 12·batch·applications·tokens²·heads·head_size.

    Every token through every layer, all token pairs in attention (masked or not). Utilisation is quoted in this count,
    as elsewhere; a loop that leaves out work nobody asked for gains by it.
    """
    pairs = 12 * batch * config.applications * tokens**2 * config.heads * config.size_of_head
    return 6 * kernel_parameters(config) * batch * tokens + pairs


def performed_step_flops(config: TransformerConfig, batch: int, tokens: int, read: int) -> int:
    """The strict count: what `Model.apply` computes when answers are read at `read` tokens.

    The last layer's queries, output projection, MLP and the readout count at those tokens only, and the gradient of an
    embedding's inputs, which nobody needs, not at all.
    """
    inner = config.heads * config.size_of_head
    saved = batch * (tokens - read)
    last = 2 * config.width * inner + 2 * config.mlp * config.width**2
    ends = config.width * config.outputs if config.embedding else 0
    unread = 6 * (last + ends) * saved + 12 * saved * tokens * inner
    rows = batch * ((config.applications - 1) * tokens + read)
    distances = 6 * rows * tokens * inner if config.positions == "relative" else 0
    first = 2 * batch * tokens * config.width * config.channels if config.embedding else 0
    return step_flops(config, batch, tokens) - unread - first + distances
