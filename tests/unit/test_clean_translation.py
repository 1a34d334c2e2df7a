"""Cleaning of translations, and of the texts whose case, marks or spaces are to be restored."""

import pytest

from flan_tasks import catalog, clean
from flan_tasks.clean import Drop, text_editing, translation

PAIR = {"de": "Guten Morgen!", "en": "Good morning!"}


def test_the_hubs_rows_are_read_like_tfds():
    expected = {"sent1": "Guten Morgen!", "sent2": "Good morning!"}
    assert translation.into_english(PAIR) == expected
    assert translation.into_english({"translation": PAIR}) == expected


def test_languages_are_named_and_order_is_the_datasets():
    row = {"en": "Yes", "fr": "Oui"}
    expected = {"lang1": "English", "lang2": "French", "sent1": "Yes", "sent2": "Oui"}
    assert translation.from_english(row) == expected
    assert translation.from_english({"translation": row}) == expected


@pytest.mark.parametrize("row", [{"de": " ", "en": "Yes"}, {"de": "Ja", "en": ""}])
def test_a_pair_with_an_empty_side_is_dropped(row):
    with pytest.raises(Drop, match="one language only"):
        translation.into_english(row)


@pytest.mark.parametrize("row", [{"de": "Ja", "fr": "Oui"}, {"en": "Yes"}, {**PAIR, "fr": "Salut"}])
def test_rows_that_are_no_pair_with_english_are_a_fault(row):
    with pytest.raises(ValueError, match="English and one other language"):
        translation.into_english(row)


@pytest.mark.parametrize("pair", ["deen", "tren", "csen", "fien", "roen", "ruen"])
def test_each_pair_of_wmt16_has_its_source_and_its_languages(pair):
    dataset = catalog.get(f"wmt16_translate_{pair}")
    code = pair[:2]
    assert dataset.source.tfds == f"wmt16_translate/{code}-en:1.0.0"
    assert dataset.languages == (dataset.constants["lang1"], "English")
    assert set(dataset.num_examples) == {"train", "validation", "test"}
    fields = clean.cleaner(dataset)({code: "x", "en": "y"})
    assert fields == {"sent1": "x", "sent2": "y"}


def test_pairs_whose_rows_the_hub_lacks_are_not_read_from_there():
    lacking = {"csen", "ruen"}
    for dataset in catalog.load().values():
        if dataset.family == "wmt16_translate":
            assert bool(dataset.source.hub) == (dataset.constants["task_name"] not in lacking)


# Text editing


def english(text):
    return {"en": text, "da": "…"}


def test_capitals_are_taken_away():
    fields = text_editing.true_case(english("In  May\nNATO met in Århus."))
    assert fields == {"lower": "in may nato met in århus.", "answer": "In May NATO met in Århus."}
    with pytest.raises(Drop, match="no capital letter"):
        text_editing.true_case(english("50% off all bikes"))


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ('He said (twice): "Go home, now!" – and left.', "He said twice Go home now and left"),
        ("From €45.50; check-in 14:30.", "From €45.50 check-in 14:30"),
        ("It's the users' site, example.com...", "It's the users' site example.com"),
        ("“Yes”—no… 1998–2004?!", "Yes no 1998–2004"),
        ("-5 °C, or +3,5 °C", "-5 °C or +3,5 °C"),
        ("a U.S.-based firm", "a U.S based firm"),
        ("ends - with a dash -", "ends with a dash"),
    ],
)
def test_punctuation_goes_and_what_belongs_to_words_and_numbers_stays(text, bare):
    assert text_editing.fix_punct(english(text)) == {"no_punct": bare, "answer": text}


@pytest.mark.parametrize("text", ["Read more", "3.5", "...", "rock 'n' roll"])
def test_texts_without_punctuation_or_with_nothing_else_are_dropped(text):
    with pytest.raises(Drop, match="no punctuation"):
        text_editing.fix_punct(english(text))


def test_spaces_are_taken_away():
    fields = text_editing.word_segment({"translation": english(" Good  morning,\u00a0Åse! ")})
    assert fields == {"no_space": "Goodmorning,Åse!", "answer": "Good morning, Åse!"}


@pytest.mark.parametrize("name", ["true_case", "fix_punct", "word_segment"])
def test_a_row_without_english_is_dropped(name):
    with pytest.raises(Drop, match="no text"):
        clean.cleaner(catalog.get(name))(english(" \n"))
