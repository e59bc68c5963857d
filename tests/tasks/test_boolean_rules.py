"""Boolean rules: the exact posterior against truth tables made here, what inputs say about the rule, and the draws."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.tasks import BooleanRules, Pool, pool_posterior


def inputs_of(bits):
    """All inputs as tuples of booleans; bit 0 changes fastest."""
    return [tuple(bool(number >> j & 1) for j in range(bits)) for number in range(2**bits)]


def rules_of(task):
    """(truth table as a dictionary, prior probability) of every rule, written down from the definitions."""
    n, found = task.bits, []
    if task.rules == "conjunction":
        for literals in itertools.product((None, True, False), repeat=n):
            asked = [(j, value) for j, value in enumerate(literals) if value is not None]
            table = {x: all(x[j] == value for j, value in asked) for x in inputs_of(n)}
            absent = n - len(asked)
            weight = task.absent**absent * ((1 - task.absent) / 2) ** len(asked)
            found.append((table, weight if task.prior_over_rules == "by_length" else 3.0**-n))
        return found
    if task.rules == "literal":
        return [({x: x[j] == value for x in inputs_of(n)}, 1 / (2 * n)) for j in range(n) for value in (True, False)]
    sizes = range(n + 1) if task.sparsity is None else [task.sparsity]
    subsets = [subset for size in sizes for subset in itertools.combinations(range(n), size)]
    return [({x: sum(x[j] for j in s) % 2 == 1 for x in inputs_of(n)}, 1 / len(subsets)) for s in subsets]


def chance_of(table, x, task):
    """p(x | rule)."""
    true = [x for x, value in table.items() if value]
    if task.inputs == "uniform" or len(true) in (0, len(table)):
        return 1 / len(table)
    return 0.5 / (len(true) if table[x] else len(table) - len(true))


def brute_force(task, prompts, ignore_inputs=False):
    """p(y_i = 1 | x_≤i, y_<i) by a sum over all rules, [batch, position]."""
    rules = rules_of(task)
    x, y = np.asarray(prompts.x) > 0, np.asarray(prompts.y)
    answer = np.zeros(y.shape)
    for b in range(len(y)):
        weight = np.array([prior for _, prior in rules])
        for i in range(y.shape[1]):
            given = tuple(map(bool, x[b, i]))
            if not ignore_inputs:
                weight = weight * [chance_of(table, given, task) for table, _ in rules]
            says = np.array([table[given] for table, _ in rules])
            one = np.where(says, 1 - task.noise, task.noise)
            answer[b, i] = (weight * one).sum() / weight.sum()
            weight = weight * (one if y[b, i] else 1 - one)
            weight = weight / weight.sum()
    return answer


def random_task(seed):
    """A task of random sizes and kinds, the same each time."""
    rng = np.random.default_rng(seed)
    bits, parity = int(rng.integers(2, 6)), bool(rng.integers(2))
    kind = {"rules": "parity", "sparsity": int(rng.integers(1, bits + 1))} if parity else {"rules": "conjunction"}
    prior = {"prior_over_rules": "by_length", "absent": float(rng.uniform(0.2, 0.8))} if rng.integers(2) else {}
    return BooleanRules(
        bits=bits,
        examples=int(rng.integers(2, 9)),
        inputs=str(rng.choice(["uniform", "balanced"])),
        noise=float(rng.choice([0.0, 0.05, 0.3])),
        **kind,
        **({} if parity else prior),
    )


@functools.partial(jax.jit, static_argnames="batch")
def sample(task, batch):
    return task.sample(jax.random.key(11), batch)


@jax.jit
def exact(task, prompts):
    return task.population_predictive(prompts).mean_target()[..., 1]


@pytest.mark.parametrize(
    "task",
    [
        BooleanRules(bits=3, examples=7),
        BooleanRules(bits=3, examples=6, inputs="balanced", noise=0.1),
        BooleanRules(bits=4, examples=5, inputs="balanced", prior_over_rules="by_length", absent=0.6),
        BooleanRules(bits=2, examples=8, prior_over_rules="by_length", noise=0.2),
        BooleanRules(bits=5, examples=7, rules="parity", sparsity=3),
        BooleanRules(bits=4, examples=7, rules="parity", sparsity=None, noise=0.1),
        BooleanRules(bits=4, examples=6, rules="parity", sparsity=2, inputs="balanced"),
        BooleanRules(bits=2, examples=6, rules="literal", inputs="balanced", noise=0.2),
        *map(random_task, range(6)),
    ],
    ids=str,
)
def test_the_posterior_against_all_rules(task):
    prompts = sample(task, 24)
    np.testing.assert_allclose(exact(task, prompts), brute_force(task, prompts), atol=1e-5)


def test_balanced_inputs_are_evidence_about_the_rule():
    """The trap: who forgets p(x | rule) has another posterior and predicts worse."""
    task = BooleanRules(bits=3, examples=7, inputs="balanced")
    prompts = sample(task, 512)
    naive = brute_force(task, prompts, ignore_inputs=True)
    right = np.asarray(exact(task, prompts))
    assert np.abs(right - naive).max() > 0.3
    y = np.asarray(prompts.y)

    def loss(one):
        return -np.log(np.clip(np.where(y, one, 1 - one), 1e-9, 1)).mean(1)

    gain = loss(naive) - loss(right)
    assert gain.mean() > 5 * gain.std() / np.sqrt(len(gain))
    # The same prompts by a task that does not count inputs: its posterior is the naive one.
    np.testing.assert_allclose(exact(task.replace(inputs="uniform"), prompts), naive, atol=1e-5)


def test_the_posterior_over_a_pool_of_rules():
    task = BooleanRules(bits=3, examples=6, inputs="balanced", noise=0.1, prior=Pool(5, seed=4))
    members = [int(m) for m in jax.vmap(task.pool_latent)(jnp.arange(5))]
    every = BooleanRules(bits=3, examples=6, inputs="balanced", noise=0.1)
    order = list(itertools.product((None, True, False), repeat=3))

    def number(literals):
        return sum({None: 0, True: 1, False: 2}[value] * 3**j for j, value in enumerate(literals))

    rules = {number(literals): rule for literals, rule in zip(order, rules_of(every), strict=True)}
    prompts = sample(task, 12)
    x, y = np.asarray(prompts.x) > 0, np.asarray(prompts.y)
    found = np.asarray(jax.jit(pool_posterior)(task, prompts).predictive.mean_target())[..., 1]
    for b, i in itertools.product(*map(range, y.shape)):
        top = bottom = 0.0
        for m in members:
            table, weight = rules[m][0], 1.0
            for j in range(i + 1):
                given = tuple(map(bool, x[b, j]))
                weight *= chance_of(table, given, task)
                one = 0.9 if table[given] else 0.1
                if j < i:
                    weight *= one if y[b, j] else 1 - one
            top, bottom = top + weight * one, bottom + weight
        assert found[b, i] == pytest.approx(top / bottom, abs=1e-5)


@pytest.mark.parametrize("prior", ["uniform", "by_length"])
def test_rules_are_drawn_from_their_prior_which_sums_to_one(prior):
    task = BooleanRules(bits=3, prior_over_rules=prior, absent=0.5)
    expected = np.exp(task.log_prior(jnp.arange(task.support)))
    assert expected.sum() == pytest.approx(1, abs=1e-5)
    assert sorted(expected) == pytest.approx(sorted(weight for _, weight in rules_of(task)), abs=1e-6)
    drawn = jax.vmap(task.draw_latent)(jax.random.split(jax.random.key(0), 20000))
    count = np.bincount(drawn, minlength=task.support)
    assert (np.abs(count - 20000 * expected) < 5 * np.sqrt(20000 * expected)).all()


def test_balanced_inputs_are_half_true_and_uniform_on_either_side():
    task = BooleanRules(bits=3, inputs="balanced", examples=9999)
    x = task.draw_inputs(jax.random.key(1), jnp.int32(1 + 3 * 2))  # bit 0 set, bit 1 not set: two of eight
    holds = np.asarray(task.holds(jnp.int32(7), x))
    assert holds.mean() == pytest.approx(0.5, abs=0.025)
    numbers = (np.asarray(x) > 0) @ [1, 2, 4]
    true = np.bincount(numbers[holds], minlength=8)
    assert set(np.flatnonzero(true)) == {1, 5}
    for side, size in ((true, 2), (np.bincount(numbers[~holds], minlength=8), 6)):
        share = side[side > 0] / side.sum()
        assert len(share) == size
        assert share == pytest.approx(np.full(size, 1 / size), abs=0.04)
    everything = task.draw_inputs(jax.random.key(2), jnp.int32(0))  # the empty conjunction is true of all
    assert len(np.unique(np.asarray(everything), axis=0)) == 8


def test_labels_are_flipped_at_the_rate_of_the_noise():
    task = BooleanRules(bits=4, examples=15, noise=0.2)
    prompts = sample(task, 2048)
    says = jax.vmap(task.holds)(prompts.latent, prompts.x)
    flipped = np.asarray(says != prompts.y.astype(bool))
    assert flipped.mean() == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / flipped.size))


def test_shifted_inputs_set_bits_beside_set_ones():
    task = BooleanRules(bits=4)
    x = jnp.array([[1.0, -1, -1, -1], [-1, -1, -1, -1], [-1, 1, -1, 1]])
    np.testing.assert_array_equal(task.shift_inputs(x), [[1, 1, -1, -1], [-1, -1, -1, -1], [1, 1, 1, 1]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"rules": "majority"}, "rules: 'majority' is no class"), ({"rules": "parity", "sparsity": 9}, "sparsity: 9")],
)
def test_unknown_rules_are_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        BooleanRules(bits=4).replace(**changes).sample(jax.random.key(0), 1)
    assert "\n" not in str(caught.value)
