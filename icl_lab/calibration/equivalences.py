"""References that are the same function by algebra, so that no experiment can separate them."""

EQUIVALENT: dict[frozenset[str], str] = {
    frozenset(("ridge", "population_bayes")): "the Gaussian posterior mean is ridge with penalty σ²/τ²",
    frozenset(("gd_1", "linear_kernel")): "one gradient step from zero is an unnormalised linear-kernel smoother",
    frozenset(("context_counts", "population_bayes")): "Dirichlet counts are the posterior mean of Dirichlet rows",
    frozenset(("context_counts", "nadaraya_watson")): "counts are a match kernel with pseudo-counts",
    frozenset(("nadaraya_watson", "population_bayes")): "a match kernel with pseudo-counts is the posterior mean",
    frozenset(("delta_rule", "context_counts")): "counts are online steps of size 1/(n + kα + 1) from 1/k",
    frozenset(("delta_rule", "population_bayes")): "counts are online steps of size 1/(n + kα + 1) from 1/k",
    frozenset(("delta_rule", "nadaraya_watson")): "counts are online steps of size 1/(n + kα + 1) from 1/k",
}
"""Pairs of references → why. Some hold only where both apply, at fitting parameters: they are measured as well."""


def reason(first: str, second: str) -> str | None:
    """Return why two references are the same function; None if algebra does not say so."""
    return EQUIVALENT.get(frozenset((first, second)))
