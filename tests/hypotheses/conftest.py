"""The bank that hypotheses are judged with."""

from shared_bank import bank as bank
