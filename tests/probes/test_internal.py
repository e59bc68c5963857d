"""The table of internal probes names functions that exist."""

import importlib
import pkgutil

from icl_lab.probes import inside
from icl_lab.probes.inside.listing import INTERNAL


def test_every_name_is_a_documented_function_of_this_room():
    modules = [
        importlib.import_module(f"icl_lab.probes.inside.{info.name}") for info in pkgutil.iter_modules(inside.__path__)
    ]
    for name, line in INTERNAL.items():
        homes = [home for home in modules if getattr(getattr(home, name, None), "__module__", "") == home.__name__]
        assert len(homes) == 1, f"{name}: defined in {len(homes)} files"
        assert getattr(homes[0], name).__doc__
        assert "\n" not in line
