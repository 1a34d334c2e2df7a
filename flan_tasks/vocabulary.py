"""Which SentencePiece model tokenizes: a path, read when it is first used and not before.

By default T5's own vocabulary. A gin file or the environment names another one:

    vocabulary.settings.path = "/data/t5/sentencepiece.model"
    FLAN_VOCABULARY=/data/t5/sentencepiece.model

The name "small" stands for the vocabulary that comes with the package, made for the embedded
samples: it is for demonstrations and tests, not for a model that anyone will use.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence

import gin
import seqio

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


class FlanVocabulary(seqio.SentencePieceVocabulary):
    """The vocabulary of all tasks; which file it is, is settled when it is used.

    The file holds T5's 100 sentinels itself, as T5's own does, so none are added.
    """

    def __init__(self):
        super().__init__(sentencepiece_model_file="")

    @property
    def sentencepiece_model_file(self) -> str:
        """The file in use now."""
        return settings().path

    def _model_context(self):
        return _read(self.sentencepiece_model_file)._model_context()

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts at once, without an end-of-sequence token."""
        return self.tokenizer.EncodeAsIds(list(texts))


@functools.cache
def _read(path: str) -> seqio.SentencePieceVocabulary:
    vocabulary = seqio.SentencePieceVocabulary(path)
    try:
        vocabulary.load_model()
    except Exception as error:  # whatever the file system or the parser raises
        raise VocabularyError(
            f"cannot read the SentencePiece model ({type(error).__name__}: {error})",
            where=path,
            remedy="Set vocabulary.settings.path in gin, or FLAN_VOCABULARY, to a local copy of "
            f"{T5_VOCABULARY}, or to 'small' for the one made for the embedded samples.",
        ) from error
    return vocabulary


VOCABULARY = FlanVocabulary()
