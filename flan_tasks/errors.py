"""Typed errors: each says what is wrong, where, and what to do about it.

Launchers print an error that carries `is_user_error` as one message, without a traceback.
"""

import functools


class FlanError(ValueError):
    """A fault in the user's input, with its place and its remedy.

    Args:
      what: what is wrong, with the offending value, e.g. "unknown key 'lisence'".
      where: file, key, dataset or row, e.g. "flan_tasks/datasets/bool_q.toml [source]".
      remedy: what to do, as an instruction, e.g. "Did you mean 'license'?".
    """

    is_user_error = True

    def __init__(self, what: str, *, where: str, remedy: str):
        super().__init__(f"{where}: {what}\n  {remedy}")
        self.what = what
        self.where = where
        self.remedy = remedy

    def __reduce__(self):
        """What another process makes the same error of."""
        return functools.partial(type(self), where=self.where, remedy=self.remedy), (self.what,)


class CardError(FlanError):
    """A dataset card, template list or table that does not say what it should."""


class SourceError(FlanError):
    """Rows that cannot be had: a missing file, an unreachable host, a truncated split."""


class StoreError(FlanError):
    """Prepared rows that are missing, damaged or made for something else."""


class MixtureError(FlanError):
    """A mixture that cannot be built: unknown tasks, rates that do not add up."""


class VocabularyError(FlanError):
    """A SentencePiece model that cannot be read."""
