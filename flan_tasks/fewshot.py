"""Few-shot prompts: which exemplars, how many, how they are laid out, how many fit.

Exemplars come from the same task's training rows and are never the query itself. The length budget
counts tokens; an exemplar that does not fit is left out whole, never cut.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from flan_tasks import draws
from flan_tasks.render import Filled
from flan_tasks.spec import Template

# 1 to 4, 2.5 on average, as in the paper's mixed few-shot prompts (arXiv 2301.13688, section 2).
NUM_EXEMPLARS = (1, 4)

CountTokens = Callable[[Sequence[str]], list[int]]


def draw_exemplars(
    query_row: np.ndarray, key: np.ndarray, num_rows: int, *, same_split: bool
) -> list[np.ndarray]:
    """Rows of the exemplars of some queries.

    Args:
      query_row: int64 [n].
      key: uint64 [n], what each query's draws are made from.
      num_rows: rows of the split that exemplars come from.
      same_split: whether the queries are rows of that split, and so must be left out.

    Returns:
      For each query an int64 array of distinct rows; fewer than drawn where the split is small.
    """
    low, high = NUM_EXEMPLARS
    candidates = num_rows - 1 if same_split else num_rows
    count = np.minimum(low + draws.below(high - low + 1, key, 0), candidates)
    if candidates < 1:
        return [np.zeros(0, np.int64) for _ in query_row]
    turns = np.arange(min(high, candidates))
    rows = draws.permute(turns[None, :], candidates, key[:, None], 1)
    if same_split:
        rows = rows + (rows >= query_row[:, None])
    return [chosen[:n] for chosen, n in zip(rows, count, strict=True)]


@dataclasses.dataclass(frozen=True)
class FewShotPrompt:
    """A prompt in parts: the top, the exemplars, the query, all as text that is simply joined."""

    preamble: str
    exemplars: tuple[str, ...]
    query: str

    def text(self, num_exemplars: int) -> str:
        """The prompt with the first `num_exemplars` exemplars."""
        return self.preamble + "".join(self.exemplars[:num_exemplars]) + self.query


def lay_out(template: Template, query: Filled, exemplars: Sequence[Filled]) -> FewShotPrompt:
    """The parts of a few-shot prompt in the template's format."""
    layout = template.exemplar
    return FewShotPrompt(
        query.preamble,
        tuple(
            layout.input_prefix + shot.input + layout.target_prefix + shot.target + layout.separator
            for shot in exemplars
        ),
        layout.input_prefix + query.input + layout.target_prefix.rstrip(),
    )


def fit(prompts: Sequence[FewShotPrompt], budget: int, count_tokens: CountTokens) -> list[int]:
    """How many exemplars of each prompt fit into `budget` tokens.

    A prompt whose query alone is longer gets 0; whoever asks must still check its length.
    """
    parts = [part for p in prompts for part in (p.preamble + p.query, *p.exemplars)]
    lengths = iter(count_tokens(parts))
    fitting = []
    for prompt in prompts:
        room = budget - next(lengths)
        needed = np.cumsum([next(lengths) for _ in prompt.exemplars])
        fitting.append(int(np.searchsorted(needed, room, side="right")))
    # Tokens of the parts bound those of the whole only nearly: the joints may tokenize apart.
    pending = [i for i, n in enumerate(fitting) if n > 0]
    while pending:
        lengths = iter(count_tokens([prompts[i].text(fitting[i]) for i in pending]))
        pending = [i for i in pending if next(lengths) > budget]
        for i in pending:
            fitting[i] -= 1
        pending = [i for i in pending if fitting[i] > 0]
    return fitting
