"""A small run, as data and as a file, and the banks that judge it."""

from shared_bank import bank
from small_run import small, write

__all__ = ["bank", "small", "write"]
