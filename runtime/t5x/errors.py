"""The one exception type for mistakes that the person at the keyboard can mend."""


class T5XError(ValueError):
    """A mistake in a configuration, a file or the data, explained for whoever made it.

    Launchers print such an error as one message without a traceback; `is_user_error` is how they
    recognize it, so that other packages can join in without importing this class.

    Args:
        what: what is wrong, with the offending value.
        where: the setting, file or argument that holds it.
        remedy: what to do about it.

    >>> print(T5XError("vocab_size is -1", where="T5Config", remedy="Make it positive."))
    T5Config: vocab_size is -1. Make it positive.
    """

    is_user_error = True

    def __init__(self, what: str, *, where: str, remedy: str) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(what, where, remedy)

    def __str__(self) -> str:
        return f"{self.where}: {self.what.rstrip('.')}. {self.remedy}"

    def __reduce__(self) -> tuple:
        return _rebuild, (type(self), self.what, self.where, self.remedy)


def _rebuild(cls: type[T5XError], what: str, where: str, remedy: str) -> T5XError:
    return cls(what, where=where, remedy=remedy)
