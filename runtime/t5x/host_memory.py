"""Memory of a process that computes on CPUs: kept between steps, in large pages.

XLA asks the C library for all arrays of a step, gigabytes, and gives them back after it. By default
that maps fresh pages of 4 KiB at every step, which the kernel has to zero.
"""

import ctypes
import mmap
import os

# Parameters of glibc's mallopt, see its malloc.h.
_TRIM_THRESHOLD, _MOST_MAPPINGS, _MOST_ARENAS = -1, -4, -8
_HUGE_PAGE = 2 * 2**20


def keep() -> bool:
    """Makes this process keep what it frees, and use large pages, if it computes on CPUs.

    It has to be called before JAX starts its devices: their threads may get heaps of their own.
    Nothing changes unless JAX is told to use CPUs alone (JAX_PLATFORMS=cpu), nor where the C
    library is not glibc, or is tuned already (GLIBC_TUNABLES).

    Returns:
        Whether anything changed.
    """
    if os.environ.get("JAX_PLATFORMS") != "cpu" or "GLIBC_TUNABLES" in os.environ:
        return False
    if not _has_glibc():
        return False
    libc = ctypes.CDLL(None)
    # One heap, all of which stays: no array is mapped by itself, and nothing is given back.
    for parameter, value in ((_MOST_ARENAS, 1), (_MOST_MAPPINGS, 0), (_TRIM_THRESHOLD, -1)):
        libc.mallopt(parameter, value)
    _ask_for_large_pages(libc, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return True


def _ask_for_large_pages(libc: ctypes.CDLL, size: int) -> None:
    """Lets the heap grow by `size`, of which nothing is in memory yet, in large pages later on."""
    libc.malloc.restype = ctypes.c_void_p
    start = libc.malloc(ctypes.c_size_t(size))
    if start is None:
        return
    first = -(-start // _HUGE_PAGE) * _HUGE_PAGE
    length = ctypes.c_size_t(start + size - first)
    libc.madvise(ctypes.c_void_p(first), length, mmap.MADV_HUGEPAGE)
    libc.free(ctypes.c_void_p(start))


def _has_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, ValueError):
        return False
