"""Styles of answer options."""

import pytest

from flan_tasks import options

CHOICES = ["no", "yes"]


def style(label, answer_is_label=False):
    item = options.ItemStyle(label, "upper", " ", "\n", answer_is_label)
    return options.OptionStyle("Options:", item, "")


def test_a_listing_reads_as_written():
    assert style("({mark})").listing(CHOICES) == "Options:\n(A) no\n(B) yes"
    assert style("-").listing(CHOICES) == "Options:\n- no\n- yes"


def test_the_answer_is_the_label_or_the_text_as_the_style_says():
    assert style("({mark})").answer(CHOICES, 1) == "yes"
    assert style("({mark})", answer_is_label=True).answer(CHOICES, 1) == "(B)"


def test_there_are_many_styles_and_each_has_a_name_of_its_own():
    names = [style.name for style in options.STYLES]
    assert len(set(names)) == len(names)
    assert len(options.LEAD_INS) >= 16
    assert len(options.ITEM_STYLES) >= 30
    assert len(options.ENDINGS) == 3


@pytest.mark.parametrize("item", options.ITEM_STYLES, ids=lambda item: item.name)
def test_every_style_lists_every_option_once_and_its_answer_stands_in_the_list(item):
    style = options.OptionStyle("Options:", item, "")
    choices = [f"choice{i}" for i in range(30)]
    listing = style.listing(choices)
    for index, choice in enumerate(choices):
        assert listing.count(choice + item.between) == 1 or index == len(choices) - 1
        assert style.answer(choices, index) in listing
    assert len({style.answer(choices, index) for index in range(30)}) == 30
    assert "  " not in listing


def test_only_labelled_items_answer_with_a_label():
    for item in options.ITEM_STYLES:
        assert not item.answer_is_label or "{mark}" in item.label


def test_a_style_is_found_by_its_name_and_says_what_each_option_is_answered_with():
    for style in options.STYLES[::50]:
        found = options.named(style.name)
        assert found is style
        assert found.answers(CHOICES) == [style.answer(CHOICES, index) for index in range(2)]
    with pytest.raises(ValueError, match="no style of options named 'x'"):
        options.named("x")
