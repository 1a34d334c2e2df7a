"""The keys of a card, and the check that a TOML table holds those and no others."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any

from flan_tasks.errors import CardError


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a key's value has to be: how to say it, and how to tell."""

    name: str
    holds: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _each(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        values = value.values() if isinstance(value, dict) else value
        return bool(value) and all(check(each) for each in values)

    return holds


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and _each(check)(value)


def _table_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and _each(check)(value)


ANY_TEXT = Kind("a string", _is_text)
TEXT = Kind("a string that is not empty", lambda value: _is_text(value) and bool(value.strip()))
TEXTS = Kind("a list of strings", _list_of(_is_text))
TEXT_TABLE = Kind("a table of strings", _table_of(_is_text))
COUNT = Kind("a whole number above 0", _is_count)
COUNT_TABLE = Kind("a table of whole numbers above 0", _table_of(_is_count))
TABLES = Kind("a list of tables", _list_of(lambda value: isinstance(value, dict)))
SECTION = Kind("a table", lambda value: isinstance(value, dict))


@dataclasses.dataclass(frozen=True)
class Schema:
    """The keys of a table; `sections` are the tables inside it that have schemas of their own."""

    required: Mapping[str, Kind]
    optional: Mapping[str, Kind] = dataclasses.field(default_factory=dict)
    sections: Mapping[str, "Schema"] = dataclasses.field(default_factory=dict)


EXEMPLAR = Schema(
    required={},
    optional={"input_prefix": ANY_TEXT, "target_prefix": ANY_TEXT, "separator": ANY_TEXT},
)
TEMPLATE = Schema(
    required={"input": TEXT, "target": TEXT},
    optional={"id": TEXT, "preamble": ANY_TEXT, "exemplar": SECTION, "settings": TEXTS},
    sections={"exemplar": EXEMPLAR},
)
TEMPLATE_LIST = Schema(required={"template": TABLES}, optional={"inverted": TABLES})
OVERLAY = Schema(required={"serves": TEXTS}, optional={"template": TABLES, "inverted": TABLES})
CARD = Schema(
    required={
        "collection": TEXT,
        "kind": TEXT,
        "homepage": TEXT,
        "license": TEXT,
        "citation": TEXT,
        "source": SECTION,
        "splits": TEXT_TABLE,
        "fields": TEXT_TABLE,
        "answer": SECTION,
        "metrics": SECTION,
    },
    optional={
        "languages": TEXTS,
        "clean": TEXT,
        "turns": TEXT,
        "templates": TEXT,
        "table": TEXT,
        "num_examples": COUNT_TABLE,
        "template": TABLES,
        "inverted": TABLES,
    },
    sections={
        "source": Schema(
            required={},
            optional={
                "files": TEXT_TABLE,
                "columns": TEXTS,
                "rows": TEXT,
                "tfds": TEXT,
                "hub": TEXT,
                "hub_splits": TEXT_TABLE,
                "hub_files": TEXT_TABLE,
                "where": TEXT_TABLE,
                "manual": TEXT,
            },
        ),
        "answer": Schema(
            required={},
            optional={
                "text": TEXT,
                "label": TEXT,
                "options": TEXTS,
                "options_from": TEXT,
                "references": TEXT,
            },
        ),
        "metrics": Schema(required={"names": TEXTS}, optional={"group_by": TEXTS}),
    },
)


def check(table: Mapping[str, Any], schema: Schema, where: str) -> None:
    """Checks that a table has every required key, no unknown one, and values of the right kind.

    Raises:
      CardError: names the key, and for an unknown one the key that was probably meant.
    """
    kinds = {**schema.required, **schema.optional}
    for key in table.keys() - kinds.keys():
        near = difflib.get_close_matches(key, kinds, n=1, cutoff=0.5)  # "lisence" is 0.57
        hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(kinds)}."
        raise CardError(f"unknown key {key!r}", where=where, remedy=hint)
    for key, kind in kinds.items():
        if key not in table:
            if key in schema.required:
                raise CardError(
                    f"key {key!r} is missing", where=where, remedy=f"Add {key} = {kind.name}."
                )
        elif not kind.holds(table[key]):
            raise CardError(
                f"{key} is {table[key]!r}, not {kind.name}", where=where, remedy="Mend the value."
            )
        elif key in schema.sections:
            check(table[key], schema.sections[key], f"{where} [{key}]")
