"""How JAX is set up for a command, and what a run was made on: exact comparisons, programs kept between runs."""

import contextlib
import datetime
import json
import os
import platform
import stat
from importlib.metadata import version
from pathlib import Path

MOST_CPU_DEVICES = 8
LIBRARIES = ("icl_lab", "jax", "jaxlib", "flax", "optax", "numpy", "scipy")


def prepare_jax() -> None:
    """Call before the first computation, so before a configuration is read: checking one computes.

    Matrix products of float32 run at highest precision, because the numbers that decide must be exact (accelerators
    default to fewer bits); the training step sets its own precision, `training.precision`. On a CPU every core becomes
    a device, at most MOST_CPU_DEVICES: members spread over devices use cores better than threads do on small products.
    """
    import jax

    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # a backend is in use already: it keeps the devices it has
            jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, MOST_CPU_DEVICES))
    jax.config.update("jax_default_matmul_precision", "highest")
    directory = cache_directory()
    if directory is not None and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(directory))
        # The lab's programs are small: by default none of them would be kept.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def cache_directory() -> Path | None:
    """$XDG_CACHE_HOME/icl_lab/compiled, readable by its owner alone; None where that cannot be had.

    A compiled program is code: one from a directory that others can write would be theirs.
    """
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        directory = Path(base) / "icl_lab" / "compiled"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        if found.st_uid != os.getuid():
            return None
        if stat.S_IMODE(found.st_mode) & 0o077:
            directory.chmod(0o700)
        return directory if os.access(directory, os.W_OK) else None
    except (OSError, RuntimeError):
        return None


def surroundings() -> dict[str, str]:
    """Device, date and versions, for stored results."""
    import jax

    device = jax.devices()[0]
    return {
        "device": f"{jax.device_count()} × {device.device_kind} ({device.platform}), {platform.machine()}",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": json.dumps({"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}),
    }
