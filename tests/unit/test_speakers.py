import pytest

from flan_tasks import speakers
from flan_tasks.speakers import STYLES

TURNS = ["hello", "good day", "is it far", "not at all", "thank you"]

each_style = pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)


def marks(style, turns: list[str]) -> list[str]:
    """What stands before each turn of a dialog whose turns are all different."""
    text, found = style.text(turns), []
    for turn in turns:
        mark, text = text.split(turn, 1)
        found.append(mark.removeprefix(style.between) if found else mark)
    assert not text
    return found


def test_there_are_some_dozens_of_styles_and_no_two_write_alike():
    assert 20 <= len(STYLES) <= 60
    for length in range(2, len(TURNS) + 1):
        assert len({style.text(TURNS[:length]) for style in STYLES}) == len(STYLES)


def test_a_style_is_found_by_its_name():
    assert len({style.name for style in STYLES}) == len(STYLES)
    assert all(speakers.named(style.name) is style for style in STYLES)
    with pytest.raises(ValueError, match="no style of speakers"):
        speakers.named("Q:|A:|line")


@each_style
def test_speakers_take_turns(style):
    found = marks(style, TURNS)
    assert found[:-2] == found[2:]
    labelled = any(character.isalnum() for character in style.one)
    assert (found[0] != found[1]) == labelled


@each_style
def test_labels_are_counted_from_the_end(style):
    for length in range(1, len(TURNS) + 1):
        found = marks(style, TURNS[-length:])
        assert found == marks(style, TURNS)[-length:]
        # Whose turn is next has the label that was not seen last.
        assert found[-1] == style.one
        assert length == 1 or found[-2] == style.other


@each_style
def test_a_turn_is_written_as_it_is_and_on_one_line(style):
    turns = ["{a} [b]: \\1 ", "“ü” 5 % …"]
    text = style.text(turns)
    assert all(turn in text for turn in turns)
    assert text.count("\n") <= 1 and "\n\n" not in text
    assert style.text(turns[:1]).count("\n") == 0
    assert style.text([]) == ""
