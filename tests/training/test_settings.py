"""Settings: impossible ones are one line that names the field."""

import jaxtyping
import pytest

from icl_lab.training import TrainingSettings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps: 0 is too small; it must be at least 1"),
        ({"weight_decay": -0.1}, "weight_decay: -0.1 is too small; it must be at least 0"),
        ({"weight_decay": float("nan")}, "weight_decay: nan is too small; it must be at least 0"),
        ({"learning_rate": 0.0}, "learning_rate: 0.0 must be above 0 and finite"),
        ({"learning_rate": float("inf")}, "learning_rate: inf must be above 0 and finite"),
        ({"clip": -1.0}, "clip: -1.0 must be above 0 and finite"),
        ({"b2": 1.0}, "b2: 1.0 must be at least 0 and below 1"),
        ({"steps": 10, "warmup": 10}, "warmup: 10 must be below steps = 10"),
        ({"batch": 10, "micro_batch": 4}, "micro_batch: 4 does not divide batch 10; give a divisor"),
        ({"micro_batch": 0}, "micro_batch: 0 does not divide batch 256; give a divisor"),
    ],
)
def test_impossible_settings_name_the_field_and_what_would_be_right(change: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        TrainingSettings(**change)
    assert str(error.value) == message


def test_unknown_choices_list_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would refuse first, with a page of text
    with pytest.raises(ValueError, match=r"^optimiser: 'lion' is not known; choose one of adam, adamw, sgd$"):
        TrainingSettings(optimiser="lion")  # type: ignore[arg-type]
