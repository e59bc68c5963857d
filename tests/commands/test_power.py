"""`icl-lab power` at tiny size: results, claims, page, reuse, and bad input in one line."""

import numpy as np
import pytest
from command import CONFIG, main, refused, write

from icl_lab.calibration import readings as readings_module
from icl_lab.calibration.telling import Telling
from icl_lab.commands import power as command
from icl_lab.config import named
from icl_lab.config.config import parse_config
from icl_lab.config.named import first_task
from icl_lab.hypotheses import REFERENCES
from icl_lab.probes.behaviour.battery import BATTERY
from icl_lab.store.claims import read_claims
from icl_lab.store.directory import RunDirectory
from icl_lab.store.results import read_results

CHOSEN = ("population_bayes", "ridge", "nearest_neighbour", "gd_1")


@pytest.fixture
def few(monkeypatch):
    """A handful of references and probes."""
    monkeypatch.setattr(command, "own_references", lambda: {name: REFERENCES[name] for name in CHOSEN})
    monkeypatch.setattr(
        readings_module, "BATTERY", {name: BATTERY[name] for name in ("label_copying", "label_linearity")}
    )


def test_power_from_the_command_line(few, tmp_path):
    file, output = write(tmp_path), tmp_path / "runs"
    code, out, err = main("power", file, "--prompts", 32, "--output", output)
    assert code == 0, err
    assert "the same function: the Gaussian posterior mean is ridge" in " ".join(out.split())
    (folder,) = output.iterdir()
    directory = RunDirectory.open(folder)
    data = read_results(directory)[0]["a"]
    assert data.sizes["hypothesis"] == 5
    columns = {"in_distribution", "fresh_tasks", "shifted", "label_linearity", "label_copying"}
    assert set(data["by"].values) == columns
    same = data.sel(hypothesis="H1", rival="H2")
    assert same["proven"] == 1
    assert not np.isfinite(same["prompts"]).any()
    assert np.isfinite(data.sel(hypothesis="H1", rival="H4", by="label_copying")["prompts"])
    assert {claim.id for claim in read_claims(directory.claims_file)} == {"a.must", "a.must_not", "a.equal"}
    table = (folder / "telling.md").read_text()
    assert "| label copying | nearest example from ridge (" in table
    assert "| label linearity |  | GD, 1 step from ridge |" in table
    assert "functions that are the same: told 0 of 2 times" in table
    page = directory.report_file.read_text()
    assert (folder / "figures" / "power-a.png").exists()
    assert (folder / "figures" / "telling-a.png").exists()
    assert "ordered pairs of hypotheses can be told apart" in page
    code, _, err = main("power", file, "--prompts", 32, "--output", output)
    assert code == 0
    assert "reusing" in err


def test_another_pool_or_another_source_is_another_run(monkeypatch):
    def name(pool: list[int]) -> str:
        subject = CONFIG["subjects"]["a"]
        config = parse_config(CONFIG | {"subjects": {"a": subject | {"ensemble": {"pool": pool}}}}, "x")
        return command.PowerConfig(subjects={"a": {"task": first_task(config, "a")}}).hash8()

    assert name([4]) == name([4])
    assert name([4]) != name([8])
    before = name([4])
    monkeypatch.setattr(named, "sources", lambda task: "changed")
    assert name([4]) != before


def test_bad_input_is_refused_in_one_line(tmp_path):
    file = write(tmp_path)
    refused(main("power", file, "--prompts", 99999999999), "prompts", "too large")
    refused(main("calibrate", "--seed", 99999999999, "--output", tmp_path), "seed", "too large")
    refused(main("judge", "math:sqrt", "--prompts", 99999999999), "prompts", "too large")
    refused(main("power", file, "--prompts", 4), "--prompts: 4 is too small")
    refused(main("power", tmp_path / "none.yaml"), "none.yaml")
    refused(main("power", file, "--promts", 16), "--promts")
    wrong = {**CONFIG, "subjects": {"a": {**CONFIG["subjects"]["a"], "task": {"kind": "linear_regresion"}}}}
    refused(main("power", write(tmp_path, wrong)), "task.kind")


def test_a_claim_names_the_pair_that_went_wrong():
    told = [
        Telling("a", "b", "", {"influence": np.inf, "rest": 9.0}, {"influence": True}, {}),
        Telling("c", "d", "algebra", {"influence": 4.0}, {"influence": False}, {}),
    ]
    must, equal = command.claims_of("x", told)
    assert (must.id, must.holds, must.measured) == ("x.must", False, "0 of 1, not influence: a, b")
    assert (equal.id, equal.holds, equal.measured) == ("x.equal", False, "0 of 1, not influence: c, d")
