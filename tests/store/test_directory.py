"""The run directory: whole files, one owner, and one line where it cannot be had."""

import multiprocessing
import os
import shutil
import signal

import pytest

from icl_lab.config.config import parse_config
from icl_lab.core.errors import InputError
from icl_lab.core.files import write_atomically
from icl_lab.store.directory import RunDirectory


@pytest.fixture
def config(small):
    return parse_config(small, "x")


def test_a_directory_is_named_by_its_configuration_and_made_once(config, tmp_path):
    directory = RunDirectory.create(config, tmp_path)
    assert directory.path == tmp_path / f"small-{config.hash8()}"
    assert directory.config() == config
    assert directory.status() == {"state": "new"}
    before = directory.config_file.stat().st_mtime_ns
    assert RunDirectory.create(config, tmp_path) == directory
    assert directory.config_file.stat().st_mtime_ns == before
    assert [path.name for path in directory.path.iterdir()] == ["config.yaml"]


def test_a_changed_configuration_file_is_not_run_under_the_old_name(config, tmp_path):
    directory = RunDirectory.create(config, tmp_path)
    text = directory.config_file.read_text()
    directory.config_file.write_text(text.replace("steps: 40", "steps: 41"))
    with pytest.raises(InputError, match="was changed after the run was made"):
        RunDirectory.create(config, tmp_path)


def test_a_place_that_cannot_be_written_is_one_line(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/small-.*: cannot be written \(Not a directory\)"):
        RunDirectory.create(config, tmp_path / "file")
    if os.getuid():  # root may write anywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(InputError, match="Permission denied"):
            RunDirectory.create(config, tmp_path / "closed")


def test_only_a_run_directory_opens(config, tmp_path):
    with pytest.raises(InputError, match="no such directory"):
        RunDirectory.open(tmp_path / "none")
    with pytest.raises(InputError, match=r"no config\.yaml in it"):
        RunDirectory.open(tmp_path)
    assert RunDirectory.open(RunDirectory.create(config, tmp_path).path).config() == config


def test_a_run_is_known_by_where_it_is_and_a_renamed_one_is_not_called_changed(config, tmp_path, monkeypatch):
    directory = RunDirectory.create(config, tmp_path)
    with monkeypatch.context() as inside:
        inside.chdir(directory.path)
        assert RunDirectory.open(".").unchanged_config() == config
    shutil.copytree(directory.path, tmp_path / "other")
    with pytest.raises(InputError, match=rf"was renamed, .*; give it its name back, {directory.path.name} if"):
        RunDirectory.open(tmp_path / "other").unchanged_config()


def test_a_name_that_looks_like_a_number_stays_text(small, tmp_path):
    config = parse_config(small | {"title": "0o17", "description": "09"}, "x")
    assert RunDirectory.create(config, tmp_path).config() == config


def test_a_damaged_status_is_said(config, tmp_path):
    directory = RunDirectory.create(config, tmp_path)
    directory.set_status("trained")
    assert directory.status() == {"state": "trained"}
    for text in ("{", "[]", '{"state": 1}'):
        directory.status_file.write_text(text)
        with pytest.raises(InputError, match=r"status\.json: damaged"):
            directory.status()


def _hold(path, ready):
    with RunDirectory(path).locked():
        ready.set()
        signal.pause()


def test_a_lock_keeps_others_out_until_its_process_is_dead(config, tmp_path):
    directory = RunDirectory.create(config, tmp_path)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(directory.path, ready))
    holder.start()
    try:
        assert ready.wait(60)
        with pytest.raises(InputError, match=f"process {holder.pid} is working on this run"), directory.locked():
            pass
    finally:
        holder.kill()
        holder.join()
    left, inner = directory.path / f".results.nc.{holder.pid}.tmp", directory.path / "subjects" / "a"
    inner.mkdir(parents=True)
    running = inner / f".a.{os.getppid()}.tmp"
    for path in (left, running, inner / f".b.{os.getpid()}.tmp", inner / ".kept.tmp"):
        path.write_text("half")
    with directory.locked():
        assert (directory.path / "lock").read_text() == str(os.getpid())
        assert not left.exists()
        assert sorted(path.name for path in inner.iterdir()) == sorted([running.name, ".kept.tmp"])
    with directory.locked():  # given back at the end
        pass


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    write_atomically(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]
