"""Memory kept between steps; in processes of their own, as the C library is told once for all."""

import os
import subprocess
import sys

import pytest

# Prints whether anything changed, and how many pages were given to 64 MiB that were had before.
PROGRAM = """
import ctypes
import resource
from t5x import host_memory

kept = host_memory.keep()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
for turn in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    start = ctypes.c_void_p(libc.malloc(1 << 26))
    ctypes.memset(start, 1, 1 << 26)
    libc.free(start)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = (1 << 26) // os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({"JAX_PLATFORMS": "cpu"}, True),
        ({"JAX_PLATFORMS": "cuda"}, False),
        ({"JAX_PLATFORMS": "cpu", "GLIBC_TUNABLES": "glibc.malloc.check=0"}, False),
    ],
)
def test_only_where_cpus_compute_freed_memory_is_used_again(changes, is_kept):
    environment = {name: x for name, x in os.environ.items() if name != "GLIBC_TUNABLES"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**environment, **changes},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, faults = run.stdout.split()
    assert kept == str(is_kept)
    if is_kept:
        assert int(faults) < PAGES / 1000
