"""Settings that name a run directory by their hash, for commands that read no configuration of a training."""

import hashlib
import json
from typing import Any

from icl_lab.config.config import SCHEMA, RunConfig
from icl_lab.config.sections import Section
from icl_lab.config.task_section import sources


def first_task(config: RunConfig, subject: str) -> dict[str, Any]:
    """All that decides the task of a subject's first member, as plain JSON values: also the user's own file of it."""
    plain, task = config.resolved()["subjects"][subject], config.subjects[subject].task
    return {**plain["task"], "ensemble": plain["ensemble"], "source": sources(task)}


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
