from shared_bank import bank, chain_bank

__all__ = ["bank", "chain_bank"]
