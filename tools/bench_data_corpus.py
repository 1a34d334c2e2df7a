"""What tools/bench_data.py measures on: word problems, and many small datasets of them."""

import dataclasses
import functools
import gzip
import math
import pathlib
import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from flan_tasks import catalog
from flan_tasks.spec import Dataset, Source, Template

# GSM8K's training rows, as published for chain-of-thought: so many, and the logarithms of the
# lengths of their questions and rationales in characters: mean, deviation and correlation.
NUM_ROWS = 7473
_QUESTION, _RATIONALE, _CORRELATION = (5.381, 0.382), (5.370, 0.531), 0.48
# Rows of each of the small datasets that mixtures of many tasks are made of.
ROWS_OF_SMALL = 200
_SEED = 20_230_131

_NAMES = ("Ana", "Bo", "Chidi", "Dana", "Fatima", "Goran", "Hana", "Jun", "Kofi", "Mateo", "Priya")
_THINGS = ("apples", "pencils", "marbles", "tickets", "loaves", "lanterns", "postcards", "ribbons")
_PLACES = ("the market", "her garden", "a school fair", "the library", "the harbour", "his house")
_FACTS = (
    "{name} brings {a} {things} to {place} and gives {b} of them to a friend.",
    "Each box in {place} holds {a} {things}, and there are {b} boxes.",
    "On Monday {name} sold {a} {things} for ${b} each.",
    "{name} has {a} times as many {things} as the {b} people who came to {place}.",
    "It takes {name} {a} minutes to carry {b} {things} to {place}.",
)
_STEPS = (
    "At the end of the day {name} has {a} x {b} = {product} {things}.",
    "That makes {a} + {b} = {sum} {things} in {place}.",
    "At ${b} each this is {a} * {b} = ${product}.",
    "So there were {sum} - {b} = {a} {things} left at {place}.",
)


class Problem(NamedTuple):
    """A word problem: texts without tabs and line breaks."""

    question: str
    answer: str
    rationale: str


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Where the datasets lie that are measured on.

    Attributes:
      folder: the folder of the rows, and of the store of prepared rows.
      num_small: how many small datasets there are.
    """

    folder: str
    num_small: int

    @property
    def path(self) -> str:
        """The file of all problems: question, answer and rationale, separated by tabs."""
        return f"{self.folder}/all.tsv"

    def path_of_small(self, number: int) -> str:
        """The file of a small dataset's problems."""
        return f"{self.folder}/small_{number:04d}.tsv"

    @functools.cached_property
    def templates(self) -> tuple[Template, ...]:
        """The templates that all of the problems are asked with."""
        return catalog.get("cot_gsm8k").templates

    @property
    def dataset(self) -> Dataset:
        """All problems, as one dataset in two variants: zero-shot and few-shot."""
        return _dataset("bench", self.path, self.templates)

    @property
    def short_answers(self) -> Dataset:
        """All problems again, with targets of a few tokens."""
        asked = tuple(dataclasses.replace(each, target="{answer}") for each in self.templates)
        return _dataset("bench_short", self.path, asked)

    def small_datasets(self, count: int) -> list[Dataset]:
        """The first small datasets; among them are three lists of templates."""
        lists = [self.templates, self.templates[1:], self.templates[2:]]
        return [
            _dataset(f"bench_{number:04d}", self.path_of_small(number), lists[number % len(lists)])
            for number in range(count)
        ]

    @property
    def store_dir(self) -> str:
        """The folder of the prepared rows."""
        return f"{self.folder}/store"


def read(path: str) -> list[Problem]:
    """The problems of a file of tab-separated questions, answers and rationales.

    Raises:
      ValueError: a line has another number of columns.
    """
    content = pathlib.Path(path).read_bytes()
    text = (gzip.decompress(content) if path.endswith(".gz") else content).decode()
    lines = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    for number, line in enumerate(lines, start=1):
        if len(line) != len(Problem._fields):
            raise ValueError(
                f"{path}, line {number}: {len(line)} columns, not "
                f"{len(Problem._fields)} ({', '.join(Problem._fields)})"
            )
    return [Problem(*line) for line in lines]


def make_up(count: int) -> list[Problem]:
    """So many problems, with lengths distributed as GSM8K's; always the same."""
    return [_problem(random.Random(_SEED + number)) for number in range(count)]


def write(corpus: Corpus, problems: Sequence[Problem]) -> None:
    """Writes the files of a corpus: the problems, and those dealt out to the small datasets."""
    _write(corpus.path, problems)
    for number in range(corpus.num_small):
        dealt = range(number * ROWS_OF_SMALL, (number + 1) * ROWS_OF_SMALL)
        _write(corpus.path_of_small(number), [problems[i % len(problems)] for i in dealt])


def _write(path: str, problems: Sequence[Problem]) -> None:
    pathlib.Path(path).write_text("".join("\t".join(each) + "\n" for each in problems), "utf-8")


def _dataset(name: str, path: str, templates: tuple[Template, ...]) -> Dataset:
    card = catalog.get("cot_gsm8k")
    return dataclasses.replace(
        card,
        name=name,
        source=Source(files={"train": path}, columns=card.source.columns),
        splits={"train": "train"},
        num_examples={},
        templates=templates,
        inverted=(),
    )


def _problem(draw: random.Random) -> Problem:
    shared, own = draw.gauss(), draw.gauss()
    of_rationale = _CORRELATION * shared + math.sqrt(1 - _CORRELATION**2) * own
    (question_mean, question_deviation), (mean, deviation) = _QUESTION, _RATIONALE
    fact, step = (functools.partial(_sentence, draw, kinds) for kinds in (_FACTS, _STEPS))
    return Problem(
        _of_length(math.exp(question_mean + question_deviation * shared), fact),
        str(draw.randint(2, 500)),
        _of_length(math.exp(mean + deviation * of_rationale), step),
    )


def _of_length(length: float, sentence: Callable[[], str]) -> str:
    """Sentences, the last of which is cut between words, of about so many characters."""
    text = sentence()
    while len(text) < length:
        text += " " + sentence()
    return text[: max(40, round(length))].rsplit(" ", 1)[0].rstrip(".") + "."


def _sentence(draw: random.Random, kinds: Sequence[str]) -> str:
    a, b = draw.randint(2, 90), draw.randint(2, 40)
    words = {"name": _NAMES, "things": _THINGS, "place": _PLACES}
    drawn = {slot: draw.choice(choices) for slot, choices in words.items()}
    return draw.choice(kinds).format(**drawn, a=a, b=b, product=a * b, sum=a + b)
