"""The terminal's scoreboard, the tally behind it, and the numbers' spelling."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import synthetic
from rich.console import Console

from icl_lab.report import scoreboard_table
from icl_lab.report.data import Run, load
from icl_lab.report.figures.curves import curves_of
from icl_lab.report.figures.planted import controls
from icl_lab.report.numbers.ratios import nearest_index, ratios, times_farther
from icl_lab.report.numbers.tally import begins_family, block, blocks
from icl_lab.report.subject import Subject
from icl_lab.report.text.sentences import verdict_sentence
from icl_lab.report.text.vocabulary import listing, number


def printed(path: Path, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(scoreboard_table(path))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 110, 200])
def test_terminal_table_is_at_most_110_columns_wide(stored: Path, width: int) -> None:
    lines = printed(stored, width)
    assert max(len(line.rstrip()) for line in lines) <= min(width, 110)


def test_terminal_table_tells_the_story(stored: Path) -> None:
    text = "\n".join(printed(stored / "results.nc", 110))
    for expected in ("yes 3/3", "no 3/3", "one GD step", "shifted", "untrained", "H5"):
        assert expected in text


def test_what_stands_between_colons_is_no_picture(tmp_path: Path) -> None:
    synthetic.write(tmp_path, root=synthetic.ROOT | {"name": "my_model:zero"})
    assert printed(tmp_path, 110)[0].startswith("my_model:zero: distance")


def test_tally_counts_members(run: Run) -> None:
    entry = block(run.subjects[0], run.subjects[0].trained[0])
    tally = entry.tallies["H5"]
    assert tally is not None
    assert (tally.status, tally.count, tally.members) == ("supported", 3, 3)
    distance = synthetic.groups()["linear_attention"]["hypothesis_distance"].values[:3, 0, 4]
    cell = entry.rows[0].cells["H5"]
    assert cell is not None
    assert cell.median == pytest.approx(np.median(distance))
    assert cell.low < distance.min()
    assert cell.high > distance.max()
    assert cell.nearest


def test_sentence_names_nearest_supported_and_refuted(run: Run) -> None:
    sentence = verdict_sentence(block(run.subjects[0], run.subjects[0].trained[0]))
    assert "3 of 3 members nearest to one GD step" in sentence
    assert "H5 implicit gradient descent supported" in sentence
    assert "× farther" in sentence


@pytest.mark.parametrize("hypothesis", ["H1", "H4"])
def test_how_much_farther_a_hypothesis_is_and_its_loss_are_those_of_its_stored_reference(
    run: Run, hypothesis: str
) -> None:
    subject = run.subjects[0]
    condition = subject.trained[0]
    data = synthetic.groups()["linear_attention"].isel(member=list(condition.members))
    name = str(data["hypothesis_reference"].sel(hypothesis=hypothesis).values[0])
    nearest = data["distance"].sel(reference="gd_1").values
    quotient = data["distance"].sel(reference=name).values / np.maximum(nearest, subject.thresholds.floor)
    assert times_farther(subject, condition, hypothesis) == pytest.approx(np.median(quotient.max(axis=1)))
    (curve,) = [curve for curve in curves_of(subject, condition) if curve.title.startswith(hypothesis)]
    np.testing.assert_allclose(curve.values, np.median(data["reference_loss"].sel(reference=name), axis=0))


def test_ratios_are_one_at_the_nearest(run: Run) -> None:
    table, nearest = ratios(run.subjects[1]), nearest_index(run.subjects[1])
    assert table is not None
    assert nearest is not None
    np.testing.assert_array_equal(table[np.arange(len(nearest)), nearest], 1.0)


def test_conditions_differ_in_more_than_the_seed(run: Run) -> None:
    assert [condition.label for condition in run.subjects[0].trained] == [""]
    assert [condition.label for condition in run.subjects[1].trained] == ["pool of 16 tasks", "population"]
    assert [condition.kind for condition in run.subjects[0].nulls] == ["untrained", "shuffled labels"]


def test_planted_outcomes(run: Run) -> None:
    (planted,) = run.planted
    found = {control.name: control for control in controls(planted)}
    assert found["one GD step"].right
    assert found["Lasso"].right
    assert not found["label average"].right
    bare = Subject("planted", planted.data.drop_vars("expected"))
    assert [control.right for control in controls(bare)] == [control.right for control in found.values()]


def test_verdict_lists_may_name_references(run: Run) -> None:
    assert run.subjects[0].hypotheses_named(["gd_1", "linear_smoother", "lasso", "H1"]) == ["H5", "H2", "H1"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.00213, "0.0021"),
        (0.0458, "0.046"),
        (0.099, "0.099"),
        (1.0, "1.0"),
        (1.34, "1.3"),
        (12.4, "12"),
        (541.0, "541"),
        (12_345.0, "12k"),
        (2.3e7, "2e7"),
        (0.00001, "<0.0001"),
        (0.0, "0"),
        (float("nan"), "–"),
    ],
)
def test_numbers_are_short(value: float, expected: str) -> None:
    assert number(value) == expected


def test_listing() -> None:
    assert [listing(list(items)) for items in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]


def test_families_have_headings_and_stay_together(tmp_path: Path) -> None:
    groups = synthetic.groups()
    one, other = groups["linear_attention"], groups["softmax"].assign_attrs(family="markov chain")
    synthetic.write(tmp_path, {"a": one, "b": other, "c": one})
    found = blocks(load(tmp_path))
    begins = [entry.subject.name for index, entry in enumerate(found) if begins_family(found, index)]
    assert begins == ["a", "b"]
    assert [entry.subject.name for entry in found if entry.condition in entry.subject.trained] == ["a", "c", "b", "b"]
    text = "\n".join(printed(tmp_path / "results.nc", 110))
    assert text.index("LINEAR REGRESSION") < text.index("MARKOV CHAIN")
