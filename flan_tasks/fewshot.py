"""Few-shot prompts: which exemplars, how many, how they are laid out, how many fit.

Exemplars come from the same task's training rows and are never the query itself. Their number and
rows are drawn before anything is read. The length budget counts tokens; an exemplar that does not
fit is left out whole, never cut.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

import numpy as np

from flan_tasks import draws
from flan_tasks.render import Filled
from flan_tasks.spec import Template, slots

# 1 to 4, 2.5 on average, as in the paper's mixed few-shot prompts (arXiv 2301.13688, section 2).
NUM_EXEMPLARS = (1, 4)
# Rows drawn beyond the most exemplars, for those that lack a slot or repeat the query.
_SPARES = 2
# A prompt of fewer bytes for each token of its budget is tried whole: prose takes about four.
_BYTES_PER_TOKEN = 3
# Counts kept; when there are more, counting starts anew.
_MOST_COUNTS = 1 << 18

# A stretch of a prompt, under the key that its count is remembered by.
_Piece = tuple[Hashable, str]
EncodeBatch = Callable[[Sequence[str]], list[list[int]]]


def draw_exemplars(
    query_row: np.ndarray, key: np.ndarray, num_rows: np.ndarray, same_split: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the exemplars of some queries.

    Args:
      query_row: int64 [n].
      key: uint64 [n], what each query's draws are made from.
      num_rows: int64 [n], rows of the split that each query's exemplars come from.
      same_split: bool [n], whether a query is a row of that split, and so must be left out.

    Returns:
      How many exemplars each query gets, int64 [n]; how many distinct rows each line of the third
      begins with, int64 [n], fewer where the split is small; and the rows in the order in which
      they are tried, int64 [n, most rows].
    """
    low, high = NUM_EXEMPLARS
    candidates = num_rows - same_split
    count = low + draws.below(high - low + 1, key, 0)
    size = np.maximum(candidates, 1)[:, None]
    turns = np.minimum(np.arange(high + _SPARES)[None, :], size - 1)
    rows = draws.permute(turns, size, key[:, None], 1)
    skip_query = same_split[:, None] & (rows >= query_row[:, None])
    return count, np.minimum(candidates, high + _SPARES), rows + skip_query


@dataclasses.dataclass(frozen=True, slots=True)
class FewShotPrompt:
    """A prompt in parts: the top, the exemplars, the query, all as text that is simply joined.

    Attributes:
      preamble, exemplars, query: the parts' texts.
      asked: what the top and the query are made of.
      shots: what each exemplar is made of.
    """

    preamble: str
    exemplars: tuple[str, ...]
    query: str
    asked: Filled
    shots: tuple[Filled, ...] = ()

    def text(self, num_exemplars: int) -> str:
        """The prompt with the first `num_exemplars` exemplars."""
        return "".join((self.preamble, *self.exemplars[:num_exemplars], self.query))


def lay_out(asked: Filled, shots: Sequence[Filled]) -> FewShotPrompt:
    """The parts of a few-shot prompt in the format of the query's template."""
    layout = asked.template.exemplar
    return FewShotPrompt(
        asked.preamble,
        tuple(
            layout.input_prefix + shot.input + layout.target_prefix + shot.target + layout.separator
            for shot in shots
        ),
        layout.input_prefix + asked.input + layout.target_prefix.rstrip(),
        asked,
        tuple(shots),
    )


class Fitter:
    """Finds how many exemplars of each prompt fit into a budget of tokens.

    A prompt that is surely short enough is tried whole. Of any other, those exemplars stay that fit
    by the count of what they are made of: the tokens of the template's own words and of each field,
    counted once and remembered. The joints may tokenize apart, so the whole is counted in the end,
    and loses further exemplars until it fits.
    """

    def __init__(self, encode_batch: EncodeBatch):
        self._encode_batch = encode_batch
        self._counts: dict[Hashable, int] = {}

    def fit(
        self, prompts: Sequence[FewShotPrompt], budget: int | None
    ) -> tuple[list[int], list[list[int]]]:
        """How many exemplars of each prompt fit, and the token ids of the prompt with so many.

        A prompt whose query alone is longer keeps 0; whoever asks must still check its length.
        """
        kept = [len(prompt.exemplars) for prompt in prompts]
        if budget is not None:
            self._drop_by_count(prompts, kept, budget)
        ids: list[list[int]] = [[]] * len(prompts)
        pending: Sequence[int] = range(len(prompts))
        while pending:
            encoded = self._encode_batch([prompts[i].text(kept[i]) for i in pending])
            too_long = []
            for i, tokens in zip(pending, encoded, strict=True):
                ids[i] = tokens
                if budget is not None and len(tokens) > budget and kept[i]:
                    kept[i] -= 1
                    too_long.append(i)
            pending = too_long
        return kept, ids

    def _drop_by_count(
        self, prompts: Sequence[FewShotPrompt], kept: list[int], budget: int
    ) -> None:
        doubtful = [
            i
            for i, prompt in enumerate(prompts)
            if kept[i] and len(prompt.text(kept[i]).encode()) > budget * _BYTES_PER_TOKEN
        ]
        self._count(piece for i in doubtful for piece in _all_pieces(prompts[i]))
        for i in doubtful:
            room = budget - self._total(_pieces(prompts[i].asked, exemplar=False))
            costs = [self._total(_pieces(shot, exemplar=True)) for shot in prompts[i].shots]
            kept[i] = int(np.searchsorted(np.cumsum(costs), room, side="right"))

    def _count(self, pieces: Iterable[_Piece]) -> None:
        if len(self._counts) > _MOST_COUNTS:
            self._counts.clear()
        missing = {key: text for key, text in pieces if key not in self._counts}
        encoded = self._encode_batch(list(missing.values()))
        self._counts.update(zip(missing, map(len, encoded), strict=True))

    def _total(self, pieces: Iterable[_Piece]) -> int:
        return sum(self._counts[key] for key, _ in pieces)


def _all_pieces(prompt: FewShotPrompt) -> Iterator[_Piece]:
    yield from _pieces(prompt.asked, exemplar=False)
    for shot in prompt.shots:
        yield from _pieces(shot, exemplar=True)


def _pieces(filled: Filled, *, exemplar: bool) -> Iterator[_Piece]:
    """What a part of the prompt is made of: the template's own words, and what fills its slots."""
    words, names = _makeup(filled.template, exemplar)
    yield words, words
    for name in names:
        yield filled.key(name), filled.row.slots[name]


@functools.lru_cache(maxsize=1 << 16)
def _makeup(template: Template, exemplar: bool) -> tuple[str, tuple[str, ...]]:
    """The template's own words, and its slots, in an exemplar or else around the exemplars."""
    layout = template.exemplar
    start, end = (
        (template.input, template.target) if exemplar else (template.preamble, template.input)
    )
    names = slots(start) + slots(end)
    nothing = dict.fromkeys(names, "")
    words = [layout.input_prefix, start.format_map(nothing), end.format_map(nothing)]
    words += [layout.target_prefix, layout.separator if exemplar else ""]
    return "".join(words), names
