"""Keeps compiled programs beside a run, so that its next start need not compile them again.

JAX's own persistent cache does the work. Its keys hold the program, the compiler's version and
flags, and the kind of device: of a CPU its instruction set too, so that no machine is given code
that it can't run. Process 0 alone writes; an entry that can't be read is compiled anew.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
from etils import epath
from jax.experimental.compilation_cache import compilation_cache

FOLDER = "compilation_cache"
# Entries that together hold more than this go, the oldest first, when a run starts.
_MAX_BYTES = 2 * 2**30
# JAX's own threshold is 1 second, below which most programs of a small model lie.
_MIN_COMPILE_SECONDS = 0.2
_SUFFIX = "-cache"


@contextlib.contextmanager
def kept_in(directory: epath.PathLike) -> Iterator[None]:
    """Within it, what is compiled is kept in, and taken from, `directory/compilation_cache`.

    Nothing changes where another directory is given already (by `given`, or by JAX's own variable
    JAX_COMPILATION_CACHE_DIR), or where JAX_ENABLE_COMPILATION_CACHE is false.
    """
    if _setting("jax_compilation_cache_dir") or not _setting("jax_enable_compilation_cache"):
        yield
        return
    with given(epath.Path(directory) / FOLDER):
        yield


@contextlib.contextmanager
def given(path: epath.PathLike | None) -> Iterator[None]:
    """Within it, what is compiled is kept in, and taken from, a directory; None changes nothing."""
    if path is None:
        yield
        return
    if jax.process_index() == 0:
        _prune(epath.Path(path))
    settings: dict[str, object] = {
        "jax_compilation_cache_dir": str(path),
        "jax_persistent_cache_min_compile_time_secs": _MIN_COMPILE_SECONDS,
    }
    if "://" in str(path):  # XLA's own caches know local files only.
        settings["jax_persistent_cache_enable_xla_caches"] = "none"
    before = {name: _setting(name) for name in settings}
    _configure(settings)
    try:
        yield
    finally:
        _configure(before)


def _setting(name: str) -> Any:
    return getattr(jax.config, name)


def _configure(settings: dict[str, object]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # JAX looks for its directory only once otherwise.


def _prune(path: epath.Path) -> None:
    """Deletes the oldest entries until the others are within the bound."""
    if not path.exists():
        return
    entries = [(entry.stat(), entry) for entry in path.glob(f"*{_SUFFIX}")]
    total = 0
    for stat, entry in sorted(entries, key=lambda pair: pair[0].mtime, reverse=True):
        total += stat.length
        if total > _MAX_BYTES:
            entry.unlink(missing_ok=True)
