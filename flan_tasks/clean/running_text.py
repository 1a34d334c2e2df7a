"""Running text: spaces and lines in order, tokenised text put together again."""

import re

_SPACES = re.compile(r"[^\S\n]+")
_LINE_ENDS = re.compile(r" ?\n ?")
_EMPTY_LINES = re.compile(r"\n{3,}")

# How the Penn Treebank's tokenizer spells brackets and quotation marks; upper case occurs too.
_SPELLINGS = {
    "-lrb-": "(",
    "-rrb-": ")",
    "-lsb-": "[",
    "-rsb-": "]",
    "-lcb-": "{",
    "-rcb-": "}",
    "``": '"',
    "''": '"',
    "`": "'",
}
_ESCAPED = re.compile(r"\\([/*])")
_NO_SPACE_AFTER = frozenset(["-lrb-", "-lsb-", "-lcb-", "(", "[", "{", "``", "`", "$"])
_NO_SPACE_BEFORE = re.compile(
    r"n't|'(?:s|re|ve|ll|d|m)?|''|[.,;:!?%]+|[)\]}]|-r[rsc]b-", re.IGNORECASE
)


def squeeze(text: str) -> str:
    r"""Text with single spaces and at most one empty line at a time.

    >>> squeeze(" One \r\n\r\n\r\ntwo\t three ")
    'One\n\ntwo three'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _LINE_ENDS.sub("\n", _SPACES.sub(" ", text))
    return _EMPTY_LINES.sub("\n\n", text).strip()


def untokenize(text: str) -> str:
    """A sentence in the Penn Treebank's tokens as it is commonly written.

    >>> untokenize("a `` good '' film -lrb- from 1902 -rrb- .")
    'a "good" film (from 1902).'
    """
    written, joined = "", True
    for token in text.split():
        mark = token.lower()
        if not joined and not _NO_SPACE_BEFORE.fullmatch(mark):
            written += " "
        written += _SPELLINGS.get(mark, _ESCAPED.sub(r"\1", token))
        joined = mark in _NO_SPACE_AFTER
    return written


def numbered(items: list[str]) -> str:
    """The items as a numbered list, one to a line."""
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, start=1))
