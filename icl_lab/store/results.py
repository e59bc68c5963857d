"""results.nc: labelled arrays, one netCDF group per subject, written whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icl_lab.core.errors import InputError, first_line
from icl_lab.core.files import replacing
from icl_lab.store.directory import RunDirectory, digest, writing

if TYPE_CHECKING:
    import xarray


def write_results(
    directory: RunDirectory, groups: Mapping[str, "xarray.Dataset"], attributes: Mapping[str, Any] | None = None
) -> None:
    """Write groups into results.nc, atomically, and keep the groups of others that are there.

    So an experiment adds what it measured to the results of `icl-lab run` on the same preset, and the other way round.
    A file of which status.json knows nothing is replaced. The state of the run stays what it is; it is done when
    `RunDirectory.finish` says so.

    Args:
        directory: of the run.
        groups: by name; they replace groups of the same name.
        attributes: of the file itself, strings and numbers, added to those that are there.

    Raises:
        InputError: the place cannot be written, or the file that is there is damaged.
    """
    import xarray

    path = directory.results_file
    known = path.exists() and directory.expected_digests()
    kept, root = read_results(directory) if known else ({}, {})
    with writing(path), replacing(path) as temporary:
        xarray.Dataset(attrs={**root, **(attributes or {})}).to_netcdf(temporary, mode="w", engine="netcdf4")
        for name, dataset in {**kept, **groups}.items():
            encoding = {key: {"zlib": True} for key, value in dataset.variables.items() if value.dtype.kind in "fiu"}
            dataset.to_netcdf(temporary, mode="a", group=name, engine="netcdf4", encoding=encoding)
        directory.expect_results(temporary)


def check_results(directory: RunDirectory) -> None:
    """That results.nc is what was written.

    Raises:
        InputError: it is missing, or damaged in any byte. Nothing is deleted.
    """
    path = directory.results_file
    again = "run the configuration again" if not path.exists() else "move it away and run the configuration again"
    if not path.exists():
        raise InputError(f"{path}: no results there; {again}")
    expected = directory.expected_digests()
    if not expected:
        raise InputError(f"{directory.path}: the run is not finished; {again}")
    try:
        found = digest(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if found not in expected:
        raise InputError(f"{path}: damaged, it is not what the run wrote (nothing was deleted); {again}")


def read_results(directory: RunDirectory) -> tuple[dict[str, "xarray.Dataset"], dict[str, Any]]:
    """Datasets by group, loaded into memory, and the file's attributes.

    Raises:
        InputError: as `check_results`, or the file is none of ours.
    """
    import netCDF4
    import xarray

    check_results(directory)
    path: Path = directory.results_file
    try:
        with netCDF4.Dataset(path) as file:
            names = list(file.groups)
            attributes = {name: file.getncattr(name) for name in file.ncattrs()}
        groups = {}
        for name in names:
            with xarray.open_dataset(path, group=name, engine="netcdf4") as opened:
                groups[name] = opened.load()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); nothing was deleted") from None
    return groups, attributes
