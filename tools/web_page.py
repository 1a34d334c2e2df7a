"""What the pages of tools have in common: one file of HTML that needs no other and no network."""

import functools
import html
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from web_chart import hue

_HERE = pathlib.Path(__file__).parent
_ONLY_THIS_FILE = "default-src 'none'; style-src 'unsafe-inline'"


def document(title: str, body: Iterable[str], *styles: str) -> str:
    """A page without scripts: its style is web_page.css and what `styles`, files beside it, add."""
    return "\n".join(_lines(title, body, ("web_page.css", *styles))) + "\n"


def legend(names: Sequence[str]) -> str:
    """What each colour stands for; nothing where there is only one."""
    if len(names) < 2:
        return ""
    keys = (f'<span class="{hue(i)}">{text(name)}</span>' for i, name in enumerate(names))
    return f'<p class="legend">{"".join(keys)}</p>'


text = functools.partial(html.escape, quote=True)


def name(words: str) -> str:
    """A name as HTML that may be broken at its underscores and slashes."""
    return text(words).replace("_", "_<wbr>").replace("/", "/<wbr>")


def _lines(title: str, body: Iterable[str], styles: Sequence[str]) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_ONLY_THIS_FILE}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    style = "".join((_HERE / name).read_text("utf-8") for name in styles)
    yield f"<title>{text(title)}</title><style>\n{style}</style></head><body><main>"
    yield from body
    yield "</main></body></html>"
