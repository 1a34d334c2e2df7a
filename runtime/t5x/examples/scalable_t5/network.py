"""The network of `t5x.examples.t5`, which scans its layers where `T5Config.scan_layers` says so.

It is here under T5X's name for it, so that gin files which import it run on either engine. Its
parameters are not those of T5X's: there every layer has relative position biases of its own.
"""

from t5x.examples.t5.network import T5Config, Transformer

__all__ = ["T5Config", "Transformer"]
