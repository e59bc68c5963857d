"""results.nc and claims.json: what is read is what was written, and damage is said, never repaired by deleting."""

import dataclasses
import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import xarray
from rich.console import Console

from icl_lab.commands.progress import watch
from icl_lab.commands.show import claims_table
from icl_lab.config.config import parse_config
from icl_lab.core.claims import claim, failed
from icl_lab.core.errors import InputError
from icl_lab.store.claims import read_claims, update_claims, write_claims
from icl_lab.store.directory import RunDirectory
from icl_lab.store.results import check_results, read_results, write_results


@pytest.fixture
def directory(small, tmp_path):
    return RunDirectory.create(parse_config(small, "x"), tmp_path)


def dataset(seed: int) -> xarray.Dataset:
    loss = np.random.default_rng(seed).normal(size=(2, 3, 4))
    loss[0, 0, 0] = np.nan
    return xarray.Dataset(
        {"loss": (("member", "regime", "position"), loss), "verdict": ("member", np.array(["{}", "σ"], object))},
        {"regime": ["a", "b", "c"], "label": ("member", ["seed 0", "seed 1"])},
        {"title": "β"},
    )


def test_groups_and_attributes_come_back(directory):
    groups = {"a": dataset(0), "planted": dataset(1)}
    write_results(directory, groups, {"name": "small", "seconds": 1.5})
    write_claims(directory.claims_file, [])
    directory.finish()
    found, attributes = read_results(directory)
    assert attributes == {"name": "small", "seconds": 1.5}
    assert list(found) == ["a", "planted"]
    for name, written in groups.items():
        xarray.testing.assert_identical(found[name].load(), written)
    assert directory.done


def test_groups_of_others_are_kept(directory):
    """An experiment and `icl-lab run` of its preset share a results file, whoever comes first."""
    write_results(directory, {"measured_a": dataset(0)}, {"device": "cpu"})
    assert directory.status()["state"] == "new"
    directory.set_status("trained")
    write_results(directory, {"a": dataset(1)}, {"name": "small"})
    write_claims(directory.claims_file, [])
    directory.finish()
    write_results(directory, {"measured_a": dataset(2)})
    found, attributes = read_results(directory)
    xarray.testing.assert_identical(found["a"], dataset(1))
    xarray.testing.assert_identical(found["measured_a"], dataset(2))
    assert attributes == {"device": "cpu", "name": "small"}
    assert directory.done


def test_results_of_which_nothing_is_known_are_not_read_and_are_replaced(directory):
    with pytest.raises(InputError, match="no results there"):
        check_results(directory)
    write_results(directory, {"a": dataset(0)})
    directory.status_file.unlink()
    with pytest.raises(InputError, match="not finished"):
        check_results(directory)
    write_results(directory, {"b": dataset(0)})
    assert list(read_results(directory)[0]) == ["b"]


def test_a_process_killed_around_the_replacement_leaves_results_that_can_be_read(directory, monkeypatch):
    write_results(directory, {"a": dataset(0)})

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as inside:
        inside.setattr(Path, "replace", lambda path, to: killed() if to.name == "results.nc" else path.rename(to))
        with pytest.raises(KeyboardInterrupt):
            write_results(directory, {"b": dataset(1)})
    assert list(read_results(directory)[0]) == ["a"]
    write_results(directory, {"b": dataset(1)})
    assert list(read_results(directory)[0]) == ["a", "b"]


def test_results_that_were_moved_away_are_made_again(directory):
    write_results(directory, {"a": dataset(0)})
    directory.finish()
    directory.results_file.rename(directory.path / "elsewhere.nc")
    assert not directory.done


@pytest.mark.parametrize("damage", ["cut short", "one byte flipped", "emptied"])
def test_any_damage_is_found_and_nothing_is_deleted(directory, damage):
    write_results(directory, {"a": dataset(0)})
    directory.finish()
    content = directory.results_file.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    spoilt = {"cut short": content[:middle], "one byte flipped": flipped, "emptied": b""}[damage]
    directory.results_file.write_bytes(spoilt)
    with pytest.raises(InputError, match=r"results\.nc: damaged") as caught:
        read_results(directory)
    assert "\n" not in str(caught.value)
    assert directory.results_file.read_bytes() == spoilt
    assert directory.config_file.exists()


def test_a_write_that_fails_leaves_the_old_results(directory, monkeypatch):
    write_results(directory, {"a": dataset(0)})
    before = directory.results_file.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xarray.Dataset, "to_netcdf", full)
    with pytest.raises(InputError, match="No space left"):
        write_results(directory, {"a": dataset(1)})
    assert directory.results_file.read_bytes() == before
    assert sorted(path.name for path in directory.path.iterdir()) == ["config.yaml", "results.nc", "status.json"]


CLAIMS = [
    claim("A1.loss", "½·MSE of one step", "equals", 0.2071, 0.2062, tolerance=0.002, source="algebra", gate="exact"),
    claim("A8.sign", "small pools are nearer dMMSE", "nearer", [0.3, 0.1], [0.2, 0.2], source="Raventós 2023"),
    claim("A8.note", "threshold", "report", float("nan"), source="Raventós 2023"),
]


def test_claims_come_back_and_the_failed_ones_stay(tmp_path):
    path = tmp_path / "claims.json"
    write_claims(path, CLAIMS)
    found = read_claims(path)
    assert found[:2] == CLAIMS[:2]
    assert found[2].measured == "nan"  # a number that JSON does not have
    assert failed(found) == [CLAIMS[1]]
    assert read_claims(tmp_path / "none.json") == []


def test_claims_of_other_names_are_kept(tmp_path):
    """An experiment and `icl-lab run` of its preset share a directory."""
    path = tmp_path / "claims.json"
    first, second = (dataclasses.replace(CLAIMS[0], id=name) for name in ("experiment", "run"))
    update_claims(path, [first])
    update_claims(path, [second])
    again = dataclasses.replace(second, values=(7.0,))
    update_claims(path, [again])
    assert read_claims(path) == [again, first]


def test_what_stands_in_brackets_is_shown():
    console = Console(width=200, file=io.StringIO())
    console.print(claims_table([dataclasses.replace(CLAIMS[0], statement="in [low, high], error [/nats]")]))
    assert "in [low, high], error [/nats]" in console.file.getvalue()


def test_numpy_values_are_written_as_plain_ones(tmp_path):
    one = claim("x", "s", "above", np.array([0.5], np.float32), np.float64(0.1), interval=np.array([[0.4, 0.6]]))
    write_claims(tmp_path / "claims.json", [one])
    assert read_claims(tmp_path / "claims.json") == [one]
    assert json.loads((tmp_path / "claims.json").read_text())[0]["holds"] is True


def test_claims_without_numbers_are_of_an_older_version(tmp_path):
    old = {"id": "a", "statement": "s", "source": "", "expected": 1, "tolerance": None, "measured": "1", "holds": True}
    (tmp_path / "claims.json").write_text(json.dumps([old | {"gate": "order"}]))
    with pytest.raises(InputError, match=r"before 0\.2"):
        read_claims(tmp_path / "claims.json")


@pytest.mark.parametrize(
    "text", ["{", "{}x", '[{"id": "A1"}]', "[1]", json.dumps([asdict(CLAIMS[0]) | {"gate": "soft"}])]
)
def test_damaged_claims_are_said(tmp_path, text):
    (tmp_path / "claims.json").write_text(text)
    with pytest.raises(InputError, match=r"claims\.json: damaged"):
        read_claims(tmp_path / "claims.json")


def test_the_table_shows_what_failed(capsys):
    console = Console(width=160, record=True)
    console.print(claims_table(CLAIMS))
    lines = console.export_text().splitlines()
    assert any("A1.loss" in line and "yes" in line and "0.2062" in line for line in lines)
    assert any("A8.sign" in line and "NO" in line for line in lines)


def test_a_long_name_of_a_claim_is_shown_whole():
    name = "linear_attention_of_one_layer." + 30 * "x"
    console = Console(width=60, record=True)
    console.print(claims_table([dataclasses.replace(CLAIMS[0], id=name)]))
    folded = "".join(line.split("│")[1].strip() for line in console.export_text().splitlines() if "│" in line)
    assert folded == name


def test_what_is_said_beside_a_bar_is_no_markup():
    console = Console(width=80, force_terminal=True, record=True, file=io.StringIO())
    with watch("a", 10, 0, console) as display:
        display.say("damaged [red] :zero:")
    assert "damaged [red] :zero:" in console.export_text()
