"""How fast a model answers: batches per second of wall time, compilation left out."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_PERCENTILES = (50, 90, 99)


class Speed:
    """Times the batches of a function of the model, call by call.

    The first batch of each shape waits for the compiler: it is not counted, nor is its time.
    """

    def __init__(self) -> None:
        self._shapes: set[tuple] = set()
        self.restart()

    def restart(self) -> None:
        """Begins a call of the function on a dataset."""
        self._began = self._ended = time.perf_counter()
        self._uncounted = 0.0
        self._latencies: list[float] = []
        self._rows = self._tokens = self._all_tokens = 0

    @contextlib.contextmanager
    def batch(self, features: Mapping[str, Any], rows: int) -> Iterator[list]:
        """Times what is done within, until the outputs are on the host.

        Args:
            features: of the batch; their shapes are what is compiled for.
            rows: how many examples it has, padding left out.

        Yields:
            A list to append the outputs to: token ids `[rows, ...]`, 0 being none, or scores.
        """
        shape = tuple((name, np.shape(features[name])) for name in sorted(features))
        began = time.perf_counter()
        outputs: list[Any] = []
        yield outputs
        self._ended = time.perf_counter()
        seconds = self._ended - began
        tokens = sum(_num_tokens(each) for each in outputs)
        self._all_tokens += tokens
        if shape in self._shapes:
            self._latencies.append(seconds)
            self._rows += rows
            self._tokens += tokens
        else:
            self._shapes.add(shape)
            self._uncounted += seconds

    def result(self) -> dict[str, Any] | None:
        """The speed since `restart`, as JSON values; None if no batch was counted.

        `output_tokens` counts those of all batches; `seconds` is the time of all that are counted.
        """
        if not self._latencies:
            return None
        seconds = self._ended - self._began - self._uncounted
        percentiles = np.percentile(self._latencies, _PERCENTILES).tolist()
        return {
            "seconds": seconds,
            "sequences": self._rows,
            "sequences_per_second": self._rows / seconds,
            "tokens_per_second": self._tokens / seconds,
            "latency_seconds": dict(zip(map(str, _PERCENTILES), percentiles, strict=True)),
            "output_tokens": self._all_tokens,
        }


def _num_tokens(outputs: Any) -> int:
    """How many tokens were generated; none where scores were."""
    tokens = outputs[0] if isinstance(outputs, tuple) else outputs
    return int(np.count_nonzero(tokens)) if np.issubdtype(tokens.dtype, np.integer) else 0
