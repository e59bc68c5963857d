"""Trained networks are known by their teacher or by their parameters, as far as they come near, and trained once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.calibration.claims import loop_claims, loop_mechanism_claims, student_claims
from icl_lab.calibration.distilled import Teacher, answered, apart, known_student, student_network, teachers
from icl_lab.calibration.families import FAMILIES
from icl_lab.calibration.inner_loops import (
    INNER_LOOPS,
    algorithm_learner,
    learner_of,
    loop_mechanism_records,
    read_off,
)
from icl_lab.calibration.measure import Record
from icl_lab.calibration.mechanisms import BUILT, KNOWN
from icl_lab.calibration.planted import answers_at
from icl_lab.calibration.retrained import STARTS, Start
from icl_lab.calibration.truth import truth_of
from icl_lab.commands import calibration_networks as networks
from icl_lab.commands.calibration_records import dataset_of, mechanism_dataset
from icl_lab.core.prompts import Point
from icl_lab.formats import Interleaved, Paired
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.judge import owner_of
from icl_lab.models.recurrent import online_gd
from icl_lab.report.pages.calibration import networks_table
from icl_lab.tasks import LinearRegression
from icl_lab.training import TrainingSettings
from icl_lab.training.distil import teacher_of
from icl_lab.training.retrain import disturbance, moved, retrain

BATCH, ONLINE = INNER_LOOPS[1], INNER_LOOPS[3]
TASK = LinearRegression(dimension=2, examples=3, noise=0.5, weight_mean=1.0)


def test_delta_is_what_the_judge_leaves_unexplained_and_never_below_three_floors(bank):
    rows = [bank.slices[regime] for regime in bank.regimes]
    small = Point(np.full(bank.unit.shape, 0.1, np.float32))
    distance, limit = apart(bank, Point(np.asarray(small.mean) + 0.01), small)
    np.testing.assert_allclose(limit, 0.006)  # 2% of .1²/2v is less, v ≥ .26
    np.testing.assert_allclose(distance, [np.mean(0.01**2 / (2 * bank.unit[r])) for r in rows], rtol=1e-3)
    large = Point(np.full(bank.unit.shape, 3.0, np.float32))
    expected = [0.02 * np.mean(9 / (2 * bank.unit[r])) for r in rows]
    np.testing.assert_allclose(apart(bank, large, large)[1], expected, rtol=1e-5)


def test_every_hypothesis_has_a_teacher_at_its_best_on_the_task(bank):
    taught = teachers(bank)
    assert [teacher.hypothesis for teacher in taught] == ["H1", "H2", "H3", "H4", "H5"]
    assert [teacher.reference for teacher in taught] == [
        "pool_bayes",
        "nadaraya_watson",
        "meta_sgd_2",
        "pool_map",
        "gd_1",
    ]
    half = slice(0, bank.slices["calibration"].stop // 2)
    outcomes, rate = Point(np.asarray(bank.prompts.y)), taught[-1].parameters["rate"]
    errors = [
        bank.distances(outcomes, answers_at(bank, "gd_1", {"rate": factor * rate}))[half].mean()
        for factor in (0.8, 1.0, 1.25)
    ]
    assert errors[1] < min(errors[0], errors[2])
    kinds = [student_network(bank.task, teacher) for teacher in taught]
    assert [format for _, format in kinds] == [Interleaved(), Interleaved(), Paired(), Interleaved(), Paired()]
    assert answered(bank, Paired()).prompts.scored.sum() == len(bank.prompts.y)


def test_patience_is_so_many_times_the_training(bank):
    for teacher in teachers(bank):
        model, _ = student_network(bank.task, teacher)
        once, longer = networks.student_training(model), networks.student_training(model, 10)
        assert longer == dataclasses.replace(once, steps=10 * once.steps)


def test_a_student_is_known_by_its_teacher(bank):
    teacher = teachers(bank)[-1]
    model, format = student_network(bank.task, teacher)
    student = known_student(bank, teacher, jax.jit(model.init)(jax.random.key(0)), "gd_1 student 0")
    assert (student.kind, student.group, student.reference) == ("distilled", "H5 student", "gd_1")
    np.testing.assert_allclose(
        student.function().mean, answers_at(bank, "gd_1", dict(teacher.parameters)).mean, rtol=1e-6
    )
    assert np.isfinite(np.asarray(student.answers().mean)[:, format.answers(13)]).all()


@pytest.mark.parametrize("loop", [BATCH, ONLINE], ids=lambda loop: loop.name)
def test_the_algorithm_is_read_off_parameters_whatever_their_scale(loop):
    start, beta, a, value, readout = np.array([0.7, -0.4]), 0.11, 1.3, 0.8, -2.0
    b = a / (value * readout)  # then residuals are taken where answers are
    params = {
        "key": jnp.asarray([[a, 0], [0, a], [0, 0]], jnp.float32),
        "query": jnp.asarray([[b, 0], [0, b], [0, 0]], jnp.float32),
        "value": jnp.asarray([[0], [0], [value]], jnp.float32),
        "readout": jnp.asarray([[readout]], jnp.float32),
        "initial": jnp.asarray(start[None] / (b * readout), jnp.float32),
        "log_beta": jnp.log(jnp.asarray(beta, jnp.float32)),
    }
    found = read_off(params, TASK)
    assert found.rate == pytest.approx(beta * a**2, rel=1e-5)
    np.testing.assert_allclose(found.start, start, rtol=1e-5)
    assert found.hypothesis == "H3"
    assert read_off({**params, "initial": 0.05 * params["initial"]}, TASK).hypothesis == "H5"

    prompts = jax.jit(lambda: TASK.sample(jax.random.key(3), 5))()
    expected = []
    for x, y in zip(np.asarray(prompts.x, float), np.asarray(prompts.y, float), strict=True):
        weights = start.copy()
        for i in range(3):
            at = weights if loop.online else start
            weights = weights + beta * a**2 * (y[i] - at @ x[i]) * x[i]
        expected.append(weights @ x[3])
    trained, ideal = learner_of(loop, params, TASK), algorithm_learner(loop, found, TASK)
    for learner in (trained, ideal):
        np.testing.assert_allclose(np.asarray(learner(prompts).mean)[:, -1], expected, rtol=1e-4)


def test_inside_a_loop_is_looked_for_what_its_parameters_say():
    _, params = online_gd(2, 3, 0.2, 1, jnp.array([0.8, -0.5]))
    found = loop_mechanism_records(TASK, ONLINE, params, 4, jax.random.key(1))
    assert [(r.name, r.draw, r.known, r.supported) for r in found] == [
        ("online_learned_start", 4, ("H3",), ("H3",)),
        ("online_learned_start", 4, (), ()),
        ("online_learned_start", 4, (), ()),
    ]
    claims = {claim.id: claim for claim in loop_mechanism_claims(found)}
    assert {name.rpartition(".")[2] for name, claim in claims.items() if claim.holds} == {
        "identified", "false_support", "random", "reversed",
    }  # fmt: skip
    assert mechanism_dataset(found)["title"].values[0] == "delta rule, online steps, weights of mean 1"
    missed = [dataclasses.replace(r, supported=()) if r.weights == BUILT else r for r in found]
    assert not {claim.id: claim for claim in loop_mechanism_claims(missed)}["inner_loops.mechanisms.identified"].holds


def test_a_network_is_trained_once_and_in_groups_of_one_size(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    groups = []

    def train(group):
        groups.append(list(group))
        return {"weight": jnp.asarray(group, jnp.float32)}

    plan = {"a 0": 1, "a 1": 2, "b 0": 3}
    found = networks._trained(plan, train, 7, tmp_path, lambda line: None)
    assert {name: float(params["weight"]) for name, params in found.items()} == plan
    assert groups == [[1, 2], [3, 3]]
    (tmp_path / "a-1" / "step-000000007.safetensors").write_bytes(b"cut off")
    said = []
    again = networks._trained(plan, train, 7, tmp_path, said.append)
    assert (groups[2:], said) == ([[2, 2]], ["training a 1"])
    assert {name: float(params["weight"]) for name, params in again.items()} == plan


def network_record(kind: str, group: str, name: str, excess: float, **changes: object) -> Record:
    fields = {"truth": ("H5",), "status": "supported", "named": ("H5",), "identified": True, "false": False}
    judged = {
        "noise": "none",
        "prompts": 8,
        "nearest": "gd_1",
        "remainder": 0.0,
        "split": False,
        "wronged": False,
        "explained": True,
    }
    near = {"false_without": False, "distance": (0.001, 0.01 * excess), "limit": (0.006, 0.01), "same": ("H5",)}
    return Record(kind, name, group, "gd_1", **(fields | judged | near | changes))


def test_networks_beyond_delta_are_shown_and_not_counted():
    near = network_record("distilled", "H5 student", "gd_1 student 0", 0.8)
    far = network_record("distilled", "H5 student", "gd_1 student 1", 1.2, named=("H1",), false=True, identified=False)
    claims = {claim.id: claim for claim in student_claims("linear_regression", [near, far])}
    assert str(claims["linear_regression.students.counted"].measured).endswith("(1 of 2)")
    assert str(claims["linear_regression.students.identified"].measured).endswith("(1 of 1)")
    assert str(claims["linear_regression.students.false_support"].measured).endswith("(0 of 1)")
    assert claims["linear_regression.students.gd_1"].measured == "0.008 (δ 0.01); 0.012 (δ 0.01)"
    loop = network_record("inner loop", "H3 online", "online 0", 0.5, truth=(), same=(), named=(), status="unexplained")
    step = network_record("inner loop", "H5 batch", "batch 0", 0.5, truth=("H3", "H5"), named=("H3", "H5"))
    claims = {claim.id: str(claim.measured) for claim in loop_claims([loop, step])}
    assert claims["inner_loops.online.false"].endswith("(0 of 1)")
    assert claims["inner_loops.batch.false"].endswith("(0 of 1)")  # within δ of what it is known by
    assert claims["inner_loops.batch.beyond_the_same"].endswith("(1 of 1)")  # and not the very function
    columns = {
        str(name): np.asarray(values)
        for name, values in dataset_of([near, far, loop, step], ("a", "b")).variables.items()
    }
    table = networks_table({"linear_regression": columns})
    assert [row[-1] for row in table.rows].count("not counted") == 1
    assert "H3+H5 (H5)" in [row[2] for row in table.rows]
    assert "fails" not in table.kinds  # what is not counted can be no failure


def test_truth_about_a_network_is_all_that_lies_within_delta_of_what_it_is_known_by(bank):
    function = answers_at(bank, "gd_1", {"rate": 0.4})
    limit = np.array([0.05, 0.1, 0.2])
    exact, near = truth_of(bank, function, "gd_1"), truth_of(bank, function, "gd_1", limit)
    assert {*exact.references} < {*near.references}
    for name in bank.references:
        distance = bank.distances(function, bank.fit(name, function).predictions)
        inside = all(distance[bank.slices[r]].mean() <= most for r, most in zip(bank.regimes, limit, strict=True))
        assert (name in near.references) == (inside or name == "gd_1")
    assert truth_of(bank, function, "gd_1", np.zeros(3)) == exact  # never less than what is no difference


def test_a_retrained_construction_keeps_its_wiring_and_comes_back_to_its_teacher():
    task = LinearRegression(dimension=2, examples=4, noise=0.5)
    start = Start("one_step_gd", Teacher("gd_1", {"rate": 0.4}), lambda task: task)
    built, teacher = start.built(task), teacher_of(task, REFERENCES["gd_1"][1], {"rate": 0.4})
    change = disturbance(built.params, jax.random.key(0), 0.3)
    drawn = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(change)])
    assert 0.2 < drawn.std() < 0.4
    settings = TrainingSettings(steps=150, batch=24, learning_rate=1e-2, schedule="cosine", chunk=100)
    trained = retrain(built, teacher, settings, 3, noise=0.3)
    prompts = jax.jit(lambda: task.sample(jax.random.key(5), 256))()
    wanted = np.asarray(teacher(prompts).mean)[:, -1]

    def error(params):
        learner = dataclasses.replace(built, params=params)
        return np.square(np.asarray(learner(prompts).mean)[:, -1] - wanted).mean()

    disturbed = moved(built.params, disturbance(built.params, jax.random.split(jax.random.key(3))[0], 0.3))
    assert error(built.params) < 1e-8
    assert error(trained) < 0.01 * error(disturbed)
    for before, after in zip(jax.tree.leaves(built.params), jax.tree.leaves(trained), strict=True):
        np.testing.assert_array_equal(np.asarray(before) == 0, np.asarray(after) == 0)
        assert not np.any((np.asarray(before) != 0) & (np.asarray(before) == np.asarray(after)))


def test_what_is_retrained_is_the_teacher_before_it_is_disturbed():
    for family, starts in STARTS.items():
        for start in starts:
            task = start.task(FAMILIES[family](5))
            built = start.built(task)
            prompts = jax.jit(lambda task=task: task.sample(jax.random.key(1), 16))()
            teacher = teacher_of(task, REFERENCES[start.teacher.reference][1], dict(start.teacher.parameters))
            own, other = (np.asarray(each(prompts).mean_target()) for each in (built, teacher))
            rows = built.format.answers(task.positions)
            np.testing.assert_allclose(own[:, rows], other[:, rows], atol=2e-3)
            assert owner_of(start.teacher.reference) in KNOWN[start.construction].hypotheses
