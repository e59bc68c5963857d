"""Claims decide by their numbers, and say in words what the numbers say."""

import math

import numpy as np
import pytest

from icl_lab.core.claims import RULES, claim, counted, failed, first_of


@pytest.mark.parametrize(
    ("rule", "value", "against", "details", "holds"),
    [
        ("above", 2, 1, {}, True),
        ("above", 1, 1, {}, False),
        ("below", 1, 2, {}, True),
        ("below", 1, 1, {}, False),
        ("at_least", 1, 1, {}, True),
        ("at_least", 0.9, 1, {}, False),
        ("at_most", 1, 1, {}, True),
        ("at_most", 1.1, 1, {}, False),
        ("equals", 1.05, 1, {"tolerance": 0.1}, True),
        ("equals", 0.85, 1, {"tolerance": 0.1}, False),
        ("nearer", 0.1, 0.2, {}, True),
        ("nearer", 0.2, 0.1, {}, False),
        ("first_of", 0.1, 0.2, {}, True),
        ("first_of", 0.2, 0.2, {}, False),
        ("falls", 1, 2, {}, True),
        ("falls", 2, 1, {}, False),
        ("rises", 2, 1, {}, True),
        ("rises", 1, 2, {}, False),
        ("clearly_above", 2, 1, {"interval": [[1.5, 2.5]]}, True),
        ("clearly_above", 2, 1, {"interval": [[0.5, 3.5]]}, False),
        ("clearly_below", 1, 2, {"interval": [[0.5, 1.5]]}, True),
        ("clearly_below", 1, 2, {"interval": [[0.5, 2.5]]}, False),
        ("contains", 1, 1.2, {"interval": [[0.5, 1.5]]}, True),
        ("contains", 1, 1.7, {"interval": [[0.5, 1.5]]}, False),
    ],
)
def test_rules(rule, value, against, details, holds):
    assert claim("a", "s", rule, value, against, **details).holds is holds
    assert not claim("a", "s", rule, math.nan, against, **details | {"interval": [[math.nan] * 2]}).holds


def test_every_rule_is_tried_above():
    tried = {case[0] for case in test_rules.pytestmark[0].args[1]}
    assert tried == set(RULES)


def test_every_member_has_to_meet_the_rule_unless_a_share_is_named():
    members = claim("a", "s", "above", [1.0, 2.0, 3.0, 4.0, 0.0], 0.5)
    assert members.met == (True, True, True, True, False)
    assert members.holds is False
    assert claim("a", "s", "above", members.values, 0.5, share=0.8).holds
    assert not claim("a", "s", "above", members.values, 0.5, share=0.81).holds


def test_with_no_members_nothing_is_decided():
    none = claim("a", "all are right", "above", [], 1.0)
    assert (none.holds, none.gate) == (None, "report")
    assert failed([none]) == []


def test_words_come_from_the_numbers():
    nearer = claim("a", "s", "nearer", [0.25, 0.5], [0.5, 0.25], unit="nats", interval=[[0.2, 0.3], [0.4, 0.6]])
    assert nearer.expected == "nearer than 0.25 to 0.5 nats"
    assert nearer.measured == "1 of 2 members: 0.25 against 0.5 [0.2, 0.3]; 0.5 against 0.25 [0.4, 0.6]"
    assert claim("a", "s", "equals", 1.0, 2.0, tolerance=0.5).expected == "2 ± 0.5"


def test_intervals_may_be_given_by_end_or_by_member():
    ends = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    by_end = claim("a", "s", "report", [0, 0, 0], interval=ends)
    assert by_end.interval == ((1.0, 4.0), (2.0, 5.0), (3.0, 6.0))
    assert claim("a", "s", "report", [0, 0, 0], interval=ends.T) == by_end


def test_the_first_of_several_distances_is_named():
    distances = {"ridge": [0.1, 0.3], "dMMSE": [0.2, 0.2], "zero": [1.0, 1.0]}
    found = first_of("a", "s", distances, "ridge")
    assert found.met == (True, False)
    assert found.labels == ("ridge", "dMMSE")
    assert found.against == (0.2, 0.2)


def test_shares_are_shown_as_counts():
    found = counted("a", "s", "at_least", 9, 10, 0.85)
    assert (found.holds, found.measured) == (True, "9 of 10")
    assert counted("a", "s", "at_most", 0, 0, 0.0).holds


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="beside"):
        claim("a", "s", "beside", 1.0)
