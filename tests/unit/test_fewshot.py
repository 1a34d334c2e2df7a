"""Exemplars: never the query, distinct, seeded; what does not fit is left out whole."""

import numpy as np
import pytest

from flan_tasks import draws, fewshot
from flan_tasks.render import Filled
from flan_tasks.spec import Exemplar, Template

LAYOUT = Exemplar(input_prefix="Q: ", target_prefix="\nA: ", separator="\n\n")
TEMPLATE = Template("0", "{q}", "{answer}", preamble="Answer.\n\n", exemplar=LAYOUT)


def words(texts):
    return [len(text.split()) for text in texts]


def draw(num_queries, num_rows, same_split=True):
    rows = np.arange(num_queries) % num_rows
    key = draws.hash64(3, np.arange(num_queries))
    return rows, fewshot.draw_exemplars(rows, key, num_rows, same_split=same_split)


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


def test_layout():
    shots = [Filled("Answer.\n\n", "one", "1"), Filled("Answer.\n\n", "two", "2")]
    prompt = fewshot.lay_out(TEMPLATE, Filled("Answer.\n\n", "three", "3"), shots)
    assert prompt.text(2) == "Answer.\n\nQ: one\nA: 1\n\nQ: two\nA: 2\n\nQ: three\nA:"
    assert prompt.text(0) == "Answer.\n\nQ: three\nA:"


@pytest.mark.parametrize(("budget", "kept"), [(100, 3), (9, 3), (8, 2), (5, 1), (4, 0), (1, 0)])
def test_exemplars_that_do_not_fit_are_left_out_whole(budget, kept):
    prompt = fewshot.FewShotPrompt("", ("a ", "b c d ", "e "), "q r s t")
    assert fewshot.fit([prompt], budget, words) == [kept]


def test_the_whole_is_counted_where_the_joints_tokenize_apart():
    def count(texts):  # one token more for every joint
        return [len(text.split()) + text.count("|") for text in texts]

    prompt = fewshot.FewShotPrompt("", ("a |", "b |"), "q")
    fitting = fewshot.fit([prompt], 5, count)[0]
    assert count([prompt.text(fitting)])[0] <= 5
