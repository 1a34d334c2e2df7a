"""The shares of a run's training mixture, from its manifest."""

from collections.abc import Mapping, Sequence
from typing import Any

WAYS = {"collection": "Collections", "setting": "Settings", "dataset": "Datasets"}


def shares(manifest: Mapping[str, Any], way: str) -> dict[str, float]:
    """Name -> part of the mixture, the largest first.

    Args:
      manifest: as training_data.json holds it.
      way: "collection", "dataset" or "setting", which is the variant with its inversion.
    """
    found: dict[str, float] = {}
    for leaf in manifest["leaves"]:
        rate = float(leaf.get("rate") or 0)
        name = _setting(leaf) if way == "setting" else str(leaf.get(way, "not recorded"))
        found[name] = found.get(name, 0.0) + rate
    total = sum(found.values()) or 1.0
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return {name: rate / total for name, rate in ordered}


def rows(
    manifests: Sequence[Mapping[str, Any] | None], way: str
) -> list[tuple[str, tuple[float | None, ...]]]:
    """Each name of any of them with its share in each; None where there is no manifest."""
    columns = [None if manifest is None else shares(manifest, way) for manifest in manifests]
    names: dict[str, float] = {}
    for column in columns:
        for name, share in (column or {}).items():
            names[name] = max(names.get(name, 0.0), share)
    ordered = sorted(names, key=lambda name: (-names[name], name))
    return [
        (name, tuple(None if column is None else column.get(name, 0.0) for column in columns))
        for name in ordered
    ]


def _setting(leaf: Mapping[str, Any]) -> str:
    return f"{leaf.get('variant', 'not recorded')}{', inverted' if leaf.get('inverted') else ''}"
