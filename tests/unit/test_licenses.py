"""Licences by what they allow."""

import re

import pytest

from flan_tasks import catalog, licenses

FORBIDDING = {"non-commercial", "research", "unstated", "other-terms"}


def every_text():
    return sorted({dataset.license for dataset in catalog.load().values()})


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("CC0 1.0", "commercial"),
        ("Public Domain", "commercial"),
        ("MIT", "commercial attribution"),
        ("CC BY 4.0", "commercial attribution"),
        ("CC BY (version not stated)", "commercial attribution"),
        ("CC-BY-SA-3.0", "commercial attribution share-alike"),
        ("CC BY-ND 4.0", "commercial attribution no-derivatives"),
        ("CC BY-NC 4.0", "attribution non-commercial"),
        ("CC BY-NC-SA 4.0", "attribution non-commercial share-alike"),
        ("CC BY-NC-ND 4.0", "attribution non-commercial no-derivatives"),
        ("GPL 3.0", "commercial attribution share-alike"),
        ("no commercial use", "non-commercial"),
        ("for research use only", "research non-commercial"),
        ("for non-commercial research and educational purposes only", "research non-commercial"),
        ("not stated by its authors", "unstated"),
        ("Unknown", "unstated"),
    ],
)
def test_a_licence_has_its_classes(text, classes):
    assert licenses.classes(text) == set(classes.split())


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("MIT; Apache 2.0 for the tab-separated file", "commercial attribution"),
        ("MIT for one part, CC BY-SA 4.0 for another", "commercial attribution share-alike"),
        ("Apache 2.0; CC BY-NC 4.0 for the images", "attribution non-commercial"),
        (
            "CC BY-SA 4.0 (literature), MSR-LA (stories)",
            "attribution share-alike research non-commercial",
        ),
        ("MIT; CC BY 4.0 for the texts, whose spelling was corrected", "commercial attribution"),
        ("CC0 1.0 (as a data set; texts are from the web)", "other-terms"),
        ("Apache 2.0 (the articles belong to their publishers)", "attribution other-terms"),
        ("Apache 2.0 (that of the texts is not stated)", "attribution unstated"),
    ],
)
def test_many_licences_are_as_strict_as_the_strictest(text, classes):
    assert licenses.classes(text) == set(classes.split())


@pytest.mark.parametrize(
    "text", ["", "Acme 1.0", "MIT; Acme 1.0", "MIT and Acme 1.0", "Acme (by MITRE)", "limits apply"]
)
def test_what_is_not_recognised_is_not_permitted(text):
    assert licenses.unrecognised(text)
    assert "other-terms" in licenses.classes(text)
    assert "commercial" not in licenses.classes(text)


def test_every_licence_of_the_catalog_is_recognised():
    """A new wording is entered in flan_tasks/licenses.py, or the card says it in known words."""
    unknown = {text: licenses.unrecognised(text) for text in every_text()}
    assert not {text: parts for text, parts in unknown.items() if parts}


def test_every_licence_of_the_catalog_is_either_commercial_or_says_why_not():
    for text in every_text():
        classes = licenses.classes(text)
        assert classes <= set(licenses.CLASSES), text
        assert ("commercial" in classes) != bool(classes & FORBIDDING), text


def test_no_licence_with_a_reservation_is_commercial():
    reservation = re.compile(r"-NC|commercial|research\b(?!-)|not stated|unknown|\bown\b|belong")
    for text in every_text():
        if reservation.search(text.replace("version not stated", "")):
            assert "commercial" not in licenses.classes(text), text
