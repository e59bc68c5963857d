"""YAML as people write it."""

import pytest

from icl_lab.config.yaml_file import dump_yaml, read_yaml
from icl_lab.core.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.5E+2", 150.0),
        ("-2.", -2.0),
        (".5", 0.5),
        ("3", 3),
        ("2024-01-01", "2024-01-01"),
        ("1e", "1e"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("+7", 7),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("on", "on"),
        ("No", "No"),
        ("true", True),
    ],
)
def test_values(write, text, value):
    found = read_yaml(write(f"key: {text}\n"))["key"]
    assert found == value
    assert type(found) is type(value)
    written = dump_yaml({"key": value, "text": text})
    assert read_yaml(write(written)) == {"key": value, "text": text}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("- 1", "holds a list"),
        ("a: 1\nb: {c: 1, c: 2}", 'line 2: not valid YAML: found duplicate key "c"'),
        ("a: [1", "not valid YAML"),
        ("a: !!python/object:os.system {}", "line 1: not valid YAML"),
        ("a: " + "[" * 5000, "not valid YAML"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("? [a, b]\n: 1", "the key ('a', 'b') should be a name"),
        ("1: 2", "the key 1 should be a name"),
    ],
)
def test_what_is_no_mapping_is_refused_in_one_line(write, text, words):
    path = write(text)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    for path, words in [
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path, "cannot be read"),
        (tmp_path / "binary.yaml", "cannot be read as text"),
        (tmp_path / "binary.yaml" / "below", "cannot be read"),
    ]:
        with pytest.raises(InputError, match=words):
            read_yaml(path)
