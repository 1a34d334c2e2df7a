"""tools/inventory.py: the paper's inventory against what is registered."""

import collections
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

from flan_tasks import catalog
from flan_tasks.spec import slots

TOOLS = pathlib.Path(__file__).parents[2] / "tools"
# Rows of the inventory by collection (arXiv 2301.13688 and the list released with it).
ROWS = {"flan2021": 144, "t0": 193, "niv2": 1556, "cot": 36, "dialog": 6, "program_synthesis": 10}


@pytest.fixture
def inventory(monkeypatch, tmp_path, capsys):
    """Runs the program in this process; returns its exit code and what it printed."""
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.setenv("FLAN_USE", "samples")
    monkeypatch.setenv("FLAN_STORE_DIR", str(tmp_path))
    import inventory as program

    def run(*arguments):
        code = program.main(list(arguments))
        return code, capsys.readouterr()

    return run


def report(inventory, *arguments):
    code, printed = inventory("--json", *arguments)
    return code, json.loads(printed.out)


@pytest.fixture
def rows(inventory):
    return report(inventory)[1]["rows"]


def only(monkeypatch, *cards):
    """Lets the catalog hold these cards alone."""
    monkeypatch.setattr(catalog, "load", lambda: {card.name: card for card in cards})


def test_it_has_the_papers_rows(rows):
    assert collections.Counter(row["collection"] for row in rows) == ROWS
    keys = {(row["source"], row["category"], row["direction"], row["dataset"]) for row in rows}
    assert len(keys) == 1945


def test_every_row_is_there(inventory):
    code, printed = inventory()
    assert code == 0, printed.out
    assert printed.out.endswith("\n1945/1945\n")


def test_what_it_says_is_what_the_cards_have(rows):
    for row in [row for row in rows if row["there"]]:
        card = catalog.get(row["dataset"])
        inverted = row["direction"] not in ("forward", "answer")
        variants = [variant for variant in card.variants if variant.inverted == inverted]
        assert row["collection"] == card.collection
        assert row["tasks"] == [f"{card.name}_{variant.name}" for variant in variants]
        assert 0 < row["templates"] <= len(card.inverted if inverted else card.templates)
        assert row["examples"] == card.num_examples.get("train", 0)
        assert tuple(row["languages"]) == card.languages and row["license"] == card.license
        assert row["state"]


def test_its_tasks_are_registered_with_seqio(rows):
    import seqio

    import flan_tasks

    flan_tasks.register()
    named = {task for row in rows if row["there"] for task in row["tasks"]}
    assert named and named <= set(seqio.TaskRegistry.names())


def test_the_directions_of_a_chain_of_thought_share_out_its_templates(rows):
    for name in {row["dataset"] for row in rows if row["collection"] == "cot"}:
        card = catalog.get(name)
        counts = {row["direction"]: row["templates"] for row in rows if row["dataset"] == name}
        assert counts.keys() == {"answer", "question", "rationale", "question and answer"}
        assert sum(counts.values()) == len(card.templates) + len(card.inverted)


def test_names_of_the_paper_that_differ_from_ours_are_noted(rows):
    differing = {row["source"]: row["dataset"] for row in rows if row["note"]}
    assert differing["trivia_qa_wiki_missing"] == "trivia_qa"
    assert differing["stream_aqua"] == "cot_aqua"
    mnli = [row["dataset"] for row in rows if row["source"] == "mnli"]
    assert sorted(mnli) == ["mnli_matched"] * 2 + ["mnli_mismatched"] * 2
    for row in rows:
        if row["collection"] not in ("t0", "niv2") and row["source"] != row["dataset"]:
            assert row["source"] in row["note"]


# What is missing


def test_a_dataset_that_is_not_registered_is_missing(inventory, monkeypatch):
    only(monkeypatch, catalog.get("cot_gsm8k"))
    code, printed = inventory("--rows")
    assert code == 1 and printed.out.endswith("\n4/1945\n")
    assert "Missing: 1,941\n" in printed.out
    assert "flan2021, Summarization: there is no dataset aeslc\n" in printed.out


def test_a_direction_without_templates_is_missing(inventory, monkeypatch):
    card = catalog.get("cot_gsm8k")
    others = tuple(each for each in card.inverted if set(slots(each.target)) != {"question"})
    only(monkeypatch, dataclasses.replace(card, inverted=others))
    code, printed = inventory("cot_gsm8k")
    assert code == 1 and printed.out.endswith("\n3/4\n")
    assert "cot, Question Generation: cot_gsm8k has no template for it" in printed.out
    only(monkeypatch, dataclasses.replace(card, inverted=()))
    assert inventory("cot_gsm8k")[1].out.endswith("\n1/4\n")


def test_long_lists_of_what_is_missing_are_cut_short(inventory, monkeypatch):
    only(monkeypatch, catalog.get("cot_gsm8k"))
    _, printed = inventory()
    assert printed.out.count("there is no dataset") == 20
    assert "… --rows lists the other 1,921" in printed.out


def test_what_the_paper_does_not_name_stands_by_itself(inventory, monkeypatch):
    mine = dataclasses.replace(catalog.get("bool_q"), name="mine", family="mine")
    only(monkeypatch, mine, catalog.get("rte"))
    _, found = report(inventory, "mine", "rte")
    assert {row["dataset"] for row in found["rows"]} == {"rte"}
    assert found["beyond"][0]["dataset"] == "mine" and found["beyond"][0]["tasks"]
    _, printed = inventory("--rows")
    assert "mine" in printed.out.partition("Beyond the inventory:")[2]


# The command line


def test_terms_choose_rows(inventory):
    code, found = report(inventory, "collection:cot", "license:commercial")
    assert code == 0 and found["there"] == found["inventory"] == len(found["rows"]) > 0
    assert all(row["collection"] == "cot" for row in found["rows"])
    assert all("commercial" in row["license_classes"] for row in found["rows"])


def test_a_misspelt_term_is_refused(inventory):
    code, printed = inventory("kind:sumarization")
    assert code == 1 and "Did you mean: summarization" in printed.err


def test_the_state_of_sources_is_told(inventory):
    _, found = report(inventory, "aeslc")
    assert {row["state"] for row in found["rows"]} == {"at hand"}
    _, printed = inventory("aeslc")
    assert "sources: 1 at hand" in printed.out


def test_it_runs_in_a_shell_without_tensorflow():
    program = (
        f"import sys; sys.path.insert(0, {str(TOOLS)!r}); import inventory; "
        "inventory.main(['cot_gsm8k']); assert 'tensorflow' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(TOOLS.parent), "FLAN_USE": "samples"}
    environment.pop("FLAN_TASKS_REGISTER", None)
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("\n4/4\n")
