"""Counts the arithmetic of a traced function."""

import math
from collections.abc import Iterator
from typing import Any

import jax


def matmul_flops(jaxpr: Any) -> int:
    """Multiplications and additions in the matrix products of a program, all devices together.

    Loops count as often as they turn, which XLA's own cost analysis leaves out, and of branches the
    dearest counts. What rematerialization computes again counts again.

    Args:
        jaxpr: As `jax.jit(function).trace(...).jaxpr` gives it.
    """
    return sum(_flops(equation) for equation in _open(jaxpr).eqns)


def _flops(equation: Any) -> int:
    if equation.primitive.name == "dot_general":
        return _product_flops(equation)
    inner = [matmul_flops(jaxpr) for jaxpr in _inner(equation)]
    if equation.primitive.name == "cond":
        return max(inner)
    turns = equation.params["length"] if equation.primitive.name == "scan" else 1
    return turns * sum(inner)


def _product_flops(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    shared = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return 2 * shared * math.prod(equation.outvars[0].aval.shape)


def _inner(equation: Any) -> Iterator[Any]:
    for value in jax.tree.leaves(dict(equation.params), is_leaf=_is_jaxpr):
        if _is_jaxpr(value):
            yield value


def _is_jaxpr(value: Any) -> bool:
    return hasattr(_open(value), "eqns")


def _open(jaxpr: Any) -> Any:
    return getattr(jaxpr, "jaxpr", jaxpr)
