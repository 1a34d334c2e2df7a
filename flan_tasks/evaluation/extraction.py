"""Which answer an output gives: a letter, a word, a number, a date or a text.

An output may reason first, correct itself, write the option's text in place of its letter, put the
answer in a box, in bold, in brackets. Looked at are, in this order, the last box, what stands after
"the answer is" (the last one that says something counts) and the whole output. Any string is
accepted; None means that no answer was found. Time is linear in the output's length.
"""

import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence

from flan_tasks.evaluation import numerals, option_texts

LETTERS = string.ascii_uppercase
# More of an output than this is not looked at: its end counts.
_MOST_CHARACTERS = 20_000

_BOX = re.compile(r"\\(?:boxed|fbox)\s?\{")
_MARKUP = re.compile(r"[*_]{2,3}|`+|</?(?:answer|b|strong|em|i|p)>|(?<!\\)\$(?!\s?-?[\d.])")
# How the evaluated languages say it: de es fr ru zh ja th bn te sw.
_ELSEWHERE = (
    r"(?:die\s)?antwort\s(?:ist|lautet)|respuesta\s(?:final\s)?es|réponse\s(?:finale\s)?est"
    r"|ответ\s?(?:[-—–:]|равен)|答案(?:是|为|為)?|答え(?:は)?|คำตอบ(?:คือ)?|উত্তর(?:\sহল|\sহলো)?"
    r"|సమాధానం|jibu\s(?:ni|la\smwisho\sni)"
)
_MARK = re.compile(
    r"(?:\b(?:answers?|ans)\b[^\n.;!?:=]{0,60}?(?:\b(?:is|are|would\sbe|should\sbe|must\sbe|equals"
    rf"|becomes)\b(?!\sthat\b)|[:=])|####|{_ELSEWHERE})",
    re.IGNORECASE,
)
# Less sure ways to conclude.
_CONCLUSION = re.compile(
    r"\b(?:(?:option|choice|one|result|solution|total|conclusion|sentence)\s(?:is|would\sbe|equals)"
    r"|(?:choose|pick|select|go\swith|going\swith|chose|it\sis|it's|must\sbe)|therefore|hence|thus"
    r"|which\smeans|in\sconclusion|in\stotal|overall)\b",
    re.IGNORECASE,
)
# "12. Wait, I forgot one: it should be 13."
_CORRECTION = re.compile(
    r"\b(?:wait|actually|correction|sorry|scratch\sthat|mistake|was\swrong|second\sthought)\b"
    r"[^\n]{0,120}?\b(?:it's|it\sis|should\sbe|must\sbe|i\smeant|i\smean|make\sthat|make\sit)\b",
    re.IGNORECASE,
)
# A model that does not stop goes on with the next question of a few-shot prompt.
_NEXT_QUESTION = re.compile(r"\n\s*(?:Q|Question|Problem|Input)\s?:")
_HEDGE = re.compile(r"\s*[:]?\s*(?:either|one of|any of|unknown|unclear)\b", re.IGNORECASE)
_NEGATED = re.compile(
    r"\b(?:(?:not|never|rather\sthan|instead\sof|isn't|isn’t|except)\s)"
    r"(?:(?:the|option|choice|answer)\s){0,2}(?:\([A-Za-z]\)|(?:[B-Z]|A(?!\s[a-z]))(?![\w'’]))"
)
_ARTICLE_A = re.compile(r"A\s[a-z]")
_AFTER_LETTER = re.compile(
    r"[A-Z]\s(?:because|since|as|is|and|for|due|given|which|in|but|with|by|where|based|or|so)\b"
)
_REASON = re.compile(r"\s(?:because|since|as|for)\b")
_FIRST_LETTER = re.compile(
    r"[\s\"'“”‘’:.,\-–—=>#]*(?:(?:is|be|definitely|probably|clearly|likely|indeed|just|simply|"
    r"the|letter|option|choice|answer|number|correct|:)[\s:]+){0,4}"
    r"[\"'“‘(\[{<]*([A-Za-z])(?![\w&]|['’]\w)([\")\]}>.:,’”]?)"
)
_BRACKETED = re.compile(r"[(\[{]\s?([A-Za-z])\s?[)\]}]")
_STANDING = re.compile(r"(?<![\w'’&(])([A-Z])(?![\w'’&])")
_JUDGED = re.compile(
    r"(?<![\w'’])[(\[]?([A-Z])[)\].]?\s(?:is|was|seems|looks|must\sbe|would\sbe)\s"
    r"(?:therefore\s|thus\s|clearly\s|definitely\s|also\s)?(?:the\s)?"
    r"(?:only\s|most\s)?(?:correct|right|best|answer|true|accurate|appropriate|plausible)\b"
)
_SENTENCE_END = re.compile(r"(?<=[.!?。！？।])\s|\n")
_ABBREVIATION = re.compile(r"(?:\b\w\.){2}$|\.\.$")
_SAME_WORDS = ({"yes", "true", "correct", "right"}, {"no", "false", "incorrect", "wrong"})


def extract(kind: str, output: str, options: Sequence[str] = ()) -> str | None:
    r"""The answer that an output gives, in one spelling for each answer; None: none is found.

    Args:
      kind: one of KINDS.
      output: what a model wrote.
      options: texts of the options, for "choice" and "words".

    Returns:
      For "choice" the option's letter, for "words" the option as given, for "number" an integer, a
      decimal number or a fraction in lowest terms, for "date" year-month-day, for "text" the text.

    >>> extract("choice", "Not (A), for ice floats. So the answer is (B).", ["yes", "no"])
    'B'
    >>> extract("number", "That makes \\boxed{1,250} dollars.")
    '1250'
    """
    read = _READERS[kind]
    text = output.lstrip()
    following = _NEXT_QUESTION.search(text)
    text = text[: following.start() if following else None][-_MOST_CHARACTERS:]
    for region, follows_mark in _regions(text):
        found = read(region, options, follows_mark)
        if found is not None:
            return found
    return None


def _regions(text: str) -> Iterator[tuple[str, bool]]:
    """Where to look, surest place first, and whether what stands there was announced."""
    text = numerals.plain(text)
    box = _last_box(text)
    if box.strip():
        yield _MARKUP.sub("", box), True
    text = _MARKUP.sub("", text).strip()
    for region, announced in _announced(text, _MARK):
        corrected = list(_CORRECTION.finditer(region))
        if corrected:
            yield region[corrected[-1].end() :], True
        if _HEDGE.match(region):  # "either A or B" is no answer, and what led to it neither
            return
        yield region, announced
    yield text, False


def _announced(text: str, mark: re.Pattern) -> Iterator[tuple[str, bool]]:
    """What follows each mark, the last one first, up to the next."""
    end = len(text)
    for found in reversed(list(mark.finditer(text))):
        region = text[found.end() : end]
        end = found.start()
        if region.strip(" .:\n"):
            yield region, True


def _last_box(text: str) -> str:
    r"""What stands in the last \boxed{…}, braces paired."""
    boxes = list(_BOX.finditer(text))
    if not boxes:
        return ""
    depth, start = 1, boxes[-1].end()
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return text[start:place]
    return text[start:]


# Numbers and dates


def _number(region: str, options: Sequence[str], announced: bool, comma: bool = False):
    values = list(numerals.numbers(region, decimal_comma=comma))
    if not values:
        values = list(numerals.word_numbers(region))
    if not values:
        return None
    if not announced:
        return values[-1][1]
    stop = _end_of_clause(region, values[0][0])
    clause = [value for place, value in values if place < stop]
    # "x = 3 + 4 = 7": what is worked out stands last.
    equals = region.rfind("=", 0, stop)
    after = [value for place, value in values if equals < place < stop]
    return after[0] if equals >= 0 and after else clause[0]


def _end_of_clause(region: str, place: int) -> int:
    found = _SENTENCE_END.search(region, place)
    return found.start() if found else len(region)


def _number_with_comma(region: str, options: Sequence[str], announced: bool):
    return _number(region, options, announced, comma=True)


def _date(region: str, options: Sequence[str], announced: bool):
    values = [value for _, value in numerals.dates(region)]
    return None if not values else values[0 if announced else -1]


# Letters


def _choice(region: str, options: Sequence[str], announced: bool):
    allowed = LETTERS[: len(options)] if options else LETTERS
    region = _NEGATED.sub(" ", region)
    readers = (
        (_letter_at_start, _option_text, _letter_within)
        if announced
        else (_letter_alone, _option_alone, _judged, _concluded, _last_letter, _option_text)
    )
    for read in readers:
        found = read(region, options, allowed)
        if found:
            return found
    return None


def _letter_at_start(region: str, options: Sequence[str], allowed: str):
    found = _FIRST_LETTER.match(region)
    if not found:
        return None
    letter, closing = found[1], found[2]
    start = found.start(1)
    opened = region[start - 1 : start] in tuple("([{<\"'“‘")
    rest = region[start:]
    alone = not region[found.end() :].strip(" .!\n")
    if letter.islower() and not (opened or alone or closing in tuple(")]}:")):
        return None
    article = letter in "AaI" and not (opened or closing) and _ARTICLE_A.match(rest)
    if article and not _AFTER_LETTER.match(rest):
        return None
    return letter.upper() if letter.upper() in allowed else None


def _letter_within(region: str, options: Sequence[str], allowed: str):
    first = _SENTENCE_END.split(region.strip(), maxsplit=1)[0]
    for text in (first, region):
        for pattern in (_BRACKETED, _STANDING):
            for found in pattern.finditer(text):
                letter = found[1].upper()
                if letter in allowed and not _is_article(text, found):
                    return letter
    return None


def _letter_alone(region: str, options: Sequence[str], allowed: str):
    """An output that is, or starts with, a letter: "B", "(b)", "B. Paris"."""
    found = _FIRST_LETTER.match(region)
    if not found or found[1].upper() not in allowed or region[: found.start(1)].strip(" ([{\"'"):
        return None
    rest = region[found.end() :].strip(" .)]}!\"'\n")
    if not rest:
        return found[1].upper()
    named = found[2] and (found[2] not in ",’" or _REASON.match(region, found.end()))
    if named and (found[1].isupper() or found[2] in tuple(")]}:")):
        text = options[LETTERS.index(found[1].upper())] if options else ""
        # "A) is wrong, so …" goes on; "A) Paris" and "A." with a reason after it do not.
        goes_on = re.match(r"[)\]}.:]?\s?(?:is|was|and|or|cannot|can't|seems)\b", rest)
        return found[1].upper() if not goes_on or option_texts.same(text, rest) else None
    return None


def _option_alone(region: str, options: Sequence[str], allowed: str):
    same = [i for i, option in enumerate(options) if option_texts.same(option, region)]
    return LETTERS[same[0]] if same else None


def _judged(region: str, options: Sequence[str], allowed: str):
    judged = [found[1] for found in _JUDGED.finditer(region) if found[1] in allowed]
    return judged[-1] if judged else None


def _concluded(region: str, options: Sequence[str], allowed: str):
    for part, _ in _announced(region, _CONCLUSION):
        found = _letter_at_start(part, options, allowed)
        if found:
            return found
    return None


def _last_letter(region: str, options: Sequence[str], allowed: str):
    for pattern in (_BRACKETED, _STANDING):
        found = [
            match[1].upper()
            for match in pattern.finditer(region)
            if match[1].upper() in allowed and not _is_article(region, match)
        ]
        if found:
            return found[-1]
    return None


def _is_article(text: str, found: re.Match) -> bool:
    """Whether a letter is a word: the article, or the pronoun."""
    if text[found.start() : found.end()] != found[1]:
        return False
    return found[1] == "I" or bool(
        _ARTICLE_A.match(text, found.start()) and not _AFTER_LETTER.match(text, found.start())
    )


def _option_text(region: str, options: Sequence[str], allowed: str):
    """The option whose text, or whose number or date, the region holds; None if several do."""
    first, *_ = _SENTENCE_END.split(region.strip(), maxsplit=1)
    for text in (first, region):
        held = option_texts.held(text, options)
        if len(held) == 1:
            return LETTERS[held[0]]
    return None


# Words


def _words(region: str, options: Sequence[str], announced: bool):
    places = sorted(
        (place, -length, option) for option, place, length in _mentions(region, options)
    )
    if not places:
        return None
    starts = places[0][0] == 0
    if announced or starts:
        return places[0][2]
    for part, _ in _announced(region, _CONCLUSION):
        found = _words(part, options, True)
        if found is not None:
            return found
    return places[-1][2]


def _mentions(region: str, options: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """The options mentioned: option, place among the region's words, number of words."""
    words = _folded(region)
    alike = {word: option for option in options for word in _alike(option)}
    longest = max((len(phrase) for phrase in alike), default=0)
    place = 0
    while place < len(words):
        for length in range(min(longest, len(words) - place), 0, -1):
            option = alike.get(tuple(words[place : place + length]))
            if option is None:
                continue
            negated = place and words[place - 1] in ("not", "isn't", "isn’t") and len(options) == 2
            other = [each for each in options if each != option]
            # "no" after "not" is a double one; "not valid" is the other of two.
            yield (other[0] if negated and other else option), place, length
            place += length - 1
            break
        place += 1


def _alike(option: str) -> list[tuple[str, ...]]:
    words = tuple(_folded(option))
    same = [each for each in _SAME_WORDS if len(words) == 1 and words[0] in each]
    return [words, *((word,) for each in same for word in each if word != words[0])]


# Texts


def _text(region: str, options: Sequence[str], announced: bool):
    lines = [line.strip() for line in region.split("\n") if line.strip()]
    if not lines:
        return None
    line = lines[0] if announced else lines[-1]
    line = line.lstrip(":= ").strip()
    if len(line) > 1 and line[-1] in ".。" and not _ABBREVIATION.search(line):
        line = line[:-1].rstrip()
    if len(line) > 1 and line[0] + line[-1] in ('""', "''", "“”", "‘’", "()", "«»"):
        line = line[1:-1].strip()
    return line or None


# What is the same


def same(kind: str, right: str, given: str | None) -> bool:
    """Whether two extracted answers of a kind are the same."""
    if given is None:
        return False
    return _plain(right) == _plain(given) if kind == "text" else right == given


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _folded(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’]\w+)?", text.casefold().replace("’", "'"))


_READERS: Mapping[str, Callable[[str, Sequence[str], bool], str | None]] = {
    "choice": _choice,
    "words": _words,
    "number": _number,
    "number_with_comma": _number_with_comma,
    "date": _date,
    "text": _text,
}
KINDS = tuple(_READERS)
