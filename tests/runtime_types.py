"""The type checker that tests put on every function of the package (see addopts in pyproject.toml)."""

from beartype import BeartypeConf, beartype

# As type checkers have it, an int may stand where a float is asked for.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
