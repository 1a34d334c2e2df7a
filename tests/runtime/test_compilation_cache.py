"""What was compiled once is not compiled again, and nothing that is kept can stop a run."""

import os
import warnings

import jax
import jax.numpy as jnp
import pytest

from t5x import compilation_cache
from t5x.compilation_cache import FOLDER, given, kept_in


@pytest.fixture(autouse=True)
def everything_is_kept(monkeypatch):
    monkeypatch.setattr(compilation_cache, "_MIN_COMPILE_SECONDS", 0.0)


@pytest.fixture
def events():
    found = []

    def listen(event, **_):
        if event.endswith(("/cache_hits", "/cache_misses")):
            found.append(event.rpartition("/")[2])

    jax.monitoring.register_event_listener(listen)
    yield found
    jax.monitoring.unregister_event_listener(listen)


def compiled_anew(x):
    """What a fresh process would compute, which has compiled nothing yet."""

    def function(x):
        return jnp.sin(x) @ jnp.cos(x)

    return jax.device_get(jax.jit(function)(x))


X = [[0.5, 1.0], [2.0, 3.0]]


def test_a_second_start_takes_what_the_first_one_compiled(tmp_path, events):
    x, outside = jnp.asarray(X), compiled_anew(jnp.asarray(X))
    for expected in ("cache_misses", "cache_hits"):
        events.clear()
        with kept_in(tmp_path):
            assert (compiled_anew(x) == outside).all()
        assert events == [expected]
    assert [*(tmp_path / FOLDER).glob("jit_function-*")]
    compiled_anew(x)
    assert events == ["cache_hits"]  # Afterwards, nothing is kept any more.
    assert jax.config.jax_compilation_cache_dir is None


def test_a_directory_that_is_given_takes_the_place_of_the_runs_own(tmp_path, events):
    x = jnp.asarray(X)
    with given(tmp_path / "given"), kept_in(tmp_path / "model"):
        compiled_anew(x)
    assert events == ["cache_misses"]
    assert [*(tmp_path / "given").iterdir()]
    assert not (tmp_path / "model").exists()


def test_half_an_entry_is_compiled_anew(tmp_path, events):
    x = jnp.asarray(X)
    with kept_in(tmp_path):
        expected = compiled_anew(x)
    for entry in (tmp_path / FOLDER).glob("*-cache"):
        entry.write_bytes(entry.read_bytes()[:100])
    with warnings.catch_warnings(record=True) as caught, kept_in(tmp_path):
        warnings.simplefilter("always")
        assert (compiled_anew(x) == expected).all()
    assert events == ["cache_misses", "cache_misses"]
    assert any("Error reading persistent compilation cache" in str(w.message) for w in caught)


def test_the_oldest_entries_go(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation_cache, "_MAX_BYTES", 250)
    (tmp_path / FOLDER).mkdir()
    for age, name in enumerate(("newest", "middle", "old", "oldest")):
        entry = tmp_path / FOLDER / f"{name}-cache"
        entry.write_bytes(bytes(100))
        os.utime(entry, (1e9 - age, 1e9 - age))
    with kept_in(tmp_path):
        pass
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"newest-cache", "middle-cache"}
