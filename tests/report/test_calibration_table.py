"""What a calibration prints: counts of verdicts, rates and the power by prompts, as its records say."""

import dataclasses

import numpy as np
import pytest
import yaml
from rich.console import Console

from icl_lab.calibration import claims as calibration_claims
from icl_lab.calibration.measure import Record
from icl_lab.calibration.subjects import KINDS, NOISES
from icl_lab.cli import main
from icl_lab.commands.calibrate import CalibrationConfig
from icl_lab.commands.calibration_records import dataset_of
from icl_lab.report.figures.calibration import draw
from icl_lab.report.figures.layout import Drawing, styled
from icl_lab.report.numbers.confusion import OUTCOMES, PERCENT, TITLES, UNKNOWN, groups_of, matrix
from icl_lab.report.text.calibration_table import calibration_tables
from icl_lab.store.claims import write_claims
from icl_lab.store.directory import RunDirectory
from icl_lab.store.results import write_results

PLAIN = {"split": False, "wronged": False, "explained": True, "false_without": False}


def record(name, group, named, truth, noise="low", prompts=64, kind="planted", **others):
    identified = bool(named) and set(named) <= set(truth)
    status = others.pop("status", "supported" if named else "unexplained")
    return Record(
        kind, name, group, name, noise, prompts, truth, status, named, "a", 0.1,
        identified=identified, false=bool({*named} - {*truth}), **PLAIN, **others,
    )  # fmt: skip


@pytest.fixture
def records():
    """Ridge is found at once; a gradient step only with all prompts; of two strangers one is taken for retrieval."""
    ridge = record("ridge", "H2", ("H2",), ("H1", "H2"))
    step = record("gd_1", "H5", ("H2", "H5"), ("H2", "H5"))
    lost = record("gd_5", "H5", (), ("H5",), status="inconclusive")
    taught = record("taught", "H1 student", ("H1",), ("H1",), kind="distilled", distance=(0.1,), limit=(0.2,))
    return [
        *(dataclasses.replace(ridge, noise=noise) for noise in ("none", "low", "middle")),
        *(dataclasses.replace(ridge, prompts=prompts) for prompts in (16, 32)),
        step,
        *(dataclasses.replace(step, prompts=n, named=(), status="unexplained", identified=False) for n in (16, 32)),
        lost,
        *(dataclasses.replace(lost, prompts=prompts) for prompts in (16, 32)),
        record("odd", "stranger", ("H4",), (), kind="stranger"),
        record("other", "stranger", (), (), kind="stranger"),
        taught,
        dataclasses.replace(taught, name="far", distance=(0.3,), named=("H3",), false=True),
    ]


def columns(records):
    return {name: np.asarray(values) for name, values in dataset_of(records, ("here",)).variables.items()}


def test_verdicts_are_counted_once_for_everything_that_they_name(records):
    rows = {row.group: row for row in matrix(columns(records), groups_of({"a": columns(records)}))}
    assert dict(zip(OUTCOMES, rows["H5"].named, strict=True)) == {
        **dict.fromkeys(OUTCOMES, 0),
        "H2": 1,
        "H5": 1,
        "inconclusive": 1,
    }
    assert (rows["H5"].learners, rows["H5"].verdicts) == (2, 2)
    assert (rows["H2"].learners, rows["H2"].verdicts) == (1, 2)  # at two noises
    assert rows["H2"].true == (True, True, False, False, False)
    assert rows["H5"].true == (False, True, False, False, True)
    assert rows["H5"].wrong == (0, 0, 0, 0, 0)
    assert (rows["stranger"].named[3], rows["stranger"].wrong[3]) == (1, 1)
    assert (rows["H1 student"].learners, rows["H1 student"].trained, rows["H1 student"].named[2]) == (1, 2, 0)
    assert rows["mixture"].verdicts == 0


def test_matrix_rates_and_power_are_printed(records, tmp_path):
    dataset_of(records, ("here",)).to_netcdf(tmp_path / "results.nc", group="linear_regression", engine="netcdf4")
    console = Console(width=110, record=True)
    for table in calibration_tables(tmp_path):
        console.print(table)
    lines = [line.strip() for line in console.export_text().splitlines()]

    def cells(start):
        return next(line for line in lines if line.startswith(start)).split()

    assert cells("H5 implicit gradient descent")[-9:] == ["2", "2", "·", "[1]", "·", "·", "[1]", "1", "·"]
    assert cells("distorted, kinds new to the rule")[-9:] == ["2", "2", "·", "·", "·", "1!", "·", "·", "1"]
    assert "1 of 2" in next(line for line in lines if line.startswith("transformers taught by H1"))
    rates = [line.split("  ") for line in lines if line.startswith("identified, noise")]
    assert [f"{parts[0]}:{' '.join(parts[-1].split()[:3])}" for parts in rates] == [
        "identified, noise none:1 of 1",
        "identified, noise low:2 of 3",
        "identified, noise middle:1 of 1",
        "identified, noise low, 16 prompts:1 of 3",
        "identified, noise low, 32 prompts:1 of 3",
        "identified, noise low, 64 prompts:2 of 3",
    ]
    assert "1 of 2" in next(line for line in lines if line.startswith("false support, unknown learners"))


def test_the_command_prints_them_also_when_it_reuses_what_is_there(records, tmp_path, capsys):
    directory = RunDirectory.create(CalibrationConfig(families=("linear_regression",)), tmp_path)
    attributes = {"config": yaml.safe_dump({"name": "calibration"})}
    write_results(directory, {"linear_regression": dataset_of(records, ("here",))}, attributes)
    write_claims(directory.claims_file, calibration_claims.power_claims("linear_regression", records))
    directory.finish()
    assert main(["calibrate", "--task", "linear_regression", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "linear regression: what the judge says of known learners" in printed
    assert "identified, noise low, 64 prompts" in printed
    assert "false support, unknown learners" in printed
    assert "report: " in printed


def test_the_figure_shows_the_same_counts(records):
    with styled():
        drawn = draw({"linear_regression": columns(records)})
    assert isinstance(drawn, Drawing)
    assert "identifies 75.0% (linear regression)" in drawn.takeaway
    assert "in 1 of 2 learners of kinds new to it" in drawn.takeaway


def test_the_power_by_prompts_is_a_claim_that_decides_nothing(records):
    claims = {claim.id: claim for claim in calibration_claims.family_claims("linear_regression", records)}
    for prompts, count in ((16, 1), (32, 1), (64, 2)):
        claim = claims[f"linear_regression.identified.{prompts}_prompts"]
        assert claim.measured.endswith(f"({count} of 3)")
        assert (claim.gate, claim.holds) == ("report", None)


def test_every_kind_of_known_learner_has_a_row():
    groups = {name.rpartition(" ")[2] if name.startswith("H") else name for name in TITLES}
    shown = {"distilled": "student", "planted": "gradient descent"}
    assert {shown.get(kind, kind) for kind in KINDS if kind not in ("planted", "inner loop")} <= groups
    assert UNKNOWN == calibration_claims.UNKNOWN
    assert {name: f"{100 * share:g}" for name, share in NOISES.items()} == PERCENT
