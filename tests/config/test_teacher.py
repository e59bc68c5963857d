"""The teacher of a subject: what a file may say, what members get, and that runs without one keep their name."""

import pytest

from icl_lab.commands.run import describe_training
from icl_lab.config.config import load_config, parse_config
from icl_lab.core.errors import InputError
from icl_lab.training import stack

# Of the small configuration without a teacher; another results schema, or another setting of the judge, changes it.
HASH_OF_SMALL = "400056ee"


def with_teacher(small: dict, **teacher: object) -> dict:
    small["subjects"]["a"]["teacher"] = {"reference": "ridge", "parameters": {"penalty": 0.3}} | teacher
    return small


def test_without_a_teacher_nothing_of_it_is_resolved_and_the_hash_is_the_old_one(small):
    config = parse_config(small, "x")
    assert "teacher" not in config.resolved()["subjects"]["a"]
    assert config.hash8() == HASH_OF_SMALL
    small["subjects"]["a"]["teacher"] = {"reference": None}
    assert parse_config(small, "x").hash8() == HASH_OF_SMALL
    assert parse_config(with_teacher(small), "x").hash8() != HASH_OF_SMALL


def test_a_resolved_teacher_is_a_teacher_again_and_decides_the_hash(small):
    config = parse_config(with_teacher(small), "x")
    again = parse_config(config.resolved(), "y")
    assert again.hash8() == config.hash8()
    assert config.resolved()["subjects"]["a"]["teacher"]["parameters"] == {"penalty": 0.3}
    assert parse_config(with_teacher(small, parameters={"penalty": 0.4}), "x").hash8() != config.hash8()


def test_members_have_the_teacher_of_their_own_task(small):
    small["subjects"]["a"]["ensemble"] = {"seeds": 2, "pool": [4, 16]}
    teacher = {"reference": "pool_bayes", "parameters": {}, "regimes": ["fresh_tasks", "shifted"]}
    members = [m.member for m in parse_config(with_teacher(small, **teacher), "x").subjects["a"].members()]
    assert [m.teacher.task.prior.size for m in members] == [4, 4, 16, 16]
    assert {m.teacher.reference.name for m in members} == {"pool_bayes"}
    assert {m.regimes for m in members} == {("fresh_tasks", "shifted")}
    assert stack(members).teacher.task.prior.size.tolist() == [4, 4, 16, 16]


def test_members_without_a_teacher_are_trained_on_outcomes(small):
    (first, *_) = parse_config(small, "x").subjects["a"].members()
    assert first.member.teacher is None
    assert first.member.regimes == ("in_distribution",)


def test_options_change_a_teacher(small, write):
    path = write(with_teacher(small))
    options = ["--subjects.a.teacher.parameters.penalty", "2.0", "--subjects.a.teacher.regimes", "shifted"]
    (first, *_) = load_config(path, options).subjects["a"].members()
    assert float(first.member.teacher.parameters["penalty"]) == 2.0
    assert first.member.regimes == ("shifted",)


def test_an_option_gives_a_teacher_that_needs_no_parameters(small, write):
    options = ["--subjects.a.teacher.reference", "nearest_neighbour"]
    (first, *_) = load_config(write(small), options).subjects["a"].members()
    assert first.member.teacher.reference.name == "nearest_neighbour"


def test_the_report_says_whose_answers_were_learned(small, write):
    plain = load_config(write(small)).subjects["a"]
    taught = load_config(write(small), ["--subjects.a.teacher.reference", "nearest_neighbour"]).subjects["a"]
    assert "answers" not in describe_training(plain)
    assert describe_training(taught) == (
        describe_training(plain) + ", on the answers of nearest example instead of the outcomes"
    )


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        ({"reference": "rigde"}, "reference: 'rigde' is no reference; did you mean 'ridge'?"),
        ({"reference": 3}, "reference: 3 should be text"),
        ({"parameters": {"penalti": 0.3}}, "parameters.penalti: unknown key; did you mean 'penalty'?"),
        ({"parameters": {"penalty": -1.0}}, "parameters.penalty: -1.0 should be greater than 0"),
        ({"parameters": {"penalty": "big"}}, "parameters.penalty: 'big' should be a valid number"),
        ({"parameters": {}}, "parameters.penalty: is missing; 'ridge' needs a value"),
        ({"parameters": 0.3}, "parameters: 0.3 should be a mapping"),
        (
            {"reference": "pool_bayes", "parameters": {}},
            "reference: 'pool_bayes' does not apply to this task; these do",
        ),
        ({"reference": "context_counts", "parameters": {"concentration": 1.0}}, "does not apply to this task"),
        (
            {"reference": "nadaraya_watson", "parameters": {"bandwidth": 1.0, "pseudo_count": 1.0}},
            "parameters.pseudo_count: has no effect with such outcomes",
        ),
        ({"regimes": ["fresh"]}, "regimes.0: 'fresh' should be 'in_distribution'"),
        ({"regimes": []}, "regimes: [] should hold at least one entry"),
        ({"regimes": ["shifted", "shifted"]}, "regimes: ['shifted', 'shifted'] holds a regime twice"),
        ({"refrence": "ridge"}, "refrence: unknown key; did you mean 'reference'?"),
        ({"reference": None}, "parameters: of no reference; give teacher.reference too"),
    ],
)
def test_a_bad_teacher_is_refused_in_one_line_that_names_the_field(small, teacher, words):
    with pytest.raises(InputError, match=r"^x: subjects\.a\.teacher\.") as caught:
        parse_config(with_teacher(small, **teacher), "x")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_does_not_go_with_a_teacher_is_refused(small):
    small = with_teacher(small)
    small["subjects"]["a"]["training"]["batch"] = 2
    with pytest.raises(InputError, match=r"^x: subjects\.a\.teacher\.regimes: 3 regimes need a training\.batch of as"):
        parse_config(small, "x")
    small["subjects"]["a"]["training"]["batch"] = 8
    small["subjects"]["a"]["ensemble"]["shuffled_labels"] = 1
    with pytest.raises(InputError, match=r"^x: subjects\.a\.ensemble\.shuffled_labels: is no null with a teacher"):
        parse_config(small, "x")
