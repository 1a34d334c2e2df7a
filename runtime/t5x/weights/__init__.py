"""Weights in and out: any checkpoint as a table of leaves that are read when they are needed.

`sources` opens a checkpoint of any known format, `stacking` brings its layers into the wanted form,
`rules` renames, drops and resizes leaves, `matching` accounts for every one of them, `placing`
reads them into the shards of devices, `orbax_writer` and `hf_folder` write them down.

Names are those of T5X's checkpoints (see `t5x.layout`): `target/encoder/encoder_norm/scale`.
"""

from t5x.weights.rules import leave_out, resize

__all__ = ["leave_out", "resize"]
