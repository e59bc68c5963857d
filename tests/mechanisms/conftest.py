"""The banks that mechanisms are looked for in."""

from shared_bank import bank, chain_bank, each_bank

__all__ = ["bank", "chain_bank", "each_bank"]
