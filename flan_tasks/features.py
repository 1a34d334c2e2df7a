"""The features of all tasks, and their vocabulary, as seqio has them."""

import functools

import seqio

from flan_tasks import vocabulary


class FlanVocabulary(seqio.SentencePieceVocabulary):
    """The vocabulary of all tasks; which file it is, is settled when it is used.

    The file holds T5's 100 sentinels itself, as T5's own does, so none are added.
    """

    def __init__(self):
        super().__init__(sentencepiece_model_file="")

    @property
    def sentencepiece_model_file(self) -> str:
        """The file in use now."""
        return vocabulary.settings().path

    def _model_context(self):
        vocabulary.tokenizer()  # whose error says what to do
        return _as_seqio_reads(self.sentencepiece_model_file)._model_context()


@functools.cache
def _as_seqio_reads(path: str) -> seqio.SentencePieceVocabulary:
    return seqio.SentencePieceVocabulary(path)


VOCABULARY = FlanVocabulary()
OUTPUT_FEATURES = {
    "inputs": seqio.Feature(vocabulary=VOCABULARY, add_eos=True),
    "targets": seqio.Feature(vocabulary=VOCABULARY, add_eos=True),
}
