"""What a licence allows, told from its name as cards and tables write it.

A licence belongs to some of these classes:

  commercial      commercial use is permitted by every part of the text
  attribution     the source has to be named, or a notice of its copyright kept
  share-alike     what is made of it has to be passed on under the same terms
  no-derivatives  it may not be passed on in another form
  non-commercial  for non-commercial use only
  research        for research or education only
  unstated        no licence is known
  other-terms     terms of its own, or somebody else's rights in the texts: to be read by a person

A text that names several licences, "CC BY 4.0; Apache 2.0 for the tab-separated file", is as strict
as the strictest of them. A licence is either commercial or in at least one of the last four: what
is not known to be permitted does not count as permitted. This sorts; it is no legal advice.
"""

import functools
import re

CLASSES = (
    "commercial",
    "attribution",
    "share-alike",
    "no-derivatives",
    "non-commercial",
    "research",
    "unstated",
    "other-terms",
)
_FORBID_COMMERCE = frozenset({"non-commercial", "research", "unstated", "other-terms"})
_FREE: tuple[str, ...] = ()
_NOTICE = ("attribution",)
_COPYLEFT = ("attribution", "share-alike")
_ACADEMIC = ("research", "non-commercial")
# What a wording obliges to or rules out. Where two begin at the same place the first one counts.
_WORDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"version not stated", _FREE),
    (r"cc[ -]by[ -]nc[ -]nd\b", ("attribution", "non-commercial", "no-derivatives")),
    (r"cc[ -]by[ -]nc[ -]sa\b", ("attribution", "non-commercial", "share-alike")),
    (r"cc[ -]by[ -]nc\b", ("attribution", "non-commercial")),
    (r"cc[ -]by[ -]nd\b", ("attribution", "no-derivatives")),
    (r"cc[ -]by[ -]sa\b", _COPYLEFT),
    (r"cc[ -]by\b", _NOTICE),
    (r"cc0\b|public domain|unlicense|pddl\b|oanc\b|free to use for any purpose", _FREE),
    (r"apache|mit\b|bsd\b|isc\b|afl\b|odc-by\b|cdla[ -]permissive", _NOTICE),
    (r"wordnet (?:\S+ )?licen[cs]e", _NOTICE),
    (r"acknowledgement of .* is asked for|reuse with acknowledgement", _NOTICE),
    # Its words: the data may be freely used for any purpose, acknowledgement is appreciated.
    (r"https://github\.com/google-research-datasets/paws/\S*", _NOTICE),
    (r"l?gpl\b|gfdl\b|mpl\b|odbl\b|cdla[ -]sharing|from english wikipedia", _COPYLEFT),
    (r"microsoft research|msr-la\b|race's own|ldc user agreement|yelp dataset terms", _ACADEMIC),
    (r"non-?commercial|not? (?:for )?commercial", ("non-commercial",)),
    (r"for research|research (?:and|use|purposes|only)|academic|education", _ACADEMIC),
    (r"not stated|unstated|unknown|not known", ("unstated",)),
    # The texts are other people's, whatever the licence of their collection.
    (r"as a data ?set|belongs? to|are from the web|©|copyright", ("other-terms",)),
    (r"own\b|terms|agreement|creative commons", ("other-terms",)),
)
_WORDING = re.compile("|".join(rf"((?<!\w){wording})" for wording, _ in _WORDINGS), re.IGNORECASE)
_BRACKETS = re.compile(r"\([^()]*\)")
_BETWEEN_PARTS = re.compile(r";|,(?! whose)|\band\b")


@functools.cache
def classes(text: str) -> frozenset[str]:
    """The classes of a licence, by its text on a card or in a table.

    `classes("MIT; Apache 2.0 for the tab-separated file")` is {"commercial", "attribution"}.
    """
    found = {name for match in _WORDING.finditer(text) for name in _asked(match)}
    if unrecognised(text):
        found.add("other-terms")
    return frozenset(found if found & _FORBID_COMMERCE else found | {"commercial"})


def unrecognised(text: str) -> list[str]:
    """The parts of a licence's text that no known wording occurs in; they count as other-terms.

    Parts are what semicolons, commas and "and" separate; what stands in brackets or after "whose"
    belongs to the part before it.
    """
    bare = _BRACKETS.sub(lambda match: _BETWEEN_PARTS.sub(" ", match[0]), text)
    return [part.strip() for part in _BETWEEN_PARTS.split(bare) if not _WORDING.search(part)]


def _asked(match: re.Match[str]) -> tuple[str, ...]:
    assert match.lastindex is not None  # each wording is a group
    return _WORDINGS[match.lastindex - 1][1]
