"""Interchange patching: identities exact, and every world the run it claims to be."""

import jax
import numpy as np
import pytest
from tiny_transformer import HEADS, LAYERS, LEARNER, TASK, TOKENS, answer, chains, pairs, values

from icl_lab.formats import Paired, Stream
from icl_lab.learners import TransformerLearner
from icl_lab.models import Model, TransformerConfig, one_step_gd
from icl_lab.probes.inside.interventions import ALL, asked, in_pieces, together, untouched, worlds
from icl_lab.probes.inside.patching import interchange_effect, patched_answers
from icl_lab.probes.inside.prompt_pairs import counterpart
from icl_lab.tasks import MarkovChain

CONFIG = LEARNER.model.config
TARGET = pairs(3, 2, 4)
SOURCE = jax.jit(counterpart)(TASK, TARGET, jax.random.key(2))
GRID = np.meshgrid(np.arange(LAYERS), np.arange(HEADS), np.arange(TOKENS), indexing="ij")


def all_tokens_and_none(site: str):
    layers = np.arange(LAYERS)
    return together(untouched(CONFIG, site, TOKENS), worlds(CONFIG, site, TOKENS, layers, np.array(ALL), np.array(ALL)))


@pytest.mark.parametrize("site", ["k", "resid_post"])
def test_a_prompt_patched_into_itself_changes_no_bit(site):
    everywhere = worlds(CONFIG, site, TOKENS, *GRID)
    which = together(untouched(CONFIG, site, TOKENS), everywhere)
    answers = np.asarray(patched_answers(LEARNER, TARGET, TARGET, which, site))
    np.testing.assert_array_equal(answers[LAYERS:], answers[np.asarray(everywhere.start)])
    np.testing.assert_allclose(answers[0, :, 0, 0], answer({}, TARGET), rtol=1e-5, atol=1e-6)
    other = np.asarray(patched_answers(LEARNER, SOURCE, TARGET, which, site))
    assert np.abs(other[LAYERS:] - answers[LAYERS:]).max() > 1e-2


def test_a_whole_stream_from_another_prompt_gives_its_answers_bit_for_bit():
    which = all_tokens_and_none("resid_post")
    there = np.asarray(patched_answers(LEARNER, SOURCE, TARGET, which, "resid_post"))
    back = np.asarray(patched_answers(LEARNER, TARGET, SOURCE, which, "resid_post"))
    np.testing.assert_array_equal(there[LAYERS:], back[:LAYERS])
    np.testing.assert_array_equal(back[LAYERS:], there[:LAYERS])
    np.testing.assert_allclose(there[LAYERS, :, 0, 0], answer({}, SOURCE), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("site", ["z", "resid_mid"])
def test_the_map_is_that_of_a_loop_over_single_patches(site):
    before, wanted, there = answer({}, TARGET), answer({}, SOURCE), values(SOURCE)
    heads = range(HEADS) if site != "resid_mid" else [None]
    expected = np.zeros((LAYERS, len(heads), TOKENS, 4))
    for layer in range(LAYERS):
        for slot, head in enumerate(heads):
            for token in range(TOKENS):
                index = (slice(None), token) if head is None else (slice(None), head, token)
                name = f"{layer}.{site}"
                after = answer({name: (index, there[name])}, TARGET)
                expected[layer, slot, token] = (after - before) / (wanted - before)
    found = np.asarray(interchange_effect(LEARNER, SOURCE, TARGET, site=site, at_once=2))
    assert found.shape == ((LAYERS, HEADS, TOKENS, 4) if site != "resid_mid" else (LAYERS, TOKENS, 4))
    np.testing.assert_allclose(found, expected.reshape(found.shape), atol=2e-4)
    assert np.abs(found).max() > 0.1


def test_the_answering_token_carries_everything_at_the_end_also_of_classes():
    task = MarkovChain(states=3, examples=3)
    model = Model(TransformerConfig(channels=3, tokens=5, heads=2, width=8, outputs=3, mlp=1, initial_scale=2.0))
    learner = TransformerLearner(jax.jit(model.init)(jax.random.key(3)), model, Stream(), task.outcomes)
    target = chains(3, 3, 6)
    source = jax.jit(counterpart)(task, target, jax.random.key(5))
    found = np.asarray(interchange_effect(learner, source, target))[0]
    apart = np.abs(np.asarray(source.x - target.x)).sum((1, 2)) > 0
    assert apart.sum() >= 3
    np.testing.assert_allclose(found[-1][apart], 1, atol=1e-4)
    np.testing.assert_array_equal(found[:-1], 0)
    np.testing.assert_array_equal(found[:, ~apart], 0)


def test_positions_that_are_not_answered_and_unknown_sites_are_errors():
    model, params = one_step_gd(3, 2, 0.5)
    learner = TransformerLearner(params, model, Paired())
    with pytest.raises(ValueError, match=r"position: 0 is not answered by Paired; give one of \[2\]"):
        interchange_effect(learner, SOURCE, TARGET, position=0)
    with pytest.raises(ValueError, match=r"site: 'zz' is not one of"):
        interchange_effect(learner, SOURCE, TARGET, site="zz")
    assert asked(LEARNER.format, 3, -2) == (slice(2, 3), slice(1, 2))


def test_pieces_are_equal_parts_of_the_batch():
    x = np.arange(12.0).reshape(6, 2)
    sizes = []

    def double(piece):
        sizes.append(piece.shape[0])
        return 2 * piece

    np.testing.assert_array_equal(in_pieces(double, x, 4), 2 * x)
    assert set(sizes) == {3}
