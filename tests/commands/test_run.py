"""A whole tiny run: trained, judged, stored, reused; and the claims that are made of verdicts."""

import itertools
import json
import shutil

import numpy as np
import pytest
import xarray

from icl_lab.analysis.planted import recognised
from icl_lab.commands.run import execute, expected_claims, general_claims
from icl_lab.commands.stress import is_stress, stress_run
from icl_lab.commands.train import train_subject
from icl_lab.config.config import parse_config
from icl_lab.core.errors import InputError
from icl_lab.learners.recurrent import RecurrentLearner
from icl_lab.report import build
from icl_lab.store.claims import read_claims
from icl_lab.store.directory import RunDirectory
from icl_lab.store.results import read_results

CONFIG = {
    "name": "tiny",
    "judge": {
        "prompts": 32,
        "calibration": 32,
        "snapshots": 3,
        "bootstrap": 20,
        "planted": False,
        "probes": ["influence", "label_copying"],
        "perturbations": ["order", "unseen", "length"],
        "mechanism_over_time": True,
    },
    "subjects": {
        "small": {
            "task": {"kind": "linear_regression", "dimension": 2, "examples": 3, "pool": 4},
            "format": "interleaved",
            "model": {"layers": 1, "heads": 1, "width": 8},
            "training": {"steps": 12, "batch": 8, "chunk": 12},
            "ensemble": {"seeds": 2},
            "expect": [{"near": ["gd_1"]}],
        }
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    said = []
    directory = execute(parse_config(CONFIG, "test"), output, said.append)
    return directory, output, said


def test_results_hold_every_variable_with_its_dimensions(run):
    groups, attributes = read_results(run[0])
    data = groups["small"]
    assert list(data["label"].values) == ["seed 0", "seed 1", "untrained"]
    assert list(data["regime"].values) == ["in_distribution", "fresh_tasks", "shifted"]
    members, regimes, references, positions = 3, 3, data.sizes["reference"], 4
    shapes = {
        "distance": (members, regimes, references),
        "distance_low": (members, regimes, references),
        "hypothesis_distance": (members, regimes, 5),
        "loss": (members, regimes, positions),
        "zero_loss": (members, regimes, positions),
        "reference_loss": (members, regimes, references, positions),
        "attention": (members, 1, 1, 7, 7),
        "influence": (members, 3),
        "trajectory_distance": (members, 2, regimes, references),
    }
    for name, shape in shapes.items():
        assert data[name].shape == shape, name
        assert np.isfinite(data[name].values[0]).any(), name
    assert (data["distance_low"] <= data["distance"] + 1e-9).all()
    assert {"device", "versions", "config", "date"} <= set(attributes)


def test_every_member_is_looked_into_and_the_verdict_follows_from_the_stored_evidence(run):
    data = read_results(run[0])[0]["small"]
    for text in data["mechanism"].values:
        found = json.loads(text)
        assert sorted(found["supported"] + found["refuted"] + found["not_tested"]) == ["H1", "H2", "H3", "H4", "H5"]
        kernel = [row for row in found["evidence"] if row["hypothesis"] == "H2"]
        assert {row["kind"] for row in kernel} >= {"internal", "causal"}
        assert ("H2" in found["refuted"]) == any(row["value"] <= row["threshold"] for row in kernel)
    told = json.loads(data.attrs["signatures"])
    stored = {row["signature"] for row in json.loads(data["mechanism"].values[0])["evidence"]}
    assert stored <= {row["signature"] for row in told}


def test_the_mechanism_over_time_ends_with_the_mechanism(run):
    data = read_results(run[0])[0]["small"]
    over_time = data["trajectory_mechanism"]
    assert over_time.dims == ("member", "step")
    assert (over_time.isel(member=2) == "").all()  # the untrained one
    for row in range(2):
        looks = [json.loads(text) for text in over_time.values[row]]
        assert len(looks) == data.sizes["step"]
        last = json.loads(data["mechanism"].values[row])
        assert looks[-1] == {name: last[name] for name in ("supported", "refuted", "not_tested")}


def test_attention_over_time_ends_where_the_attention_of_the_trained_members_is(run):
    data = read_results(run[0])[0]["small"]
    assert list(data["snapshot"].values) == [0, 10, 12]
    over_time = data["attention_over_time"]
    assert over_time.shape == (3, 4, 3, 1, 1, 7, 7)
    last = over_time.isel(look=0, snapshot=-1, member=[0, 1]).values
    np.testing.assert_allclose(last, data["attention"].values[:2], atol=1e-3)
    assert np.abs(over_time.isel(snapshot=0) - over_time.isel(snapshot=-1)).max() > 1e-3
    assert np.isnan(over_time.isel(member=2)).all()
    np.testing.assert_allclose(over_time.isel(member=[0, 1]).sum("token_key"), 1, atol=5e-3)
    assert list(data["look_labels"].values[0, 0]) == ["x0", "y0", "x1", "y1", "x2", "y2", "x3"]
    assert data["look_labels"].values[0, 1, 1].startswith("y0 = ")


def test_members_and_the_untrained_network_are_mapped(run):
    data = read_results(run[0])[0]["small"]
    assert data["interchange"].shape == (3, 1, 7)
    assert data["head_ablation"].shape == (3, 1, 1)
    assert data["attention_likeness"].shape == (3, 4, 1, 1)
    for name in ("interchange", "interchange_input", "head_ablation", "mlp_ablation", "attribution", "mlp_attribution"):
        assert np.isfinite(data[name]).all(), name
        assert (data[f"{name}_low"] <= data[name] + 1e-9).all(), name
        assert (data[name] <= data[f"{name}_high"] + 1e-9).all(), name
    np.testing.assert_allclose(data["interchange"].isel(layer=-1, token=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(data["interchange"].isel(layer=-1, token=slice(-1)), 0)


def test_probes_are_asked_of_members_and_of_the_best_reference_of_every_hypothesis(run):
    data = read_results(run[0])[0]["small"]
    assert [name.split(": ")[0] for name in data["statistic"].values] == ["influence"] * 4 + ["label_copying"] * 2
    difference = data["probe_seen"] - data["probe_predicted"]
    np.testing.assert_allclose(
        data["probe_difference"], difference.transpose(*data["probe_difference"].dims), atol=1e-6
    )
    assert (data["probe_difference_low"] <= data["probe_difference"] + 1e-9).all()
    assert ((data["probe_p"] >= 0) & (data["probe_p"] <= 1)).all()
    # Whatever copies one label answers one of the prompt's labels; the influences of an average sum to one.
    copying = data["probe_predicted"].sel(hypothesis="H4", statistic="label_copying: distance")
    nearest = data["hypothesis_reference"].sel(hypothesis="H4").values == "nearest_neighbour"
    assert (copying.values[nearest] < 1e-6).all()


def test_members_are_stressed_beside_references_and_chance(run):
    data = read_results(run[0])[0]["small"]
    assert list(data["perturbation"].values) == ["order", "unseen", "length"]
    for name in ("bias", "mismatch", "distance", "moved"):
        assert data[f"stress_{name}"].shape == data[f"stress_chance_{name}"].shape == (3, 3)
        assert data[f"stress_reference_{name}"].shape == (3, 5, 3)
    asked = data.sel(perturbation=["order", "unseen"])
    assert np.isfinite(asked["stress_bias"]).all()
    assert (asked["stress_bias_low"] <= asked["stress_bias_high"]).all()
    # Learned positions end with the training length; what needs none can be asked.
    assert np.isnan(data["stress_bias"].sel(perturbation="length")).all()
    assert np.isfinite(data["stress_chance_bias"].sel(perturbation="length")).all()
    assert (data["stress_mismatch"].sel(perturbation="unseen") > 0).all()
    assert (data["stress_chance_moved"].sel(perturbation="order") == 0).all()
    assert ((data["fault_low"] <= data["fault_high"]) & (data["fault_left"] <= 1)).all()


def test_a_finished_run_can_be_stressed_again(run, tmp_path):
    """The same numbers for what is asked again, and nothing else of the results changes."""
    copied = tmp_path / run[0].path.name
    shutil.copytree(run[0].path, copied)
    before = read_results(run[0])[0]["small"]
    stress_run(RunDirectory.open(copied), ["unseen"])
    after = read_results(RunDirectory.open(copied))[0]["small"]
    assert list(after["perturbation"].values) == ["order", "length", "unseen"]
    assert set(json.loads(after.attrs["stress"])) == {"order", "unseen", "length"}
    for name in ("bias", "mismatch", "reference_bias", "chance_moved"):
        found = after[f"stress_{name}"].sel(perturbation=before["perturbation"].values)
        np.testing.assert_allclose(found, before[f"stress_{name}"], atol=1e-6)
    kept = [name for name in before.variables if not is_stress(str(name))]
    assert before[kept].identical(after[kept].assign_attrs(before.attrs))


def test_what_is_asked_twice_is_stored_once_and_what_makes_no_sense_is_refused(run, tmp_path):
    copied = tmp_path / run[0].path.name
    shutil.copytree(run[0].path, copied)
    stress_run(RunDirectory.open(copied), ["unseen", "unseen"])
    stress_run(RunDirectory.open(copied), ["order"])
    found = read_results(RunDirectory.open(copied))[0]["small"]["perturbation"].values
    assert sorted(map(str, found)) == ["length", "order", "unseen"]
    with pytest.raises(InputError, match="'label_codes' makes no sense for any task of this run: "):
        stress_run(RunDirectory.open(copied), ["label_codes"])


def test_a_run_whose_configuration_was_edited_is_not_stressed(run, tmp_path):
    copied = tmp_path / run[0].path.name
    shutil.copytree(run[0].path, copied)
    directory = RunDirectory.open(copied)
    text = directory.config_file.read_text()
    assert "steps: 12" in text
    directory.config_file.write_text(text.replace("steps: 12", "steps: 13", 1))
    with pytest.raises(InputError, match=r"config\.yaml or a file it names has changed since the run was made"):
        stress_run(directory, ["order"])


def test_the_last_snapshot_is_judged_like_the_trained_member(run):
    data = read_results(run[0])[0]["small"].sel(member=[0, 1])
    last = data["trajectory_distance"].isel(step=-1)
    np.testing.assert_allclose(last.values, data["distance"].values, rtol=1e-5)


def test_the_hypothesis_distance_is_that_of_its_best_reference(run):
    """Best by the mean share of the distance to the answer that knows nothing, and stored with its name."""
    data = read_results(run[0])[0]["small"]
    for member, key in itertools.product(range(3), ("H1", "H3", "H4", "H5")):
        own = data.isel(member=member, reference=np.flatnonzero(data["hypothesis_of"].values == key))
        share = (own["distance"] / own["zero_distance"]).mean("regime")
        best = str(own["reference"].values[int(np.argmin(share.values))])
        assert str(data["hypothesis_reference"].sel(member=member, hypothesis=key).values) == best
        found = data["hypothesis_distance"].sel(member=member, hypothesis=key)
        np.testing.assert_allclose(found.values, own["distance"].sel(reference=best).values)


def test_running_again_reuses_the_run(run):
    directory, output, _ = run
    before = directory.results_file.stat().st_mtime_ns
    said = []
    again = execute(parse_config(CONFIG, "test"), output, said.append)
    assert again.path == directory.path
    assert directory.results_file.stat().st_mtime_ns == before
    assert len(said) == 1
    assert "reusing" in said[0]


def test_an_expectation_becomes_a_claim_that_can_fail(run):
    claims = {claim.id: claim for claim in read_claims(run[0].claims_file)}
    verdicts = [json.loads(text) for text in read_results(run[0])[0]["small"]["verdict"].values[:2]]
    met = ["gd_1" in verdict["near"] and verdict["status"] == "supported" for verdict in verdicts]
    assert claims["small.0"].holds == all(met)
    changed = json.loads(json.dumps(CONFIG))
    near = verdicts[0]["nearest"]
    changed["subjects"]["small"]["expect"] = [{"rejected": [near]}, {}]
    groups = read_results(run[0])[0]
    contradicted, empty = expected_claims(parse_config(changed, "test").subjects, groups)
    assert not contradicted.holds
    assert empty.holds


def test_nearness_counts_for_an_expectation_where_the_verdict_is_conclusive_only():
    subject = parse_config(CONFIG, "test").subjects
    for status, holds in (("supported", True), ("unexplained", False), ("inconclusive", False)):
        found = json.dumps({"status": status, "near": ["gd_1"], "rejected": [], "nearest": "gd_1"})
        data = xarray.Dataset({"verdict": ("member", [found])}).assign_coords(kind=("member", ["trained"]))
        assert expected_claims(subject, {"small": data})[0].holds is holds


def verdict(*supported: str) -> str:
    return json.dumps({"supported": list(supported), "coincides": [], "near": [], "rejected": []})


def test_nulls_and_planted_learners_fail_their_claims_when_they_should():
    null = xarray.Dataset({"verdict": ("member", [verdict("H5"), verdict()])}).assign_coords(
        kind=("member", ["untrained", "trained"])
    )
    assert not {claim.id: claim for claim in general_claims({"a": null})}["nulls"].holds
    inside = null.assign(verdict=null["verdict"][::-1].variable, mechanism=null["verdict"].variable)
    found = {claim.id: claim.holds for claim in general_claims({"a": inside})}
    assert found == {"nulls": True, "nulls.inside": False}
    planted = xarray.Dataset({"right": ("member", [1.0, 0.0, 1.0])}).assign_coords(
        expected=("member", ["H1", "H2", ""])
    )
    chains = planted.assign(right=("member", [1.0, 1.0, 0.0])).assign_attrs(family="markov chain")
    groups = {"planted_a": planted.assign_attrs(family="a"), "planted_markov_chain": chains}
    claims = {claim.id: claim for claim in general_claims(groups)}
    holds = {name: claim.holds for name, claim in claims.items()}
    assert holds == {
        "planted_a.recognised": False,
        "planted_a.decoys": True,
        "planted_markov_chain.recognised": True,
        "planted_markov_chain.decoys": False,
        "nulls": True,
    }


def test_recognised():
    assert recognised("H3", {"supported": [], "coincides": ["H3"]})
    assert not recognised("H3", {"supported": ["H5"], "coincides": []})
    assert recognised("", {"supported": [], "coincides": []})
    assert not recognised("", {"supported": ["H2"], "coincides": []})


@pytest.mark.slow
def test_a_recurrent_network_is_judged_and_reported_and_its_inside_is_not_tested(run, tmp_path):
    subject = CONFIG["subjects"]["small"] | {"model": {"kind": "gru", "width": 6}, "ensemble": {"seeds": 1}}
    config = parse_config(CONFIG | {"name": "recurrent", "subjects": {"gated": subject}}, "test")
    directory = execute(config, tmp_path)  # on the same task: its bank is compiled already
    data = read_results(directory)[0]["gated"]
    assert all(json.loads(text)["status"] for text in data["verdict"].values)
    assert np.isfinite(data["probe_seen"]).all()
    for text in data["mechanism"].values:
        verdict = json.loads(text)
        assert verdict["not_tested"] == ["H1", "H2", "H3", "H4", "H5"]
        assert verdict["evidence"] == []
    assert not {"attention", "attention_over_time", "interchange", "head_ablation"} & set(data)
    assert "GRU, 1 layer, width 6" in build(directory.path).read_text(encoding="utf-8")
    again = train_subject("gated", config.subjects["gated"], directory.subject("gated"), 0, config.judge.snapshots)
    assert isinstance(again.learner(0), RecurrentLearner)
