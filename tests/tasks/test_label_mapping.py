"""Labelled items: what the slices hold, and the exact mixture against an enumeration of all maps."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from icl_lab.learners.classes import class_lookup, in_context_match
from icl_lab.tasks import LabelMapping

TASK = LabelMapping(classes=16, labels=4, dimension=32, examples=8, burstiness=2, fixed=0.5)
SLICES = ("training", "novel", "swapped", "no_match")


@functools.partial(jax.jit, static_argnames="batch")
def sample(task, batch=4096):
    return task.sample(jax.random.key(3), batch)


def drawn(task, batch=4096):
    prompts = sample(task, batch)
    return prompts, np.asarray(prompts.latent["class"]), np.asarray(prompts.latent["label"])


@pytest.mark.parametrize(("classes", "labels", "fixed", "seed"), [(3, 2, 0.4, 0), (4, 3, 0.9, 1), (3, 3, 1.0, 2)])
@pytest.mark.parametrize("items", ["gaussian", "one_hot"])
def test_the_exact_mixture_against_all_maps(classes, labels, fixed, seed, items):
    """p(y_i | …) = Σ_maps p(map) 1[map explains y_<i] 1[map(c_i) = y] / Σ_maps …, the fixed map having mass f more."""
    task = LabelMapping(
        classes=classes,
        labels=labels,
        dimension=24,
        examples=5,
        burstiness=5,
        bursty=0.3,
        items=items,
        fixed=fixed,
        spread=0.05,
        seed=seed,
    )
    prompts = sample(task, 64)
    c, y = np.asarray(prompts.latent["class"]), np.asarray(prompts.y)
    exact = np.zeros((*y.shape, labels))
    for b, i in itertools.product(*map(range, y.shape)):
        for mapping in itertools.product(range(labels), repeat=classes):
            weight = (1 - fixed) / labels**classes
            weight += fixed * all(mapping[k] == k % labels for k in range(classes))
            explains = all(mapping[c[b, j]] == y[b, j] for j in range(i))
            exact[b, i, mapping[c[b, i]]] += weight * explains
    exact /= exact.sum(-1, keepdims=True)
    found = jax.jit(lambda task, prompts: task.population_predictive(prompts).mean_target())(task, prompts)
    np.testing.assert_allclose(found, exact, atol=1e-5)


@pytest.mark.parametrize("name", SLICES)
def test_the_query_of_every_slice_is_what_its_name_says(name):
    task = TASK.replace(slice=name)
    prompts, classes, labels = drawn(task)
    context, query = classes[:, :-1], classes[:, -1]
    if name != "training":
        counts = np.sort((context[:, :, None] == context[:, None]).sum(-1), axis=-1)
        np.testing.assert_array_equal(counts, 2)  # N/B classes, each B times
    in_context = (context == query[:, None]).any(1)
    assert in_context.all() if name != "no_match" else not in_context.any()
    assert (classes < 16).all() if name != "novel" else (classes >= 16).all()
    fixed = labels == classes % 4
    if name == "training":
        assert 0.5 + 0.5 / 4 - 0.03 < fixed.mean() < 0.5 + 0.5 / 4 + 0.03
    elif name == "novel":
        assert 0.23 < fixed.mean() < 0.27
    else:
        assert fixed.all() if name == "no_match" else not fixed.any()
    np.testing.assert_array_equal(prompts.y, labels)


def test_a_class_has_one_label_in_a_prompt_and_others_in_other_prompts():
    prompts, classes, labels = drawn(TASK.replace(slice="novel"), 512)
    same = classes[:, :, None] == classes[:, None]
    assert (labels[:, :, None] == labels[:, None])[same].all()
    _, classes, labels = drawn(TASK.replace(fixed=1e-6), 2048)
    assert {int(label) for label in labels[classes == 3]} == set(range(4))
    assert prompts.x.shape == (512, 9, 32)


def test_items_lie_around_means_that_are_the_same_in_all_prompts():
    prompts, classes, _ = drawn(TASK)
    means = np.asarray(TASK.means(jnp.arange(16)))
    assert np.square(means).sum(-1).mean() == pytest.approx(1, abs=0.2)
    noise = np.asarray(prompts.x) * np.sqrt(1.01) - means[classes]
    assert np.square(noise).sum(-1).mean() == pytest.approx(0.01, rel=0.02)
    np.testing.assert_array_equal(TASK.classify(prompts.x), classes)
    assert not np.allclose(means, TASK.replace(seed=1).means(jnp.arange(16)))


def test_items_have_the_density_of_their_class():
    prompts, classes, _ = drawn(TASK, 16)
    found = jax.vmap(TASK.input_log_prob)(prompts.latent, prompts.x, prompts.y)
    centre, scale = np.asarray(TASK.means(jnp.arange(16)))[classes] / np.sqrt(1.01), 0.1 / np.sqrt(1.01 * 32)
    np.testing.assert_allclose(found, stats.norm(centre, scale).logpdf(prompts.x).sum(-1), rtol=1e-4)


def test_frequencies_follow_zipf():
    task = TASK.replace(burstiness=0, zipf=1.0)
    _, classes, _ = drawn(task, 16384)
    expected = 1 / np.arange(1, 17)
    expected /= expected.sum()
    found = np.bincount(classes.ravel(), minlength=16) / classes.size
    assert (np.abs(found - expected) < 5 * np.sqrt(expected / classes.size)).all()
    _, first, _ = drawn(TASK.replace(zipf=1.0), 4096)
    assert (first == 0).mean() > 2 * (first == 15).mean()


def test_a_share_of_the_prompts_is_bursty():
    _, classes, _ = drawn(TASK.replace(bursty=0.25))
    counts = (classes[:, :-1, None] == classes[:, None, :-1]).sum(-1)
    assert (counts == 2).all(1).mean() == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("name", ["training", "novel", "no_match"])
def test_one_hot_items_have_room_for_novel_classes(name):
    task = LabelMapping(classes=8, dimension=12, items="one_hot", examples=4, spread=0.0, slice=name)
    prompts, classes, _ = drawn(task, 64)
    np.testing.assert_array_equal(np.asarray(prompts.x).argmax(-1), classes)
    assert ((classes >= 8).all() and classes.max() == 11) if name == "novel" else (classes < 8).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"burstiness": 3}, "burstiness: 3 does not divide the 8 examples"),
        ({"classes": 4}, "classes: 4 are too few"),
        ({"items": "one_hot", "dimension": 12}, "dimension: 12 one-hot items are too few"),
        ({"items": "one_hot", "dimension": 19, "slice": "novel"}, "dimension: 19 one-hot items are too few"),
    ],
)
def test_fields_that_do_not_fit_are_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        TASK.replace(**changes).sample(jax.random.key(0), 1)
    assert "\n" not in str(caught.value)


@jax.jit
def right(task, prompts):
    """Share of right answers about the query: by weights, by context; chance counts where an answer is neutral."""
    answers = {"weights": class_lookup(task, prompts), "context": in_context_match(task, prompts)}
    return {name: jnp.exp(answer.log_prob(prompts.y))[:, -1].mean() for name, answer in answers.items()}


def test_slices_tell_weights_from_context():
    """Weights know fixed labels, context those it holds, and neither anything else."""
    expected = {"novel": (0.25, 1), "swapped": (0, 1), "no_match": (1, 0.25)}
    for name, (weights, context) in expected.items():
        task = TASK.replace(slice=name)
        found = right(task, sample(task))
        assert float(found["weights"]) == pytest.approx(weights, abs=0.05), name
        assert float(found["context"]) == pytest.approx(context, abs=0.01), name


def test_no_learner_beats_the_exact_mixture():
    prompts = sample(TASK)
    exact = TASK.population_predictive(prompts).loss(prompts.y)
    for learner in (class_lookup, in_context_match):
        for lapse in (0.03, 0.1, 0.3):
            excess = np.asarray(learner(TASK, prompts).lapsed(lapse).loss(prompts.y) - exact).mean(1)
            assert excess.mean() > 5 * excess.std() / np.sqrt(len(excess))
