"""Confidence intervals by the percentile bootstrap: how far a score depends on the examples drawn.

The examples of a task are drawn anew, with replacement, as many as there are; the score is taken of
each such resample; the interval holds the middle `confidence` of those scores. Averages over tasks
are resampled within each task (stratified). What is drawn depends on the seed alone.
"""

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from flan_tasks.errors import FlanError
from flan_tasks.evaluation import averages

# Numbers drawn at once.
_DRAWN_AT_ONCE = 1 << 22

Interval = tuple[float, float]
Scores = Sequence[float] | np.ndarray
Average = Callable[[Mapping[str, float]], float]


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
      confidence: the share of resampled scores that an interval holds.
      resamples: how many resamples are drawn.
      seed: what is drawn depends on it.

    Raises:
      FlanError: these make no interval.
    """

    confidence: float = 0.95
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.confidence < 1 or self.resamples < 1:
            raise FlanError(
                f"no interval has confidence {self.confidence} of {self.resamples} resamples",
                where="bootstrap intervals",
                remedy="Give a confidence between 0 and 1, and 1 resample or more.",
            )

    def of_mean(self, scores: Scores) -> Interval:
        """The interval of the mean of scores [n], n > 0."""
        return self._middle(self._means(scores, ""))

    def of_average(
        self,
        scores: Mapping[str, Scores],
        average: Average = averages.macro_average,
    ) -> Interval:
        """The interval of an average over tasks.

        Args:
          scores: task -> scores of its examples.
          average: gives the average for {task: mean of its scores}; the mean over tasks unless
            told otherwise.
        """
        means = {task: self._means(of_task, task) for task, of_task in scores.items()}
        resampled = [
            average(dict(zip(means, each, strict=True)))
            for each in zip(*(column.tolist() for column in means.values()), strict=True)
        ]
        return self._middle(np.array(resampled))

    def of_corpus(self, score: Callable[[np.ndarray], float], num_units: int) -> Interval:
        """The interval of a score that is no mean: it is computed of every resample.

        Args:
          score: gives the score of the units at indices [num_units], some of them repeated.
          num_units: how many units are drawn, out of as many.
        """
        draw = self._generator("")
        rows = (draw.integers(num_units, size=num_units) for _ in range(self.resamples))
        return self._middle(np.array([score(each) for each in rows]))

    def _means(self, scores: Scores, name: str) -> np.ndarray:
        """The means [resamples] of resampled scores [n].

        How often each value is drawn is multinomial: of scores that are only right or wrong two
        numbers are drawn in place of n.
        """
        values, counts = np.unique(np.asarray(scores, np.float64), return_counts=True)
        num = int(counts.sum())
        draw = self._generator(name)
        at_once = max(1, _DRAWN_AT_ONCE // len(values))
        means = [
            draw.multinomial(num, counts / num, size=min(at_once, self.resamples - done)) @ values
            for done in range(0, self.resamples, at_once)
        ]
        return np.concatenate(means) / num

    def _generator(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def _middle(self, resampled: np.ndarray) -> Interval:
        outside = 50 * (1 - self.confidence)
        low, high = np.percentile(resampled, [outside, 100 - outside])
        return float(low), float(high)
