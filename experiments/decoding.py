"""What decoding does to chains that a network goes on writing by itself (D8).

    python experiments/decoding.py [quick|paper] [--subjects.chains.training.steps 10000 …]

Claim     On given prompts a decoded distribution is the learner's to the power 1/T. Chains that are generated are not
          those of P^(1/T): the learner reads its own decoded outcomes and becomes surer of them. A trained network does
          there what the exact learner does. A frequency penalty flattens the rows of the generated transition matrix; a
          repetition penalty on log probabilities sharpens them.
Source    Holtzman et al. 2020, "The curious case of neural text degeneration" (top-p, feedback); Keskar et al. 2019,
          "CTRL" (repetition penalty).
Time      quick: 3 to 4 minutes on two cores. paper: on an accelerator, not yet run.

The exact learner and one that knows the chain generate by the same rules, from the same beginnings, with the same
noise. A row of a generated transition matrix is the mean decoded distribution over the visits of a state; rows with
fewer than FEW visits by any learner are left out. Intervals are over prompts, of the mean over a prompt's rows.
Once every state has been seen, a repetition penalty θ is temperature 1/θ. A frequency penalty makes states equally
frequent: it flattens the rows of a known chain P up to P·diag(d), normalised, with a uniform stationary distribution,
and stronger penalties flatten no further, so only weak ones must.
"""

import jax
import numpy as np
import xarray

from icl_lab.core.compiling import exact
from icl_lab.experiments import COLOURS, SUBJECT, Experiment, claim, mean_over, panels
from icl_lab.learners.answers import sample
from icl_lab.report.text.vocabulary import MUTED
from icl_lab.stress import generation
from icl_lab.stress.decoding import Decoding

COLD, TINY = 0.5, 1e-6
FEW = 5  # visits
SWEEPS = {  # field of `Decoding` → its values
    "temperature": (0.3, COLD, 0.7, 1.0, 1.5),
    "frequency": (0.0, 0.03, 0.1, 0.3, 1.0),
    "repetition": (1.0, 1.2, 1.5, 2.0),
    "top_p": (0.5, 0.7, 0.9, 1.0),
    "top_k": (1, 2),
}
# Sweep → number of values, the weakest, up to which row maxima must change; sign of the change, in words; source.
PENALTIES = {"frequency": (3, -1, "falls", "algebra"), "repetition": (4, 1, "rises", "algebra; Keskar et al. 2019")}
PANELS = {"Temperature": ("temperature",), "Penalties": ("frequency", "repetition"), "Cut-offs": ("top_p", "top_k")}
RULES = {f"{sweep} {value:g}": Decoding(**{sweep: value}) for sweep, values in SWEEPS.items() for value in values}
COLDEST = f"temperature {COLD:g}"
DIMENSIONS = ("rule", "prompt", "state")


def rules(sweep):
    """Names of the rules of a sweep."""
    return [f"{sweep} {value:g}" for value in SWEEPS[sweep]]


def given(prompts):
    """Number of tokens that are given: a quarter of the chain."""
    return (prompts.positions + 1) // 4


@exact
def read(learner, task, rolled, own, rule):
    """Row maxima of transitions in generated chains, counted and expected, and expected in the prompts' own ("forced");
    visits of states in both; distortion of generated chains, nats per token. Then log probabilities on the prompts' own
    chains, plain and decoded.
    """
    first = given(own) - 1
    plain, answers = generation.decoded(learner, rolled, rule)
    counted, expected = generation.transitions(task, rolled, answers, first)
    apart = generation.distortion(plain, answers, first)
    plain, answers = generation.decoded(learner, own, rule)
    visited, forced = generation.transitions(task, own, answers, first)
    found = {name: each.sum(-1) for name, each in (("visits", counted), ("own_visits", visited))}
    for name, each in (("counted", counted), ("expected", expected), ("forced", forced)):
        found[name] = generation.row_maxima(each)
    return found | {"distortion": apart}, (plain.log_probs, answers.log_probs)


def write(learner, task, prompts, key):
    """Generate under every rule with the same noise: variables [rule, prompt, …], and log probabilities by rule."""
    done = {}
    for rule in dict.fromkeys(RULES.values()):  # all sweeps share the rule that changes nothing
        rolled = generation.generate(learner, task, prompts, rule, key, given(prompts))
        done[rule] = jax.device_get(read(learner, task, rolled, prompts, rule))
    rows = [done[rule] for rule in RULES.values()]
    found = {name: np.stack([row[name] for row, _ in rows]) for name in rows[0][0]}
    variables = {name: (DIMENSIONS[: values.ndim], values) for name, values in found.items()}
    return xarray.Dataset(variables, {"rule": list(RULES)}), dict(zip(RULES, (pair for _, pair in rows), strict=True))


def prepare(trained):
    """Prompts, the noise, and what the exact learner and one that knows the chain generate."""
    task, key = trained.task, trained.key("decoding: noise")
    prompts = sample(task, trained.key("decoding: prompts"), trained.prompts)
    makers = generation.exact_learner, generation.knowing_learner
    return prompts, key, [write(make(task), task, prompts, key) for make in makers]


def power_error(answers):
    """The largest difference of a probability decoded at some T from p^(1/T)/Σ p^(1/T), computed in float64."""
    worst = 0.0
    for name, temperature in zip(rules("temperature"), SWEEPS["temperature"], strict=True):
        plain, powered = (np.exp(each.astype(np.float64)) for each in answers[name])
        powers = plain ** (1 / temperature)
        worst = max(worst, float(np.abs(powered - powers / powers.sum(-1, keepdims=True)).max()))
    return worst


def measure(trained):
    """What the network generates, the error of its powers, and its KL from the exact learner on given prompts."""
    prompts, key, ((_, exact_answers), _) = trained.prepared
    found, answers = write(trained.learner, trained.task, prompts, key)
    best, own = exact_answers[COLDEST][1], answers[COLDEST][1]
    apart = (np.exp(best) * (best - own)).sum(-1)[:, given(prompts) - 1 :].mean(1)
    return found.assign(power_error=power_error(answers), forced_kl=("prompt", apart))


def references(trained):
    """The same of the exact learner and of one that knows the chain."""
    both = xarray.concat([found for found, _ in trained.prepared[2]], "by").assign_coords(by=["exact", "known"])
    return both.rename({name: f"{name}_by" for name in both.data_vars})


def learners(data):
    """The data of the networks, of the exact learner and of one that knows the chain, under the same names."""
    names = {name: name.removesuffix("_by") for name in data.data_vars if name.endswith("_by")}
    both = data[list(names)].rename(names)
    return data, both.sel(by="exact", drop=True), both.sel(by="known", drop=True)


def usable(data, names):
    """Rows that every learner, and the prompts themselves, visit FEW times under all these rules, [prompt, state]."""
    some = (data[["visits", "visits_by", "own_visits_by"]].sel(rule=names) >= FEW).all(["rule", "member", "by"])
    return some.visits & some.visits_by & some.own_visits_by


def mean_rows(values, rows):
    """Mean over the usable rows of every prompt that has any, [..., prompt]."""
    return values.astype(float).where(rows).mean("state").isel(prompt=rows.any("state").values)


def shown(values, sign=""):
    """A mean with its 95% interval over prompts."""
    return f"{{:{sign}.3f}} [{{:{sign}.3f}}, {{:{sign}.3f}}]".format(*map(float, mean_over(values)))


def spelled(values):
    """Numbers by strength, as text."""
    return " / ".join(f"{abs(float(value)):.3f}" for value in values)


def temperature_claims(name, data):
    """Powers on given prompts; what feedback adds at T = COLD."""
    rows, title = usable(data, [COLDEST]), data.title
    text = f"largest error of answers on given prompts at all T from p^(1/T), normalised, {title}"
    yield claim(f"{name}.power", text, "at_most", data.power_error, TINY, gate="exact", source="algebra")
    kl, text = mean_over(data.forced_kl), f"KL from the exact learner to the network there, both at T = {COLD}, {title}"
    yield claim(f"{name}.teacher_forced", text, "report", kl.value, interval=kl.interval, unit="nats", source="D8")
    found = [each.sel(rule=COLDEST) for each in learners(data)]
    own, best, ideal = (mean_rows(each.expected, rows) for each in found)
    forced, best_forced, _ = (mean_rows(each.forced, rows) for each in found)
    counted, best_counted, ideal_counted = (mean_rows(each.counted, rows) for each in found)
    near, half = mean_over(own - best), abs(float((best - ideal).mean())) / 2
    yield claim(
        f"{name}.rollout", f"row maxima of chains generated at T = {COLD}, less the exact learner's ({shown(best)}; "
        f"P^(1/T): {shown(ideal)}), {title}",
        "condition", near.value, interval=near.interval, decided=np.abs(near.value) < half,
        condition=f"within {half:.3f} of 0, half of the exact learner's distance from P^(1/T)",
        labels=[f"{one:+.3f} from P^(1/T)" for one in mean_over(own - ideal).value],
    )  # fmt: skip
    added, text = (
        mean_over(own - forced),
        f"what generating adds at T = {COLD} to row maxima of the same learner on given",
    )
    text += f" prompts (the exact learner: {shown(best - best_forced, '+')}), {title}"
    yield claim(f"{name}.feedback", text, "clearly_above", added.value, 0.0, interval=added.interval)
    above, text = (
        mean_over(counted - ideal_counted),
        f"row maxima counted in chains generated at T = {COLD}, less those of ",
    )
    text += f"a learner that knows the chain (the exact learner: {shown(best_counted - ideal_counted, '+')}), {title}"
    details: dict = {"interval": above.interval, "gate": "report", "source": "D8"}
    yield claim(f"{name}.counted", text, "clearly_above", above.value, 0.0, **details)


def penalty_claims(name, data):
    """A frequency penalty flattens, a repetition penalty sharpens; what both cost."""
    for sweep, (count, sign, verb, source) in PENALTIES.items():
        names, rows = rules(sweep), usable(data, rules(sweep))
        found, strengths = [each.sel(rule=names) for each in learners(data)], [f"{value:g}" for value in SWEEPS[sweep]]
        own, best, ideal = (mean_rows(each.expected, rows).mean("prompt").values for each in found)
        text = f"row maximum of generated chains with a {sweep} penalty of {', '.join(strengths)} (the exact learner: "
        text += f"{spelled(best)}; a learner that knows the chain: {spelled(ideal)}), {data.title}"
        condition, decided = f"{verb} up to {strengths[count - 1]}", (sign * np.diff(own[:, :count]) > 0).all(1)
        details: dict = {"labels": list(map(spelled, own)), "decided": decided, "source": source}
        yield claim(f"{name}.{sweep}", text, "condition", condition=condition, **details)
        own, best, _ = (each.distortion.mean("prompt").values for each in found)
        text = f"KL of generated chains from those without penalty, nats per token, with a {sweep} penalty of "
        text += f"{', '.join(strengths)} (the exact learner: {spelled(best)}), {data.title}"
        details: dict = {"labels": list(map(spelled, own)), "decided": (np.diff(own) > 0).all(1), "source": "D8"}
        condition = "grows with the strength"
        yield claim(f"{name}.{sweep}_cost", text, "condition", condition=condition, gate="report", **details)


def claims(found):
    """Powers and feedback, penalties, and how many rows are left out."""
    for name, data in found.items():
        yield from temperature_claims(name, data)
        yield from penalty_claims(name, data)
        shares = {sweep: [1 - float(usable(data, [rule]).mean()) for rule in rules(sweep)] for sweep in SWEEPS}
        labels = [f"{sweep} {', '.join(f'{share:.0%}' for share in row)}" for sweep, row in shares.items()]
        text = f"rows with fewer than {FEW} visits by some learner, which are left out, by rule, {data.title}"
        yield claim(f"{name}.left_out", text, "report", labels=labels, source="this experiment")


def draw_sweep(upper, lower, places, data, sweep):
    """Row maxima above and distortion below, by rule: a thin line per seed with its interval over prompts."""
    names, blue, (own, best, ideal) = rules(sweep), COLOURS["H1"], learners(data)
    # All penalties are drawn on the same rows, because what falls or rises must be comparable.
    rows = [usable(data, names if sweep in PENALTIES else [name]) for name in names]
    for found, kind, colour, label, look in (
        (ideal, "expected", MUTED, "the true P, decoded", {"ls": "--"}),
        (best, "forced", blue, "exact learner on given prompts", {"ls": ":"}),
        (best, "expected", blue, "exact learner, generating", {"lw": 2.4}),
        (own, "forced", SUBJECT, "networks on given prompts", {"ls": ":"}),
        (own, "expected", SUBJECT, "networks, generating (a line per seed)", {}),
    ):
        each = [mean_over(mean_rows(found[kind].sel(rule=name), some)) for name, some in zip(names, rows, strict=True)]
        values, low, high = (np.atleast_2d(np.stack(part, -1)) for part in zip(*each, strict=True))
        interval = (low, high) if found is own and kind == "expected" else None
        panels.curves(upper, places, values, colour, label, interval, mean=False, **look)
    for found, colour, look in ((ideal, MUTED, {"ls": "--"}), (best, blue, {"lw": 2.4}), (own, SUBJECT, {})):
        value, low, high = map(np.atleast_2d, mean_over(found.distortion.sel(rule=names)))
        panels.curves(lower, places, value, colour, None, (low, high) if found is own else None, mean=False, **look)


def figure(found):
    """A figure per subject: row maxima above, distortion below, a column per kind of rule."""
    figures = {}
    for name, data in found.items():
        drawn, axes = panels.grid(3, 2, width=3.8, height=3.1, sharey="row", sharex="col")
        for (upper, lower), (title, sweeps) in zip(axes.T, PANELS.items(), strict=True):
            start, ticks = 0, {}
            for sweep in sweeps:
                places = start + np.arange(len(SWEEPS[sweep]))
                draw_sweep(upper, lower, places, data, sweep)
                ticks |= {place: f"{value:g}" for place, value in zip(places, SWEEPS[sweep], strict=True)}
                start = places[-1] + 2
            lower.set_xticks(list(ticks), list(ticks.values()))
            lower.set_xlabel("          ".join(sweep.replace("_", "-") for sweep in sweeps))
            upper.set_title(title)
        axes[0, 0].set_ylabel("mean row maximum of the\ngenerated transition matrix")
        axes[1, 0].set_ylabel("KL from T = 1 without penalties\n(nats per token)")
        drawn.suptitle(f"What decoding makes of a generated chain: {data.title}")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        figures[f"decoding_{name}"] = drawn
    return figures


experiment = Experiment("Holtzman et al. 2020", measure, claims, figure, prepare, references)
if __name__ == "__main__":
    experiment.main(__file__)
