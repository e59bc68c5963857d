"""Changed formats: nothing is lost, nothing asked for is shown, and who knows the format answers as before."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.outcomes import Classes, Real
from icl_lab.core.prompts import Prompts
from icl_lab.formats import (
    CHANGES,
    Blank,
    Coded,
    Format,
    Interleaved,
    Marked,
    Paired,
    Reversed,
    Scaled,
    Separated,
    Stream,
    Swapped,
    Unreadable,
    WithDescription,
    separated,
    why_not,
)
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.models import Model, TransformerConfig
from icl_lab.stress.readable import why_unreadable

OUTCOMES, POSITIONS, BATCH = Classes(3), 5, 6
BASES = {
    "interleaved": Interleaved(),
    "paired": Paired(),
    "stream": Stream(),
    "described": WithDescription(Interleaved(), 2),
    "marked": Marked(Interleaved()),
}
ROWS = {
    f"{base}, {name}": changed
    for base, format in BASES.items()
    for name, change in CHANGES.items()
    if not isinstance(changed := change(format), Unreadable)
} | {
    "between x and y": Separated(Interleaved(), 2, -1),
    "every three states": Separated(Stream(), 3, 0, 2),
    "many": Coded(Blank(Separated(Scaled(Swapped(), 3.0), 1), 2), 2),
    "turned stream": Reversed(Coded(Stream(), 1)),
}
ALL = pytest.mark.parametrize("format", ROWS.values(), ids=ROWS.keys())


def draw(format: Format, seed: int = 0) -> Prompts:
    """Prompts of three classes, and the chains of three states if the format is for streams."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, (BATCH, POSITIONS))
    x = generator.normal(size=(BATCH, POSITIONS, 4))
    if format.streams:
        x = np.eye(3)[np.concatenate([generator.integers(0, 3, (BATCH, 1)), y[:, :-1]], axis=1)]
    said = np.eye(2)[generator.integers(0, 2, BATCH)]
    return Prompts(jnp.float32(x), jnp.int32(y), None, jnp.ones(y.shape, bool), jnp.float32(said))


@ALL
def test_all_but_the_last_outcome_is_decoded(format):
    prompts = draw(format)
    found = format.decode(format.encode(prompts, OUTCOMES), OUTCOMES)
    np.testing.assert_allclose(found.x, prompts.x, rtol=1e-6)
    np.testing.assert_array_equal(found.y[:, :-1], prompts.y[:, :-1])
    np.testing.assert_array_equal(found.y[:, -1], 0)
    if found.description is not None:
        np.testing.assert_array_equal(found.description, prompts.description)


@ALL
def test_sizes_are_those_promised_and_formats_are_hashable(format):
    prompts = draw(format)
    tokens = format.encode(prompts, OUTCOMES)
    assert tokens.shape == (BATCH, format.tokens(POSITIONS), format.channels(prompts.x.shape[-1], 3))
    assert len(set(format.labels(POSITIONS))) == tokens.shape[1]
    read = range(tokens.shape[1])[format.read(POSITIONS)]
    answered = range(POSITIONS)[format.answers(POSITIONS)]
    assert len(read) == len(answered) > 0
    assert answered[-1] == POSITIONS - 1
    assert hash(format) == hash(dataclasses.replace(format))
    assert isinstance(format, Format)


@ALL
def test_what_is_asked_is_not_shown_before_the_answer(format):
    """Other outcomes from the position on, and other inputs after it, leave all tokens up to the answer as they are."""
    prompts = draw(format)
    read = range(format.tokens(POSITIONS))[format.read(POSITIONS)]
    tokens = np.asarray(format.encode(prompts, OUTCOMES))
    for token, position in zip(read, range(POSITIONS)[format.answers(POSITIONS)], strict=True):
        y = prompts.y.at[:, position:].set((prompts.y[:, position:] + 1) % 3)
        x = prompts.x.at[:, position + 1 :].set(prompts.x[:, position + 1 :] + 1)
        other = np.asarray(format.encode(prompts.replace(x=x, y=y), OUTCOMES))
        np.testing.assert_array_equal(other[:, : token + 1], tokens[:, : token + 1])
        seen = np.asarray(format.encode(prompts.replace(x=prompts.x.at[:, position].add(1.0)), OUTCOMES))
        assert (seen[:, token] != tokens[:, token]).any()


def test_layouts_by_hand():
    """Four classes of tokens: x_i, y_i, separators and blanks, in the order written down."""
    by_hand = {
        Swapped(): "y0 x0 y1 x1 x2",
        Separated(Interleaved(), 2): "x0 y0 |2 x1 y1 |5 x2",
        Separated(Interleaved(), 2, -1): "x0 |1 y0 x1 |4 y1 x2",
        separated(Interleaved(), 2): "x0 |1 y0 |3 x1 |5 y1 |7 x2",
        separated(Swapped(), 1): "y0 x0 |2 y1 x1 |5 x2",
        separated(WithDescription(Interleaved(), 2), 1): "description x0 y0 |3 x1 y1 |6 x2",
        separated(Paired(), 2): "x0,y0 |1 |2 x1,y1 |4 |5 x2",
        Blank(Stream(), 2): "_0 _1 s0 s1 s2",
        Separated(Stream(), 2): "s0 s1 |2 s2",
    }
    for format, layout in by_hand.items():
        assert " ".join(format.labels(3)) == layout
        names = format.labels(3)
        read = [names[token] for token in range(len(names))[format.read(3)]]
        assert [int(name[1:]) for name in read] == list(range(3)[format.answers(3)])


def test_separators_are_zeros_or_have_the_channel_reserved_for_them():
    prompts = draw(Interleaved())
    for format in (separated(Interleaved()), separated(Marked(Interleaved()))):
        tokens, names = np.asarray(format.encode(prompts, OUTCOMES)), format.labels(POSITIONS)
        between = np.array([name.startswith("|") for name in names])
        assert not tokens[:, between, :7].any()
        if tokens.shape[-1] == 8:
            np.testing.assert_array_equal(tokens[..., 7], np.broadcast_to(between, tokens.shape[:2]))


def test_codes_are_a_permutation_that_answers_are_read_back_through():
    """A network that answers the code of the class it was shown last is read as that class."""
    prompts = draw(Interleaved())
    for format in (Coded(Interleaved(), 1), Coded(Coded(Interleaved(), 2), 2), Coded(Stream(), 2), Reversed(Stream())):
        given = draw(format)
        plain = format.inner if isinstance(format.inner, Interleaved | Stream) else Interleaved()
        shown = plain.decode(format.encode(given, OUTCOMES), OUTCOMES).y[:, :-1]  # as codes
        assert (np.asarray(shown) != given.y[:, :-1]).any()
        np.testing.assert_array_equal(format.read_back(jax.nn.one_hot(shown, 3)).argmax(-1), given.y[:, :-1])
    with pytest.raises(ValueError, match="shift: real outcomes have no codes"):
        Coded(Interleaved()).encode(prompts.replace(y=jnp.float32(prompts.y)), Real())


def test_what_cannot_be_asked_is_said_in_one_line():
    config = TransformerConfig(channels=7, tokens=9, width=8, outputs=3)
    prompts = draw(Interleaved())

    def learner(format, **changes):
        return TransformerLearner(None, Model(dataclasses.replace(config, **changes)), format, OUTCOMES)

    longer = separated(Interleaved())
    assert why_unreadable(learner(longer), prompts) == "13 tokens are more than its table of 9 learned positions"
    assert why_unreadable(learner(longer, positions="alibi"), prompts) == ""
    assert why_unreadable(learner(CHANGES["swapped"](Interleaved())), prompts) == ""
    for format in (Paired(), Marked(Paired()), Blank(WithDescription(Stream(), 2), 1)):
        name = "Stream" if format.streams else "Paired"
        changed = CHANGES["swapped"](format)
        assert why_unreadable(learner(changed), prompts) == f"x and y are no two tokens of the format {name}"
        assert why_not(format) == ""
        with pytest.raises(ValueError, match="no two tokens"):
            changed.encode(prompts)
