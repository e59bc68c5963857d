"""What every format keeps to. `FORMATS` itself enrols them, at the sizes of SIZES."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.outcomes import Classes
from icl_lab.core.prompts import Prompts
from icl_lab.formats import FORMATS, Format

SIZES = [(1, 2), (3, 5), (4, 1)]  # features, positions
ROWS = [
    pytest.param(kind(), *size, id=f"{name}-{size}") for (name, kind), size in itertools.product(FORMATS.items(), SIZES)
]
ALL = pytest.mark.parametrize(("format", "features", "positions"), ROWS)


def draw(features: int, positions: int, batch: int = 3) -> Prompts:
    x_key, y_key = jax.random.split(jax.random.key(0))
    x = jax.random.normal(x_key, (batch, positions, features))
    y = jax.random.normal(y_key, (batch, positions))
    return Prompts(x=x, y=y, latent=None, scored=jnp.ones(y.shape, bool))


def derivatives(format: Format, prompts: Prompts) -> tuple[np.ndarray, np.ndarray]:
    """∂token/∂x [token, channel, position, feature] and ∂token/∂y [token, channel, position] of the first prompt."""

    def tokens(x: jax.Array, y: jax.Array) -> jax.Array:
        alone = jax.tree.map(lambda leaf: leaf[:1], prompts)
        return format.encode(alone.replace(x=x[None], y=y[None]))[0]

    by_x, by_y = jax.jit(jax.jacfwd(tokens, (0, 1)))(prompts.x[0], prompts.y[0])
    return np.asarray(by_x), np.asarray(by_y)


@ALL
def test_sizes_are_those_promised(format, features, positions):
    tokens = format.encode(draw(features, positions))
    assert tokens.shape == (3, format.tokens(positions), format.channels(features))
    assert tokens.dtype == jnp.float32
    assert len(format.labels(positions)) == format.tokens(positions)
    assert len(set(format.labels(positions))) == format.tokens(positions)
    read = range(format.tokens(positions))[format.read(positions)]
    answered = range(positions)[format.answers(positions)]
    assert len(read) == len(answered) > 0
    assert answered[-1] == positions - 1


@ALL
def test_jit_is_eager_and_an_axis_of_prompts_is_a_loop(format, features, positions):
    prompts = draw(features, positions)
    tokens = format.encode(prompts)
    np.testing.assert_array_equal(tokens, jax.jit(format.encode)(prompts))
    singles = [format.encode(jax.tree.map(lambda leaf, b=b: leaf[b : b + 1], prompts))[0] for b in range(3)]
    np.testing.assert_array_equal(tokens, np.stack(singles))


@ALL
def test_nothing_of_an_asked_outcome_has_entered_when_it_is_asked(format, features, positions):
    """Up to the token where position i is read, nothing depends on y_i, nor on what comes after x_i."""
    by_x, by_y = derivatives(format, draw(features, positions))
    read = range(format.tokens(positions))[format.read(positions)]
    for token, position in zip(read, range(positions)[format.answers(positions)], strict=True):
        assert not by_y[: token + 1, :, position:].any()
        assert not by_x[: token + 1, :, position + 1 :].any()
        assert by_x[token, :, position].any()
    assert not by_y[:, :, -1].any()  # also under a mask that sees everything


@ALL
def test_everything_before_a_query_can_be_recovered(format, features, positions):
    """Tokens are linear in the prompt and determine all inputs and all outcomes but the last.

    In a stream the inputs say the outcomes, so that the inputs are all there is to recover.
    """
    prompts = draw(features, positions)
    by_x, by_y = derivatives(format, prompts)
    rows = by_x.shape[0] * by_x.shape[1]
    jacobian, whole = by_x.reshape(rows, -1), prompts.x[0].ravel()
    if not format.streams:
        jacobian = np.concatenate([jacobian, by_y.reshape(rows, -1)[:, :-1]], axis=1)
        whole = np.concatenate([whole, prompts.y[0, :-1]])
    assert np.linalg.matrix_rank(jacobian) == len(whole)
    recovered = np.linalg.lstsq(jacobian, np.ravel(format.encode(prompts)[0]), rcond=None)[0]
    np.testing.assert_allclose(recovered, whole, atol=1e-5)


@ALL
def test_classes_enter_as_one_hot_vectors(format, features, positions):
    """Prompts that differ in any class but the last have other tokens; those of one kind of outcome have as many."""
    kind = Classes(3)
    x = jax.random.normal(jax.random.key(1), (1, positions, features))
    every = jnp.asarray(list(itertools.product(range(3), repeat=positions)), jnp.int32)
    batch = jnp.broadcast_to(x, (len(every), *x.shape[1:]))
    if format.streams:
        batch = jnp.concatenate([batch[:, :1], jax.nn.one_hot(every[:, :-1], max(features, 3))[..., :features]], axis=1)
    tokens = format.encode(Prompts(x=batch, y=every, latent=None, scored=jnp.ones(every.shape, bool)), kind)
    assert tokens.shape == (len(every), format.tokens(positions), format.channels(features, kind.size))
    different = np.unique(np.asarray(tokens).reshape(len(every), -1), axis=0)
    lost = features == 1 and format.streams  # one feature tells the first class from the rest only
    assert len(different) == (2 if lost else 3) ** (positions - 1)
