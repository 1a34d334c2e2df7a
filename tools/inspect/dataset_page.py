"""`inspect dataset` as a page: one file of HTML that needs no other and no network."""

import functools
import html
import json
import pathlib
from collections.abc import Iterator, Sequence

import facts
from examples import LENGTHS, Group
from prompt_html import PromptHtml

from flan_tasks import parts, vocabulary
from flan_tasks.parts import Part
from flan_tasks.spec import Dataset, Template


def page(dataset: Dataset, groups: Sequence[Group]) -> str:
    """The page of a dataset with some groups of its examples."""
    return "\n".join(_Page(dataset).lines(groups)) + "\n"


class _Page:
    def __init__(self, dataset: Dataset):
        self._dataset = dataset
        self._prompts = PromptHtml(facts.fields(dataset))

    def lines(self, groups: Sequence[Group]) -> Iterator[str]:
        style = pathlib.Path(__file__).with_name("page.css").read_text("utf-8")
        yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
        yield f"<title>{_text(self._dataset.name)}</title><style>\n{style}</style></head><body>"
        yield from self._header()
        yield from self._navigation(groups)
        yield "<main>"
        for group in groups:
            yield from self._group(group)
        yield from self._templates()
        yield f"<footer>Prompts of at most {LENGTHS}; tokens are counted with their end-of-sequence"
        yield f"token by {_text(vocabulary.settings().path)}.</footer></main></body></html>"

    def _header(self) -> Iterator[str]:
        dataset = self._dataset
        terms = (dataset.kind, dataset.collection, ", ".join(dataset.languages), dataset.license)
        home = _text(dataset.homepage)
        yield f"<header><h1>{_text(dataset.name)}</h1>"
        yield f'<p class="lead">{_text(" · ".join(terms))}</p>'
        yield f'<p class="cite">{_text(dataset.citation)}<br><a href="{home}">{home}</a></p>'
        yield '<div class="facts"><section class="sheet"><h3>Splits</h3><table>'
        for split in facts.splits(dataset):
            count = "?" if split.num_examples is None else f"{split.num_examples:,}"
            yield f"<tr><td>{_text(split.name)}<td>{_text(split.instruction)}"
            yield f'<td class="number">{count}<td>{_text(split.prepared)}'
        yield "</table><h3>Sources</h3><table>"
        for place in facts.places(dataset):
            state = '<span class="yes">yes</span>' if place.ok else '<span class="no">no</span>'
            why = _text(place.why)
            yield f'<tr><td>{place.kind}<td>{state}<td><span class="why" title="{why}">{why}</span>'
        yield '</table></section><section class="sheet"><h3>Rows and scoring</h3><table>'
        for key, value in facts.card(dataset).items():
            yield f"<tr><td>{key}<td>{_text(value)}"
        yield "</table></section></div></header>"

    def _navigation(self, groups: Sequence[Group]) -> Iterator[str]:
        yield '<nav><div><span class="chip words">instruction</span>'
        kinds = [*(Part(name, name) for name in self._prompts.fields), Part("options", "options")]
        if not self._dataset.answer.has_options:
            kinds.pop()
        for part in [*kinds, Part("answer", "answer")]:
            yield self._prompts.span(part, more="chip")
        yield '<span class="chip shot">exemplar</span><span class="chip goal">target</span>'
        yield '<span class="jump">'
        for group in groups:
            short = group.task.removeprefix(f"{self._dataset.name}_")
            yield f'<a href="#{group.task}">{short}</a>'
        yield '<a href="#templates">templates</a></span></div></nav>'

    def _group(self, group: Group) -> Iterator[str]:
        small = f"<small>{group.note}</small>" if group.left_out else ""
        yield f'<h2 id="{group.task}">{group.task}{small}</h2>'
        for shown in group.shown:
            yield '<article class="sheet">'
            yield from self._prompts.example(shown)
            yield "</article>"

    def _templates(self) -> Iterator[str]:
        yield '<h2 id="templates">Templates'
        yield "<small>what stands in [[ ]] falls away without options</small></h2>"
        yield '<div class="templates">'
        for prefix, templates in (
            ("", self._dataset.templates),
            ("inverted/", self._dataset.inverted),
        ):
            for template in templates:
                yield from self._template(f"{prefix}{template.id}", template)
        yield "</div>"

    def _template(self, name: str, template: Template) -> Iterator[str]:
        yield f'<section class="sheet"><h3>{_text(name)}</h3>'
        asked = self._prompts.spans(parts.of_template(template.preamble + template.input))
        yield f'<div class="text">{asked}</div>'
        answered = self._prompts.spans(parts.of_template(template.target))
        yield f'<div class="text target">{answered}</div>'
        layout = template.exemplar
        codes = map(_code, (layout.input_prefix, layout.target_prefix, layout.separator))
        yield '<p class="layout">exemplars: {} input {} target {}</p></section>'.format(*codes)


_text = functools.partial(html.escape, quote=True)


def _code(text: str) -> str:
    return f"<code>{_text(json.dumps(text, ensure_ascii=False))}</code>" if text else ""
