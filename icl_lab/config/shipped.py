"""Configurations and experiment scripts that come with the package, in a checkout and in an installed wheel."""

from pathlib import Path

from icl_lab.core.errors import InputError, nearest


def shipped(folder: str) -> Path:
    """Return the folder "configs" or "experiments": inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "_shipped" / folder
    return installed if installed.is_dir() else package.parent / folder


def shipped_experiments() -> dict[str, Path]:
    """Return the experiment scripts by name."""
    return {file.stem: file for file in sorted(shipped("experiments").glob("[!_]*.py"))}


def config_file(path: Path) -> Path:
    """Return the path itself, or the shipped configuration of that name, such as "quickstart" or "recency/quick".

    Raises:
        InputError: a name without suffix that is neither a file nor a shipped configuration.
    """
    if path.suffix or path.is_file():
        return path
    folder = shipped("configs")
    known = {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.rglob("*.yaml"))}
    if path.as_posix() not in known:
        raise InputError(f"{path}: no such file; {nearest(path.as_posix(), list(known), 'configurations')}")
    return known[path.as_posix()]
