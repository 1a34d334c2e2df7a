"""Writes checkpoints as T5X does, by the description of its formats, without T5X."""

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from flax import serialization, traverse_util


def nested(leaves):
    return traverse_util.unflatten_dict(leaves, sep="/")


def write_orbax(folder, leaves):
    """Through Orbax, in a database."""
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
        state = ocp.args.PyTreeSave(jax.tree.map(jnp.asarray, nested(leaves)))
        writer.save(folder, args=ocp.args.Composite(state=state))


def write_orbax_folders(folder, leaves):
    """Through Orbax, each array in a folder of its own."""
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler(state=handler)) as writer:
        state = ocp.args.PyTreeSave(jax.tree.map(jnp.asarray, nested(leaves)))
        writer.save(folder, args=ocp.args.Composite(state=state))


def write_legacy(folder, leaves, version=3):
    """What is large goes into folders, in chunks; what is small into the MessagePack file."""
    folder.mkdir(parents=True)
    listed = {}
    for name, value in leaves.items():
        listed[name] = np.asarray(value)
        if value.size > 32:
            spec = {
                "driver": "zarr",
                "dtype": str(value.dtype),
                "kvstore": {"driver": "file", "path": name.replace("/", ".") + "/"},
                "metadata": {
                    "shape": list(value.shape),
                    "chunks": [-(-size // 2) for size in value.shape],
                    "compressor": {"id": "gzip", "level": 1},
                },
            }
            place = {"driver": "file", "path": f"{folder}/{spec['kvstore']['path']}"}
            ts.open({**spec, "kvstore": place}, create=True).result().write(value).result()
            # The folder's first home may have been a bucket.
            listed[name] = {**spec, "kvstore": spec["kvstore"] | {"driver": "gfile"}}
    contents = {"version": version, "optimizer": nested(listed)}
    (folder / "checkpoint").write_bytes(serialization.msgpack_serialize(contents))
