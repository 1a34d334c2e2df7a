"""Stateless random draws: every choice is a function of its keys, and of nothing else.

A key is an integer or an array of integers; arrays broadcast. The same keys give the same draw on
any machine, in any process and in any order, so a stream of examples can be cut into shards or
resumed anywhere. The mixing function is splitmix64's finalizer (Steele, Lea and Flood, "Fast
splittable pseudorandom number generators", OOPSLA 2014).
"""

import hashlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FEISTEL_ROUNDS = 6


def name_key(name: str) -> int:
    """A 64-bit key of a name, the same in every process (unlike `hash`)."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def hash64(*keys) -> np.ndarray:
    """uint64 hash of the keys, with their broadcast shape."""
    state = np.zeros((), np.uint64)
    with np.errstate(over="ignore"):
        for key in keys:
            state = _mix((state ^ _as_uint64(key)) + _GOLDEN)
    return np.asarray(state)


def below(bound, *keys) -> np.ndarray:
    """int64 draws from 0 .. bound-1, with the broadcast shape of `bound` and the keys.

    The bias of taking the remainder is below bound / 2**64.
    """
    return (hash64(*keys) % _as_uint64(bound)).astype(np.int64)


def permute(index, size, *keys) -> np.ndarray:
    """The place of `index` in the pseudorandom permutation of 0 .. size-1 that the keys choose.

    A Feistel network over the smallest even number of bits that holds `size`, walked until the
    value falls below `size` (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002): no
    table is kept, so a permutation of 10**9 rows costs no memory. `index`, `size` and the keys
    broadcast; returns int64.
    """
    keys_hash = hash64(*keys)
    index, size, keys_hash = np.broadcast_arrays(index, size, keys_hash)
    value = index.astype(np.uint64)
    size = size.astype(np.uint64)
    half_bits = _half_bits(size)
    outside = np.ones(value.shape, bool)
    while outside.any():
        walked = _feistel(value[outside], half_bits[outside], keys_hash[outside])
        value[outside] = walked
        outside[outside] = walked >= size[outside]
    return value.astype(np.int64)


def _feistel(value: np.ndarray, half_bits: np.ndarray, key: np.ndarray) -> np.ndarray:
    mask = (np.uint64(1) << half_bits) - np.uint64(1)
    left, right = value >> half_bits, value & mask
    for round_number in range(_FEISTEL_ROUNDS):
        left, right = right, left ^ (hash64(key, round_number, right) & mask)
    return (left << half_bits) | right


def _half_bits(size: np.ndarray) -> np.ndarray:
    bits = np.ceil(np.log2(np.maximum(size.astype(np.float64), 2.0)))
    return np.maximum(1, np.ceil(bits / 2)).astype(np.uint64)


def _as_uint64(key) -> np.ndarray:
    # Python integers above 2**63 and negative ones are both welcome as keys.
    if isinstance(key, int):
        return np.asarray(key & 0xFFFFFFFFFFFFFFFF, np.uint64)
    return np.asarray(key).astype(np.uint64)


def _mix(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))
