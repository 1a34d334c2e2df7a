"""Exemplars: never the query, distinct, seeded; what does not fit is left out whole."""

import numpy as np
import pytest

from flan_tasks import draws, fewshot, render
from flan_tasks.spec import Exemplar, Template

LAYOUT = Exemplar(input_prefix="Q: ", target_prefix="\nA: ", separator="\n\n")
TEMPLATE = Template("0", "{q}", "{answer}", preamble="Answer.\n\n", exemplar=LAYOUT)


def words(texts):
    return [len(text.split()) for text in texts]


def draw(num_queries, num_rows, same_split=True):
    rows = np.arange(num_queries) % num_rows
    key = draws.hash64(3, np.arange(num_queries))
    same = np.full(num_queries, same_split)
    counts, distinct, chosen = fewshot.draw_exemplars(
        rows, key, np.full(num_queries, num_rows), same
    )
    counts = np.minimum(counts, distinct)
    return rows, [line[:count] for line, count in zip(chosen, counts, strict=True)]


def test_exemplars_are_distinct_and_never_the_query():
    for row, exemplars in zip(*draw(2000, 9), strict=True):
        assert row not in exemplars
        assert len(set(exemplars)) == len(exemplars)
        assert 1 <= len(exemplars) <= 4


def test_two_and_a_half_exemplars_on_average():
    _, exemplars = draw(4000, 1000)
    assert np.mean([len(e) for e in exemplars]) == pytest.approx(2.5, abs=0.06)


def test_every_other_row_can_be_an_exemplar():
    _, exemplars = draw(3000, 6)
    for row in range(6):
        chosen = {int(e) for query in range(row, 3000, 6) for e in exemplars[query]}
        assert chosen == set(range(6)) - {row}


def test_rows_of_another_split_may_have_the_querys_number():
    rows, exemplars = draw(500, 3, same_split=False)
    assert any(row in chosen for row, chosen in zip(rows, exemplars, strict=True))


def test_a_split_of_one_row_has_no_exemplar_for_it():
    _, exemplars = draw(3, 1)
    assert [len(e) for e in exemplars] == [0, 0, 0]


def filled(template=TEMPLATE, source=None, **slots):
    return render.fill(template, render.AnsweredRow(slots, ()), source)


def test_layout():
    shots = [filled(q="one", answer="1"), filled(q="two", answer="2")]
    prompt = fewshot.lay_out(filled(q="three", answer="3"), shots)
    assert prompt.text(2) == "Answer.\n\nQ: one\nA: 1\n\nQ: two\nA: 2\n\nQ: three\nA:"
    assert prompt.text(0) == "Answer.\n\nQ: three\nA:"


class Words:
    """A tokenizer for which every word is a token, and every "|" at a joint another one."""

    def __init__(self):
        self.texts = []

    def __call__(self, texts):
        self.texts += texts
        return [text.replace("|", " | ").split() for text in texts]


BARE = Template("0", "{q}", "{answer}", exemplar=Exemplar("", " ", " "))
LONG = "x" * 200  # so many bytes that the prompt has to be counted


def counted(*questions, template=BARE):
    shots = [filled(template, i, q=q, answer=LONG) for i, q in enumerate(questions)]
    return fewshot.lay_out(filled(template, "query", q="q r s t", answer="u"), shots)


@pytest.mark.parametrize("budget", range(1, 14))
def test_as_many_exemplars_stay_as_fit_and_the_rest_goes_whole(budget):
    words = Words()
    prompt = counted("a", "b c d", "e")
    [kept], [ids] = fewshot.Fitter(words).fit([prompt], budget)
    costs = [4, 4 + 2, 4 + 2 + 4, 4 + 2 + 4 + 2]  # with 0, 1, 2, 3 exemplars
    assert kept == max([n for n, cost in enumerate(costs) if cost <= budget], default=0)
    assert ids == prompt.text(kept).split()


def test_without_a_budget_all_exemplars_stay():
    prompt = counted("a", "b")
    assert fewshot.Fitter(Words()).fit([prompt], None) == ([2], [prompt.text(2).split()])


def test_the_whole_is_counted_where_the_joints_tokenize_apart():
    glued = Template("0", "{q}", "{answer}", exemplar=Exemplar("", "", "|"))
    prompt = counted("a", "b", "c", template=glued)
    words = Words()
    for budget in range(4, 12):
        [kept], [ids] = fewshot.Fitter(words).fit([prompt], budget)
        assert len(ids) <= budget
        assert ids == words([prompt.text(kept)])[0]


def test_a_field_is_counted_once():
    words = Words()
    fitter = fewshot.Fitter(words)
    for _ in range(3):
        fitter.fit([counted("a b", "c d")], 8)
    assert words.texts.count("a b") == words.texts.count("c d") == 1
