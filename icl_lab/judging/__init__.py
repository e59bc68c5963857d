"""The function verdict: reference bank, fits, rule, duels; and the mechanism verdict."""
