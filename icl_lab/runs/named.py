"""Settings that name a run directory by their hash, for commands that read no configuration of a training."""

import hashlib
import json
from typing import Any

from icl_lab.runs.config import SCHEMA
from icl_lab.runs.sections import Section


class NamedSettings(Section):
    """A section with a name: all of it decides the results."""

    name: str

    def resolved(self) -> dict[str, Any]:
        """As plain JSON values."""
        return self.model_dump(mode="json")

    def hash8(self) -> str:
        """Eight hex digits of the SHA-256 of the settings."""
        content = json.dumps({"schema": SCHEMA, **self.resolved()}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:8]
