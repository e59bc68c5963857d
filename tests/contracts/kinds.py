"""A small task of every kind, with and without a pool: what contracts over all tasks are tested on."""

from contracts.waves import Waves

from icl_lab.tasks import (
    BooleanRules,
    CausalGraph,
    Described,
    LabelMapping,
    LinearRegression,
    MarkovChain,
    ModularRules,
    Pool,
    Recall,
    RepeatedSequence,
    Task,
)

KINDS: dict[str, Task] = {
    "regression": LinearRegression(dimension=2, examples=4, noise=0.5),
    "regression pool": LinearRegression(dimension=2, examples=4, noise=0.5, prior=Pool(3)),
    "chains": MarkovChain(states=2, examples=6),
    "described": Described(
        base=LinearRegression(dimension=2, noise=0.5), examples=4, prior=Pool(3), names=3, error=0.1, dropout=0.2
    ),
    "rules": BooleanRules(bits=2, examples=4, noise=0.1, inputs="balanced"),
    "rules pool": BooleanRules(bits=2, examples=4, noise=0.1, prior=Pool(3)),
    "modular rules": ModularRules(modulus=3, examples=4, noise=0.1, prior=Pool(4)),
    "labels": LabelMapping(classes=8, dimension=8, examples=4, labels=2),
    "repeated sequences": RepeatedSequence(symbols=3, shortest=2, longest=3, examples=6),
    "causal graph": CausalGraph(states=2, parents=(-1, 0, 0, -1, 3, 1, -1, 6), examples=6),
    "recall": Recall(symbols=6, labels=2, examples=4),
    "conflicting recall": Recall(symbols=6, labels=2, examples=4, conflict=True, latest=0.7),
    "a user's": Waves(examples=4),
}
