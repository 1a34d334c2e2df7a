"""What tools/bench_data.py compares with: seqio tasks as one would write them by hand.

Each is a graph of TensorFlow's for one example at a time: read a line, draw a template, join its
words with the row's texts, tokenize with seqio's own preprocessors.
"""

import functools
import string
from collections.abc import Callable, Mapping, Sequence

import seqio
import tensorflow as tf

from flan_tasks.spec import Template

# Neighbours that a careful few-shot prompt chooses its exemplars from.
NUM_CANDIDATES = 25

_Texts = Mapping[str, tf.Tensor]
_Preprocessor = Callable[..., tf.data.Dataset]


def register(
    name: str,
    path: str,
    templates: Sequence[Template],
    vocabulary: seqio.Vocabulary,
    num_exemplars: tuple[int, int] | None = None,
    *,
    count_tokens: bool = False,
) -> str:
    """Registers a task and returns its name.

    Args:
      name: the task's name.
      path: file of tab-separated questions, answers and rationales.
      templates: what an example's template is drawn from.
      vocabulary: what tokenizes.
      num_exemplars: fewest and most exemplars of a prompt: the query's neighbours in the shuffled
        file; None: zero-shot.
      count_tokens: whether exemplars are those of NUM_CANDIDATES neighbours that fit the length, by
        their tokens; else there are just as many neighbours as exemplars, and no one asks.
    """
    if num_exemplars is None:
        render = [_zero_shot(templates)]
    else:
        num_neighbours = NUM_CANDIDATES if count_tokens else num_exemplars[1]
        render = [
            functools.partial(_with_neighbours, count=num_neighbours),
            _few_shot(templates, vocabulary, num_exemplars, count_tokens),
        ]
    seqio.TaskRegistry.add(
        name,
        source=seqio.TextLineDataSource({"train": path}),
        preprocessors=[
            _columns,
            *render,
            functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=False),
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features={side: seqio.Feature(vocabulary) for side in ("inputs", "targets")},
    )
    return name


def _columns(lines: tf.data.Dataset) -> tf.data.Dataset:
    def split(line: tf.Tensor) -> _Texts:
        question, answer, rationale = tf.unstack(tf.strings.split(line, "\t"), 3)
        return {"question": question, "answer": answer, "chain_of_thought": rationale}

    return lines.map(split, tf.data.AUTOTUNE)


def _with_neighbours(rows: tf.data.Dataset, count: int) -> tf.data.Dataset:
    return rows.batch(1 + count, drop_remainder=True)


def _zero_shot(templates: Sequence[Template]) -> _Preprocessor:
    def ask(template: Template, row: _Texts) -> _Texts:
        return {
            "inputs": _fill(template.preamble + template.input, row),
            "targets": _fill(template.target, row),
        }

    @seqio.map_over_dataset(num_seeds=1)
    def render(row: _Texts, seed: tf.Tensor) -> _Texts:
        return _by_drawn_template(ask, templates, row, seed)

    return render


def _few_shot(
    templates: Sequence[Template],
    vocabulary: seqio.Vocabulary,
    num_exemplars: tuple[int, int],
    count_tokens: bool,
) -> _Preprocessor:
    def ask(template: Template, rows: _Texts) -> _Texts:
        layout = template.exemplar
        query = {slot: texts[0] for slot, texts in rows.items()}
        inputs, targets = _fill(template.input, rows), _fill(template.target, rows)
        starts = layout.input_prefix + inputs + layout.target_prefix
        return {
            "preamble": _fill(template.preamble, query),
            "query": tf.strings.strip(starts[0]),
            "targets": targets[0],
            "shots": (starts + targets + layout.separator)[1:],
        }

    @seqio.map_over_dataset(num_seeds=2)
    def render(rows: _Texts, sequence_length: Mapping[str, int], seeds: tf.Tensor) -> _Texts:
        parts = _by_drawn_template(ask, templates, rows, seeds[0])
        shots, start, end = parts["shots"], parts["preamble"], parts["query"]
        if count_tokens:
            room = sequence_length["inputs"] - 1 - tf.size(vocabulary.encode_tf(start + end))
            used = tf.cumsum(vocabulary.encode_tf(shots).row_lengths())
            fitting = tf.reduce_sum(tf.cast(used <= tf.cast(room, used.dtype), tf.int32))
            shots = shots[:fitting]
        low, high = num_exemplars
        drawn = tf.random.stateless_uniform([], seeds[1], low, high + 1, tf.int32)
        inputs = start + tf.strings.reduce_join(shots[:drawn]) + end
        return {"inputs": inputs, "targets": parts["targets"]}

    return render


def _by_drawn_template(
    ask: Callable[[Template, _Texts], _Texts],
    templates: Sequence[Template],
    texts: _Texts,
    seed: tf.Tensor,
) -> _Texts:
    drawn = tf.random.stateless_uniform([], seed, 0, len(templates), tf.int32)
    return tf.switch_case(drawn, [functools.partial(ask, each, texts) for each in templates])


def _fill(text: str, texts: _Texts) -> tf.Tensor:
    """The text with its slots filled, of the shape of `texts`."""
    parts: list[str | tf.Tensor] = []
    for literal, slot, _, _ in string.Formatter().parse(text):
        parts += [literal, texts[slot]] if slot else [literal]
    return tf.strings.join(parts or [""])
