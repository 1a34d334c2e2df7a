"""Which SentencePiece model tokenizes: a path, read when it is first used and not before.

By default T5's own vocabulary. A gin file or the environment names another one:

    vocabulary.settings.path = "/data/t5/sentencepiece.model"
    FLAN_VOCABULARY=/data/t5/sentencepiece.model

The name "small" stands for the vocabulary that comes with the package, made for the embedded
samples: it is for demonstrations and tests, not for a model that anyone will use.
"""

import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Sequence

import gin
import sentencepiece

from flan_tasks.errors import VocabularyError

T5_VOCABULARY = "gs://t5-data/vocabs/cc_all.32000.100extra/sentencepiece.model"
SMALL_VOCABULARY = pathlib.Path(__file__).parent / "vocabularies" / "small.model"


@dataclasses.dataclass(frozen=True)
class Settings:
    """The SentencePiece model in use."""

    path: str


@gin.configurable
def settings(path: str | None = None) -> Settings:
    """The vocabulary's settings: gin first, then FLAN_VOCABULARY, then T5's vocabulary."""
    path = path or os.environ.get("FLAN_VOCABULARY") or T5_VOCABULARY
    return Settings(str(SMALL_VOCABULARY) if path == "small" else path)


class Tokenizer:
    """A SentencePiece model.

    Attributes:
      end_of_sequence: id of the token that every input and target ends with.
      num_tokens: how many ids there are.
      fingerprint: the same for the same model, wherever its file lies.
    """

    def __init__(self, model: bytes):
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.end_of_sequence: int = self._processor.eos_id()
        self.num_tokens: int = self._processor.vocab_size()
        self.fingerprint = hashlib.sha256(model).hexdigest()[:16]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts at once, without an end-of-sequence token."""
        return self._processor.encode(list(texts))


def tokenizer() -> Tokenizer:
    """The tokenizer of the SentencePiece model in use.

    Raises:
      VocabularyError: the file cannot be read, or is no SentencePiece model.
    """
    return _read(settings().path)


@functools.cache
def _read(path: str) -> Tokenizer:
    try:
        return Tokenizer(_bytes(path))
    except Exception as error:  # whatever the file system or the parser raises
        raise VocabularyError(
            f"cannot read the SentencePiece model ({type(error).__name__}: {error})",
            where=path,
            remedy="Set vocabulary.settings.path in gin, or FLAN_VOCABULARY, to a local copy of "
            f"{T5_VOCABULARY}, or to 'small' for the one made for the embedded samples.",
        ) from error


def _bytes(path: str) -> bytes:
    if "://" not in path:
        return pathlib.Path(path).read_bytes()
    import tensorflow as tf  # which reads from buckets; local files need none of it

    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()
