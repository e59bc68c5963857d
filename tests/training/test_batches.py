"""What additions to training do to a batch: noise levels, lengths, a curriculum, formats. Without them, nothing."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.config.config import parse_config
from icl_lab.core.errors import InputError
from icl_lab.formats import CHANGES, Interleaved, Paired, Stream
from icl_lab.learners.transformer import network_answers
from icl_lab.models import Model, TransformerConfig
from icl_lab.tasks import BooleanRules, LinearRegression, MarkovChain
from icl_lab.training import TrainingSettings
from icl_lab.training.augmentation import changed_formats, encode_in, longest
from icl_lab.training.batches import check_options, draw_batch, grown
from icl_lab.training.objective import loss_and_gradient
from icl_lab.training.regimes import sample_regimes

KEY, OTHER = jax.random.key(0), jax.random.key(1)
TASK = LinearRegression(dimension=3, examples=5, noise=0.0)
RULES = BooleanRules(bits=2, examples=3, noise=0.1)
FORMATS = ("plain", "separators", "swapped", "codes", "blanks")


def batch(step: int = 0, **settings: Any):
    return draw_batch(TASK, TrainingSettings(batch=64, **settings), KEY, OTHER, jnp.asarray(step))


def test_without_additions_a_batch_is_what_the_task_draws():
    jax.tree.map(np.testing.assert_array_equal, batch(), sample_regimes(TASK, KEY, 64))


def test_every_noise_level_has_an_equal_part():
    prompts = batch(noises=(0.0, 3.0))
    error = np.asarray(prompts.y - jnp.einsum("bpd,bd->bp", prompts.x, prompts.latent))
    np.testing.assert_allclose(error[:32], 0, atol=1e-5)
    assert error[32:].std() == pytest.approx(3.0, rel=0.15)


def test_noise_levels_stay_their_own_in_a_curriculum():
    for step in (0, 40):
        prompts = batch(step, noises=(0.0, 3.0), curriculum=20, first_dimensions=1)
        error = np.asarray(prompts.y - jnp.einsum("bpd,bd->bp", prompts.x, prompts.latent))
        np.testing.assert_allclose(error[:32], 0, atol=1e-5)
        assert error[32:].std() == pytest.approx(3.0, rel=0.15)


def test_prompts_of_mixed_lengths_end_anywhere_from_the_shortest():
    scored = np.asarray(batch(shortest=3).scored)
    last = scored.sum(1) - 1
    np.testing.assert_array_equal(scored, np.arange(6) <= last[:, None])
    assert set(last) == {3, 4, 5}


@pytest.mark.parametrize(
    ("step", "dimensions", "examples"), [(0, 1, 2), (6, 1, 2), (9, 1, 3), (10, 2, 3), (19, 2, 4), (40, 3, 5)]
)
def test_a_curriculum_adds_dimensions_and_examples(step, dimensions, examples):
    """Of 3 dimensions from 1 and 5 examples from 2, over 20 steps."""
    prompts = batch(step, curriculum=20, first_dimensions=1, first_examples=2)
    assert np.asarray(prompts.x != 0).all((0, 1)).tolist() == [True] * dimensions + [False] * (3 - dimensions)
    np.testing.assert_allclose(prompts.y, jnp.einsum("bpd,bd->bp", prompts.x, prompts.latent), atol=1e-5)
    np.testing.assert_array_equal(prompts.scored, np.broadcast_to(np.arange(6) <= examples, (64, 6)))


def test_what_grows_grows_evenly_and_stops():
    settings = TrainingSettings(curriculum=100, first_dimensions=5)
    found = [int(grown(settings, 5, 20, jnp.asarray(step))) for step in range(0, 160, 20)]
    assert found == [5, 8, 11, 14, 17, 20, 20, 20]


def test_every_prompt_is_written_in_its_format_with_zeros_behind():
    prompts = RULES.sample(KEY, 10)
    formats, choice = changed_formats(Interleaved(), FORMATS), jnp.arange(10) % 5
    tokens = np.asarray(encode_in(formats, prompts, RULES.outcomes, choice))
    assert tokens.shape[1] == longest(Interleaved(), FORMATS, 4) == 11  # four blanks before seven tokens
    for row in range(10):
        own = np.asarray(formats[row % 5].encode(prompts, RULES.outcomes))[row]
        np.testing.assert_array_equal(tokens[row, : len(own)], own)
        assert not tokens[row, len(own) :].any()


@pytest.mark.parametrize("loss", ["all", "last"])
def test_the_loss_in_mixed_formats_is_that_of_each_prompt_in_its_own(loss):
    """Against asking the network in one format after another, which also reads codes back."""
    prompts = RULES.sample(KEY, 10)
    model = Model(TransformerConfig(channels=4, tokens=11, width=8, heads=2, mlp=1, outputs=2))
    params = jax.jit(model.init)(OTHER)
    choice = jnp.arange(10) % 5
    settings = TrainingSettings(batch=10, micro_batch=5, loss=loss, formats=FORMATS)

    @jax.jit
    def ours(params):
        return loss_and_gradient(model, Interleaved(), RULES.outcomes, settings, params, prompts, choice=choice)

    value, _ = ours(params)
    errors = np.full((10, 4), np.nan)
    for index, name in enumerate(FORMATS):
        answers = network_answers(model, params, CHANGES[name](Interleaved()), RULES.outcomes, prompts)
        errors[index::5] = np.asarray(answers.loss(prompts.y))[index::5]
    if loss == "last":
        errors[:, :-1] = np.nan
    assert np.isnan(errors[2]).tolist() == [True, True, True, False]  # swapped: the last position only
    assert float(value) == pytest.approx(np.nanmean(errors), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"formats": ("upside_down",)},
            "formats: 'upside_down' is no change of format; choose among plain, separators",
        ),
        ({"noises": (-1.0,)}, "noises: -1.0 must be at least 0 and finite"),
        ({"batch": 8, "noises": (0.1, 0.2, 0.3)}, "noises: 3 levels do not divide batch 8"),
        ({"shortest": 2, "loss": "last"}, "shortest: shorter prompts end before the last position; use loss='all'"),
        ({"curriculum": 5}, "curriculum: give the steps that it takes, and first_examples or first_dimensions"),
        ({"first_examples": 5}, "curriculum: give the steps that it takes, and first_examples or first_dimensions"),
    ],
)
def test_impossible_additions_name_the_field(change, message):
    with pytest.raises(ValueError) as error:
        TrainingSettings(**change)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("change", "task", "format", "message"),
    [
        ({"noises": (0.1,)}, MarkovChain(), Stream(), "noises: MarkovChain has no noise; leave this list out"),
        ({"shortest": 6}, TASK, Interleaved(), "shortest: 6 examples are more than the task's 5"),
        ({"shortest": 2}, TASK, Paired(), "shortest: shorter prompts need formats that answer every position"),
        ({"formats": ("swapped",)}, TASK, Paired(), "formats: 'swapped' cannot be: x and y are no two tokens"),
        ({"formats": ("codes",)}, TASK, Interleaved(), "formats: 'codes' cannot be: real outcomes have no codes"),
        (
            {"formats": ("plain", "swapped"), "shortest": 2},
            TASK,
            Interleaved(),
            "shortest: shorter prompts need formats that answer every position",
        ),
        ({"curriculum": 9, "first_dimensions": 4}, TASK, Interleaved(), "first_dimensions: 4 are more than the 3 in"),
        ({"curriculum": 9, "first_dimensions": 1}, RULES, Interleaved(), "first_dimensions: inputs of BooleanRules c"),
    ],
)
def test_what_a_task_or_a_format_does_not_allow_is_said(change, task, format, message):
    with pytest.raises(ValueError) as error:
        check_options(TrainingSettings(**change), task, format)
    assert str(error.value).startswith(message)


def subject(training: dict | None = None, **fields) -> dict:
    task = {"kind": "linear_regression", "dimension": 3, "examples": 5, "noise": 0.5}
    one = {"task": task, "format": "interleaved", "training": {"batch": 8, **(training or {})}, **fields}
    return {"name": "small", "subjects": {"a": one}}


def test_additions_are_reached_from_a_file_and_are_in_it_only_where_used():
    plain = parse_config(subject(), "x")
    assert not {"formats", "noises", "shortest", "curriculum"} & set(plain.resolved()["subjects"]["a"]["training"])
    given = {"formats": ["plain", "blanks"], "noises": [0.1, 0.5], "shortest": 3}
    config = parse_config(subject(given | {"curriculum": 10, "first_dimensions": 1}), "x")
    found = config.subjects["a"].build_training()
    assert (found.formats, found.noises, found.shortest) == (("plain", "blanks"), (0.1, 0.5), 3)
    assert config.subjects["a"].build_model().config.tokens == 15
    assert config.hash8() != plain.hash8()
    assert parse_config(config.resolved(), "x").hash8() == config.hash8()
    with pytest.raises(InputError, match=r"training.formats: .*'full' sees; use 'causal'"):
        parse_config(subject({"formats": ["plain", "blanks"]}, format="paired", model={"mask": "full"}), "x")


def test_every_noise_level_is_one_of_the_task_and_has_prompts_of_every_regime():
    rules = {"kind": "boolean_rules", "bits": 2, "examples": 3, "noise": 0.1}
    with pytest.raises(InputError, match=r"training\.noises: 0\.9 should be less than 0\.5"):
        parse_config(subject({"noises": [0.1, 0.9]}, task=rules), "x")
    teacher = {"reference": "population_bayes"}
    levels = {"noises": [0.1, 0.2, 0.3, 0.4]}
    with pytest.raises(InputError, match=r"3 regimes need a training\.batch of as many at every noise, not 2"):
        parse_config(subject(levels, teacher=teacher), "x")


def test_a_marked_format_reserves_a_channel():
    config = parse_config(subject(format="interleaved_marked"), "x").subjects["a"].build_model().config
    assert config.channels == 5
