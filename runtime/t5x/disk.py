"""A disk without room, whichever of the writers meets it first."""

import contextlib
import errno
import re
from collections.abc import Iterator

from etils import epath

from t5x.errors import T5XError

_CODES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# How TensorStore and TensorFlow, which raise errors of their own kinds, hand the system's words on.
_WORDS = re.compile(r"No space left on device|Disk quota exceeded|File too large")


@contextlib.contextmanager
def fullness_explained(directory: epath.PathLike) -> Iterator[None]:
    """Within it, an error for want of room becomes a T5XError that names the directory."""
    try:
        yield
    except Exception as error:
        reason = _lack_of_room(error)
        if reason is None:
            raise
        raise T5XError(
            f"the disk has no room for what is written: {reason}",
            where=str(directory),
            remedy="Make room, or keep fewer checkpoints (SaveCheckpointConfig.keep). The same "
            "command goes on from the last checkpoint, which is whole.",
        ) from error


def _lack_of_room(error: BaseException | None) -> str | None:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _CODES:
            return error.strerror
        found = _WORDS.search(str(error))
        if found:
            return found[0]
        error = error.__cause__ or error.__context__
    return None
