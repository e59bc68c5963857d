"""The `model` block of a configuration: a kind of network, and the fields of that kind's configuration."""

from typing import Any, Literal

from icl_lab.config.messages import FieldError
from icl_lab.config.sections import Section, section_of
from icl_lab.core.errors import nearest
from icl_lab.models import Model, TransformerConfig
from icl_lab.models.gated import GatedConfig, GatedModel
from icl_lab.models.network import Network
from icl_lab.models.recurrent import DeltaRuleConfig, DeltaRuleModel

DERIVED = ("channels", "tokens", "outputs")  # from task and format, so not written in a configuration
DEFAULT_WIDTH = TransformerConfig.width
TRANSFORMER = "transformer"


class NetworkSection(Section):
    """What the block of every kind is. That of a transformer has no field `kind`: it is what no kind means."""


# The width is derived with embedding: false.
ModelSection = section_of(TransformerConfig, NetworkSection, DERIVED, {"width": (int | None, None)})
GatedSection = section_of(GatedConfig, NetworkSection, DERIVED)
DeltaRuleSection = section_of(DeltaRuleConfig, NetworkSection, DERIVED, {"kind": (Literal["delta_rule"], "delta_rule")})
SECTIONS = {TRANSFORMER: ModelSection, "gru": GatedSection, "lstm": GatedSection, "delta_rule": DeltaRuleSection}


def model_section(given: Any) -> Any:
    """The section of the block's own kind, validated; anything but a mapping is left to pydantic to refuse.

    Raises:
        FieldError: an unknown kind.
        pydantic.ValidationError: fields that the kind does not accept.
    """
    if not isinstance(given, dict):
        return given
    kind = given.get("kind", TRANSFORMER)
    if not isinstance(kind, str) or kind not in SECTIONS:
        raise FieldError(("kind",), f"unknown model {kind!r}; {nearest(str(kind), list(SECTIONS), 'models')}")
    fields = {name: value for name, value in given.items() if (name, value) != ("kind", TRANSFORMER)}
    return SECTIONS[kind].model_validate(fields)


def network(section: Section, channels: int, tokens: int, outputs: int) -> Network:
    """The network that a section describes, for a task and format of those sizes.

    Raises:
        ValueError: fields that contradict one another, "field: what is wrong".
    """
    sizes, given = {"channels": channels, "tokens": tokens, "outputs": outputs}, dict(section)
    if isinstance(section, GatedSection):
        return GatedModel(GatedConfig(**sizes, **given))
    if isinstance(section, DeltaRuleSection):
        del given["kind"]
        return DeltaRuleModel(DeltaRuleConfig(**sizes, **given))
    if given["width"] is None:
        given["width"] = DEFAULT_WIDTH if given["embedding"] else channels
    return Model(TransformerConfig(**sizes, **given))


def describe_network(config: Any) -> str:
    """One line: what the network is."""
    if isinstance(config, DeltaRuleConfig):
        return (
            f"delta rule, state of {config.value_size} × {config.key_size}, {config.initial_state} initial state, "
            f"{config.step} step, window {config.window}"
        )
    layers = f"{config.layers} layer{'s' if config.layers > 1 else ''}"
    if isinstance(config, GatedConfig):
        return f"{config.kind.upper()}, {layers}, width {config.width}"
    loops = f" × {config.loops} loops" if config.loops > 1 else ""
    return (
        f"{layers}{loops}, {config.heads} head{'s' if config.heads > 1 else ''}, width {config.width}, "
        f"{config.attention} attention, {config.mask} mask, {'MLP' if config.mlp else 'no MLP'}, "
        f"{config.positions} positions"
    )
