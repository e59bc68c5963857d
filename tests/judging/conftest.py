"""The banks that hypotheses are judged with."""

from shared_bank import bank as bank
from shared_bank import chain_bank as chain_bank
from shared_bank import each_bank as each_bank
