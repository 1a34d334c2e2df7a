"""Numbers and dates as people and models write them, read exactly.

Digits of any script, thousands separators, currencies, units, percent signs, fractions, mixed
numbers, powers of ten, number words. Each reading takes time linear in the text's length.
"""

import datetime
import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction

# Longer strings of digits are compared as text: arithmetic on them would take ever longer.
_MOST_DIGITS = 300
_MOST_EXPONENT = 99

_VULGAR = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅛": "1/8"}
_PLAIN_MARKS = str.maketrans(
    {"−": "-", "﹣": "-", "－": "-", "٫": ".", "٬": ",", "，": ",", "．": ".", "：": ":", "＝": "="}
    | {"％": "%", "٪": "%", "（": "(", "）": ")", "⁄": "/", "\u00a0": " ", "\u202f": "\u2009"}
)
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s?\{(-?[\d.,]{1,40})\}\s?\{([\d.,]{1,40})\}")
_LATEX_WORD = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s?\{([^{}]{0,200})\}")
_LATEX_SPACE = re.compile(r"\\(?:[,;:! ]|quad|left|right)|\{,\}")

_NUMBER = re.compile(
    r"""
    (?P<date>(?<![\w/])\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4}(?![\w/]))
    |
    (?P<minus>\b(?:minus|negative)\s|(?<![\w.)\]%])-)?
    (?:[$€£¥₹₽]\s?)? (?P<inner>(?<=[$€£¥₹₽])-)?
    (?<![\w^_\\.])(?<!\d,)
    (?P<whole>\d{1,3}(?:[,'’\u2009]\d{2,3})*[,'’\u2009]\d{3}(?![\d,'’]\d)|\d+)?
    (?P<decimals>[.]\d+)?
    (?(whole)|(?(decimals)|(?!)))
    (?:[eE](?P<exponent>[+-]?\d{1,3})(?!\w|\.\d)|\s?[×x*]\s?10\s?\^\s?\{?(?P<power>-?\d{1,3})\}?)?
    (?:\s?(?P<over>/)\s?(?P<under>\d+)(?![\d/])|\s(?P<top>\d{1,6})/(?P<bottom>\d{1,6})(?![\d/]))?
    (?:\s(?P<scale>thousand|million|billion|trillion)\b)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
# 1.234.567,5 and 1.234 are read as much of Europe writes them.
_COMMA_DECIMAL = re.compile(r"(?<![\d.,])(\d{1,3}(?:[. \u2009]\d{3})+|\d+)(?:,(\d+))?(?![\d.,]?\d)")

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORD_VALUES = {word: value for value, word in enumerate(_SMALL)} | {
    word: 10 * value for value, word in enumerate(_TENS, start=2)
}
_WORD_NUMBER = re.compile(
    rf"\b(?:(?P<tens>{'|'.join(_TENS)})[-\s](?P<units>{'|'.join(_SMALL[1:10])})"
    rf"|(?P<single>{'|'.join([*_SMALL[::-1], *_TENS])}))\b(?P<hundred>\shundred\b)?",
    re.IGNORECASE,
)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]{0,6}\.?"
_DATES = (
    re.compile(r"(?<!\d)(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})(?!\d)"),
    re.compile(r"(?<!\d)(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})(?!\d)"),
    re.compile(rf"\b{_MONTH}\s(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s(?P<y>\d{{4}})(?!\d)", re.I),
    re.compile(
        rf"(?<!\d)(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?{_MONTH},?\s(?P<y>\d{{4}})", re.I
    ),
)


def plain(text: str) -> str:
    r"""The text with ASCII digits and marks, its LaTeX written out.

    >>> plain("٣٫٥ and \\frac{1}{2}")
    '3.5 and 1/2'
    """
    text = text.translate(_PLAIN_MARKS)
    if not text.isascii():
        text = "".join(map(_ascii_digit, text))
    if "\\" in text:
        text = _LATEX_FRACTION.sub(r"\1/\2", text)
        text = _LATEX_WORD.sub(r" \1 ", text)
        text = _LATEX_SPACE.sub("", text)
        text = text.replace("\\$", "$").replace("\\%", "%").replace("\\times", "×")
        text = text.replace("\\cdot", "×").replace("^{\\circ}", "").replace("^\\circ", "")
    return text


def _ascii_digit(character: str) -> str:
    if character in _VULGAR:
        return f" {_VULGAR[character]}"
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    return character


def numbers(text: str, *, decimal_comma: bool = False) -> Iterator[tuple[int, str]]:
    """The numbers of a `plain` text in order: place and canonical form; dates are passed over.

    Args:
      text: what to read.
      decimal_comma: whether 1.234,5 is a thousand and more, as in German, French or Russian.
    """
    if decimal_comma:
        text = _COMMA_DECIMAL.sub(_with_point, text)
    for found in _NUMBER.finditer(text):
        if not found["date"]:
            yield found.start(), _canonical(found)


def word_numbers(text: str) -> Iterator[tuple[int, str]]:
    """The numbers written as words, below a thousand."""
    for found in _WORD_NUMBER.finditer(text):
        if found["single"]:
            value = _WORD_VALUES[found["single"].lower()]
        else:
            value = _WORD_VALUES[found["tens"].lower()] + _WORD_VALUES[found["units"].lower()]
        yield found.start(), str(value * 100 if found["hundred"] else value)


def dates(text: str) -> Iterator[tuple[int, str]]:
    """The dates of a text as year-month-day; of 12/24/1937 the month is first."""
    found = [match for pattern in _DATES for match in pattern.finditer(text)]
    for match in sorted(found, key=lambda match: match.start()):
        groups = match.groupdict()
        if "month" in groups:
            month = _MONTHS.index(groups["month"][:3].lower()) + 1
        else:
            month = int(groups["m"])
        try:
            day = datetime.date(int(groups["y"]), month, int(groups["d"]))
        except ValueError:
            continue
        yield match.start(), day.isoformat()


def _with_point(found: re.Match) -> str:
    whole = re.sub(r"[. \u2009]", "", found[1])
    return f"{whole}.{found[2]}" if found[2] else whole


def _canonical(found: re.Match) -> str:
    """One spelling for each value: 7, -2.5, 1/3."""
    whole = re.sub(r"\D", "", found["whole"] or "0")
    decimals = (found["decimals"] or ".")[1:]
    under = found["under"] or "1"
    minus = "-" if found["minus"] or found["inner"] else ""
    if len(whole) + len(decimals) + len(under) > _MOST_DIGITS:
        return minus + whole.lstrip("0") + (f".{decimals}" if decimals.strip("0") else "")
    value = Fraction(int(whole + decimals), 10 ** len(decimals))
    exponent = int(found["exponent"] or found["power"] or _SCALES.get(_lower(found["scale"]), 0))
    if abs(exponent) <= _MOST_EXPONENT:
        value *= Fraction(10) ** exponent
    if found["over"] and int(under):
        value /= int(under)
    if found["top"] and int(found["bottom"]) > int(found["top"]):
        value += Fraction(int(found["top"]), int(found["bottom"]))
    return _spelt(-value if minus else value)


def _lower(text: str | None) -> str:
    return (text or "").lower()


def _spelt(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    places = 0
    while rest % 10 == 0 or rest % 5 == 0 or rest % 2 == 0:
        rest //= 10 if rest % 10 == 0 else 5 if rest % 5 == 0 else 2
        places += 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}".rstrip("0")
