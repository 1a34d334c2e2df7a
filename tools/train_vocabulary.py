#!/usr/bin/env python3
"""Train the small SentencePiece vocabulary that comes with the package.

    python tools/train_vocabulary.py

It learns from the package's own text alone: the cards' templates, the embedded samples and
flan_tasks/vocabularies/corpus.txt. The same text gives the same bytes. Models trained with one
vocabulary cannot be used with another, so retrain only when the samples have changed a lot.

Like T5's vocabulary it is a unigram model with padding 0, end of sequence 1, unknown 2, and 100
sentinels at the end, of which <extra_id_0> is the last piece. Unlike T5's it changes nothing of the
text: no Unicode normalisation, runs of spaces are kept, line ends are a piece of their own, and
what it has no piece for is written in bytes, so that decoding gives back exactly what was encoded.
"""

import argparse
import io
import json
import pathlib
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "flan_tasks"
OUTPUT = PACKAGE / "vocabularies" / "small.model"
NUM_PIECES = 3072
NUM_SENTINELS = 100

_SLOTS_AND_MARKS = re.compile(r"\{\w*\}|\[\[|\]\]")


def training_texts(package: pathlib.Path = PACKAGE) -> list[str]:
    """The texts to learn from, in a fixed order and each but once."""
    texts = (package / "vocabularies" / "corpus.txt").read_text("utf-8").split("\n\n")
    for path in sorted([*package.glob("datasets/*.toml"), *package.glob("templates/*.toml")]):
        card = tomllib.loads(path.read_text("utf-8"))
        for text in _strings([card.get("template", []), card.get("inverted", [])]):
            texts += [part.strip() for part in _SLOTS_AND_MARKS.split(text)]
    for path in sorted(package.glob("samples/**/*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            texts += _strings(json.loads(line))
    return [text for text in dict.fromkeys(texts) if text.strip()]


def train(texts: Sequence[str], num_pieces: int = NUM_PIECES) -> bytes:
    """A serialized SentencePiece model of `num_pieces` pieces, the sentinels among them.

    Raises:
      RuntimeError: the texts are too few for that many pieces.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="unigram",
        vocab_size=num_pieces - NUM_SENTINELS,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        user_defined_symbols=["\n"],
        byte_fallback=True,
        split_digits=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        max_sentence_length=1_000_000,
        # The result depends on how the sums are split among threads.
        num_threads=1,
        minloglevel=2,
    )
    return _with_sentinels(model.getvalue())


def _with_sentinels(serialized: bytes) -> bytes:
    """The model with T5's sentinels added in T5's order: <extra_id_99> first, <extra_id_0> last."""
    model = sentencepiece_model_pb2.ModelProto.FromString(serialized)  # type: ignore[attr-defined]
    for index in reversed(range(NUM_SENTINELS)):
        model.pieces.add(
            piece=f"▁<extra_id_{index}>", score=0.0, type=model.SentencePiece.USER_DEFINED
        )
    model.trainer_spec.vocab_size = len(model.pieces)
    return model.SerializeToString(deterministic=True)


def _strings(value: Any) -> Iterator[str]:
    """All strings in nested lists and dicts, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=pathlib.Path, default=OUTPUT, help="file to write (default: %(default)s)"
    )
    parser.add_argument(
        "--num_pieces", type=int, default=NUM_PIECES, help="size (default: %(default)s)"
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="say what would be done, write nothing"
    )
    options = parser.parse_args(arguments)
    texts = training_texts()
    size = sum(len(text.encode()) for text in texts)
    print(f"{len(texts):,} texts, {size:,} bytes -> {options.num_pieces:,} pieces")
    if options.dry_run:
        print(f"would write {options.output}")
        return 0
    try:
        model = train(texts, options.num_pieces)
    except RuntimeError as error:
        print(f"cannot train: {error}\nTry another --num_pieces.", file=sys.stderr)
        return 1
    options.output.write_bytes(model)
    print(f"wrote {options.output} ({len(model):,} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
