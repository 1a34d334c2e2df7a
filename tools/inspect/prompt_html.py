"""Prompts as HTML, each stretch colored by what it is; the colors are in page.css."""

import functools
import html
import itertools
from collections.abc import Iterable, Iterator, Sequence

from examples import Shown

from flan_tasks.parts import Part

_NUM_HUES = 6  # of fields, in the style sheet


class PromptHtml:
    """Shows the examples of a dataset.

    Args:
      fields: the fields that get a color each.
    """

    def __init__(self, fields: Sequence[str]):
        self.fields = fields
        self._hues = {name: i % _NUM_HUES for i, name in enumerate(fields)}

    def example(self, shown: Shown) -> Iterator[str]:
        """Where an example comes from, its prompt and its target."""
        example = shown.example
        facts = {
            "row": f"{example.row} of {example.split}",
            "index": str(example.index),
            "template": example.template,
            "style": example.style,
            "exemplars": ", ".join(map(str, example.exemplars)),
            "tokens": f"{len(example.inputs):,} + {len(example.targets):,}",
        }
        items = (
            f"<span>{key} <b>{_text(value)}</b></span>" for key, value in facts.items() if value
        )
        yield f'<div class="provenance">{"".join(items)}</div>'
        yield f'<div class="text prompt">{"".join(self._prompt(shown.prompt))}</div>'
        yield f'<div class="text target">{self.spans(shown.target)}</div>'
        if example.references != (example.targets_pretokenized,):
            listed = " &nbsp;|&nbsp; ".join(map(_text, example.references))
            yield f'<p class="references">references: {listed}</p>'

    def spans(self, stretches: Iterable[Part]) -> str:
        """Stretches of text, one after the other."""
        return "".join(map(self.span, stretches))

    def span(self, part: Part, more: str = "") -> str:
        """A stretch of text with its classes, and some more of them."""
        classes = [part.label, more]
        if part.label == "field":
            classes.append(f"hue{self._hues[part.slot]}")
        if part.is_target:
            classes = ["solution", "answer" if part.slot else ""]
        title = f' title="{_text(part.slot)}"' if part.slot else ""
        names = " ".join(name for name in classes if name)
        return f'<span class="{names}"{title}>{_text(part.text)}</span>'

    def _prompt(self, prompt: Sequence[Part]) -> Iterator[str]:
        """The prompt's spans, those of an exemplar in a block of their own."""
        for number, group in itertools.groupby(prompt, lambda part: part.exemplar):
            spans = self.spans(group)
            if number is None:
                yield spans
            else:
                yield f'<div class="shot" data-number="{number + 1}">{spans}</div>'


_text = functools.partial(html.escape, quote=True)
