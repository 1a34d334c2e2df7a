"""Super-Natural Instructions: the table of tasks, reading and cleaning, templates."""

import collections
import json
import pathlib

import pytest

import flan_tasks
from flan_tasks import catalog, clean, licenses, render, selection, sources, store
from flan_tasks.clean import Drop, instructions
from flan_tasks.errors import SourceError
from flan_tasks.spec import Variant, slots

TASKS = {dataset.constants["task_name"]: dataset for dataset in catalog.named("niv2")}
CAPITALS = TASKS["task1146_country_capital"]
# The numbers of the tasks made of MMLU's 57 subjects.
MMLU_NUMBERS = {*range(664, 668), *range(685, 738)}

INDIA = {"input": "India", "output": "New Delhi", "explanation": "It is the seat of government."}
PERU = {"input": "Peru", "output": ["Lima"], "explanation": ""}
ROW = {
    "Definition": ["Name the capital."],
    "Positive Examples": [INDIA, PERU],
    "id": "task1146-1",
    "input": "Syria",
    "output": ["Damascus", " Damascus", "Dimashq", ""],
}


# The table


def test_the_table_holds_every_task_of_the_inventory():
    assert len(TASKS) == 1556
    kinds = collections.Counter(dataset.kind for dataset in TASKS.values())
    assert len(kinds) == 108
    assert kinds.most_common(4) == [
        ("translation", 394),
        ("question answering", 150),
        ("program execution", 90),
        ("question generation", 83),
    ]
    assert all(kind == kind.lower() for kind in kinds)


def test_no_task_is_made_of_mmlu():
    assert len(MMLU_NUMBERS) == 57
    numbers = {int(name.removeprefix("task").partition("_")[0]) for name in TASKS}
    assert not numbers & MMLU_NUMBERS
    assert not [dataset for dataset in TASKS.values() if "mmlu" in str(dataset).lower()]


def test_published_names_are_distinct_and_begin_with_the_number():
    published = {name: dataset.constants["published_name"] for name, dataset in TASKS.items()}
    assert len(set(published.values())) == len(TASKS)
    renamed = {name: given for name, given in published.items() if given != name}
    assert len(renamed) == 51
    for name, given in renamed.items():
        assert given.replace("-", "_").partition(".")[0] == name
    squad = TASKS["task074_squad1"].source
    assert squad.files == {"train": "niv2/tasks/task074_squad1.1_question_generation.json"}
    assert squad.where == {"task_name": "task074_squad1.1_question_generation"}


def test_a_tenth_of_a_small_task_and_twenty_rows_of_any_other_are_held_out():
    for dataset in TASKS.values():
        train, held_out = dataset.num_examples["train"], dataset.num_examples["validation"]
        assert held_out == (20 if train + held_out >= 200 else (train + held_out) // 10)
        assert dataset.splits["validation"] == f"train[-{held_out}:]"
        assert dataset.splits["train"] == f"train[:-{held_out}]"
        assert train >= 24 and train + held_out <= 6500
    assert CAPITALS.num_examples == {"train": 211, "validation": 20}
    unsure = {name for name, each in TASKS.items() if each.constants["count"] != "published"}
    assert len(unsure) == 4


@pytest.mark.parametrize(
    ("task", "languages"),
    [
        ("task1093_ted_translation_en_fa", ("English", "Persian")),
        ("task258_spl_translation_fa_en", ("Persian", "English")),
        ("task1095_ted_translation_ja_gl", ("Japanese", "Galician")),
        ("task1435_ro_sts_parallel_language_translation_ro_to_en", ("Romanian", "English")),
        ("task1048_pib_translation_telugu_english", ("Telugu", "English")),
        ("task545_alt_translation_fi_en", ("Filipino", "English")),
        ("task251_spl_translation_en_fi", ("English", "Finnish")),
        ("task271_europarl_translation", ("Bulgarian", "English")),
        ("task1652_opus_books_ca_en_translation", ("English", "Catalan")),
        ("task1376_newscomm_translation", ("Italian", "Chinese")),
    ],
)
def test_translation_names_the_language_it_is_from_before_the_one_it_is_into(task, languages):
    assert TASKS[task].languages == languages


def test_every_translation_but_those_into_tokens_is_of_a_pair():
    translations = {name: d for name, d in TASKS.items() if d.kind == "translation"}
    alone = {name for name, d in translations.items() if len(d.languages) != 2}
    assert alone == {"task547_alt_translation_entk_en", "task560_alt_translation_en_entk"}
    pairs = collections.Counter(selection.pair(dataset) for dataset in translations.values())
    assert pairs["English-Persian"] >= 3 and pairs["Persian-English"] >= 3


def test_the_terms_of_the_tasks_are_worded_in_few_ways():
    found = collections.Counter(dataset.license for dataset in TASKS.values())
    assert len(found) <= 40
    assert TASKS["task034_winogrande_question_modification_object"].license == "Apache 2.0"
    unknown = sum(n for text, n in found.items() if "unstated" in licenses.classes(text))
    assert 1000 < unknown < 1200


def test_the_benchmarks_test_tasks_are_held_out_by_name():
    folder = pathlib.Path(flan_tasks.__file__).parent / "held_out"
    for name, number in (("niv2_test", 119), ("niv2_xlingual_test", 35)):
        head, *listed = (folder / f"{name}.txt").read_text("utf-8").splitlines()
        assert head.startswith("# ")
        assert len(set(listed)) == len(listed) == number
        assert set(listed) <= TASKS.keys()
    kept = selection.select(TASKS.values(), exclude=["held_out:niv2_test"])
    assert len(kept) == 1556 - 119


# Rows as they are published


def test_the_json_gives_all_fields():
    assert clean.cleaner(CAPITALS)(ROW) == {
        "definition": "Name the capital.",
        "input": "Syria",
        "output": "Damascus",
        "outputs": ["Damascus", "Dimashq"],
        "positive_input": "India",
        "positive_output": "New Delhi",
        "positive_explanation": "It is the seat of government.",
        "second_input": "Peru",
        "second_output": "Lima",
        "second_explanation": "",
    }


@pytest.mark.parametrize(
    "row",
    [
        {"definition": "Name the capital.", "input": "Syria", "output": "Damascus", "source": ""},
        {"definition": "Name the capital.", "inputs": "Syria", "targets": "Damascus", "id": ""},
        {"Definition": "Name the capital.", "input": "Syria", "output": "Damascus"},
    ],
    ids=["tfds", "hub", "one text"],
)
def test_other_schemas_give_the_same_without_examples(row):
    fields = clean.cleaner(CAPITALS)(row)
    assert fields["definition"] == "Name the capital." and fields["input"] == "Syria"
    assert fields["outputs"] == ["Damascus"]
    assert not fields["positive_input"] and not fields["second_input"]


def test_a_positive_example_that_is_the_row_itself_is_passed_over():
    fields = instructions.niv2({**ROW, "input": " India", "output": ["New Delhi"]})
    assert fields["positive_input"] == "Peru"
    assert fields["second_input"] == ""


def test_incomplete_positive_examples_are_passed_over():
    broken = [{"input": "Chad"}, {"input": "", "output": "Rome"}, {"input": "Cuba", "output": []}]
    fields = instructions.niv2({**ROW, "Positive Examples": [*broken, PERU]})
    assert fields["positive_input"] == "Peru"
    for none in ([], None):
        assert instructions.niv2({**ROW, "Positive Examples": none})["positive_input"] == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"output": []}, "no answer"),
        ({"output": ["", " \n"]}, "no answer"),
        ({"output": " "}, "no answer"),
        ({"input": "  "}, "no input"),
        ({"Definition": []}, "no definition"),
        ({"Definition": [" "]}, "no definition"),
    ],
)
def test_rows_that_cannot_be_asked_or_answered_are_dropped(change, reason):
    with pytest.raises(Drop, match=reason):
        instructions.niv2({**ROW, **change})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"output": 7}, "the output is 7"),
        ({"output": ["Damascus", None]}, "the output is None"),
        ({"input": ["Syria"]}, "the input is"),
        ({"Definition": {"text": "x"}}, "the definition is"),
        ({"Positive Examples": ["India"]}, "positive example 1 is 'India'"),
        ({"Positive Examples": [INDIA, {**PERU, "output": 3}]}, "the output of positive example 2"),
    ],
)
def test_a_value_of_another_type_is_named(change, complaint):
    with pytest.raises(TypeError, match=complaint):
        instructions.niv2({**ROW, **change})


# Files


def open_task(folder: pathlib.Path, text: str, *, split: str = "train"):
    path = folder / CAPITALS.source.files["train"]
    path.parent.mkdir(parents=True)
    path.write_text(text, "utf-8")
    settings = sources.settings(
        data_dir=str(folder), store_dir=str(folder / "store"), use=("files",), allow_partial=True
    )
    return store.open_split(CAPITALS, split, settings)


def published(instances: list) -> dict:
    rest = {key: ROW[key] for key in ("Definition", "Positive Examples")}
    return {**rest, "Instances": instances}


def test_a_file_is_split_before_rows_are_dropped(tmp_path):
    instances = [{"input": str(n), "output": [str(n)] if n != 3 else []} for n in range(30)]
    opened = open_task(tmp_path, json.dumps(published(instances)))
    assert opened.num_rows == 9
    assert opened.drops == {"no answer": 1}
    assert opened.row(8)["input"] == "9"


def test_a_file_cut_in_the_middle_names_file_and_line(tmp_path):
    text = json.dumps(published([{"input": "Syria", "output": ["Damascus"]}] * 30), indent=1)
    with pytest.raises(SourceError, match=r"not JSON.*") as caught:
        open_task(tmp_path, text[: len(text) // 2])
    line = text[: len(text) // 2].count("\n") + 1
    assert f"task1146_country_capital.json line {line}" in str(caught.value)


def test_an_empty_list_of_instances_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no row is left of 0") as caught:
        open_task(tmp_path, json.dumps(published([])))
    assert "task1146_country_capital.json" in str(caught.value)


def test_a_file_without_instances_says_what_it_holds(tmp_path):
    with pytest.raises(SourceError, match="no 'Instances' among Definition"):
        open_task(tmp_path, json.dumps({"Definition": ["x"], "Cases": []}))


def test_an_instance_of_the_wrong_type_names_file_and_row(tmp_path):
    instances = [{"input": "Syria", "output": ["Damascus"]}] * 30
    instances[4] = {"input": "Chad", "output": {"text": "N'Djamena"}}
    with pytest.raises(SourceError, match="the output is") as caught:
        open_task(tmp_path, json.dumps(published(instances)))
    assert "row 5 of train" in str(caught.value)
    assert "task1146_country_capital.json" in str(caught.value)


def test_another_encoding_is_an_error_that_names_the_file(tmp_path):
    path = tmp_path / CAPITALS.source.files["train"]
    path.parent.mkdir(parents=True)
    text = json.dumps(published([{"input": "Bélgica", "output": ["x"]}]), ensure_ascii=False)
    path.write_bytes(text.encode("latin-1"))
    settings = sources.settings(
        data_dir=str(tmp_path), store_dir=str(tmp_path / "store"), use=("files",)
    )
    with pytest.raises(SourceError, match="not UTF-8") as caught:
        store.open_split(CAPITALS, "train", settings)
    assert str(path) in str(caught.value)


# Templates

TEMPLATES = CAPITALS.templates


def shows(template, field: str) -> bool:
    return field in slots(template.preamble)


def test_there_are_templates_with_and_without_each_part_of_the_examples():
    without = [t for t in TEMPLATES if not shows(t, "positive_input")]
    one = [t for t in TEMPLATES if shows(t, "positive_input") and not shows(t, "second_input")]
    two = [t for t in TEMPLATES if shows(t, "second_input")]
    assert len(without) == 8 and len(one) == 6 and len(two) == 2
    assert sum(shows(t, "positive_explanation") for t in one) == 3
    assert sum(shows(t, "second_explanation") for t in two) == 1


def test_an_example_is_never_shown_without_its_answer():
    for template in TEMPLATES:
        for name in ("positive", "second"):
            assert shows(template, f"{name}_input") == shows(template, f"{name}_output")
            assert shows(template, f"{name}_explanation") <= shows(template, f"{name}_output")


def test_the_definition_stands_once_and_at_the_top():
    for template in TEMPLATES:
        assert slots(template.preamble).count("definition") == 1
        assert slots(template.input) == ("input",)


def test_every_layout_of_exemplars_is_its_own():
    assert len({template.exemplar for template in TEMPLATES}) == len(TEMPLATES) >= 10


@pytest.mark.parametrize("shown", [0, 1, 2], ids=lambda shown: f"{shown} examples")
def test_rows_with_fewer_examples_are_asked_by_templates_that_show_none(shown):
    examples = [{**INDIA}, {**INDIA, "input": "Peru", "output": "Lima"}][:shown]
    fields = clean.cleaner(CAPITALS)({**ROW, "Positive Examples": examples})
    row = render.answered({**CAPITALS.constants, **fields}, CAPITALS, None)
    templates = CAPITALS.templates_of(Variant.of_setting("zs_opt"))
    chosen = [render.choose_template(templates, row.slots, n) for n in range(len(templates))]
    assert len({template.id for template in chosen}) == [8, 14, 16][shown]
    # No template is drawn much more often than another where some cannot be used.
    assert max(collections.Counter(template.id for template in chosen).values()) <= 2


def test_the_settings_are_zero_and_few_shot_without_inversion():
    names = {variant.name for variant in CAPITALS.variants}
    assert names == {"zs_opt", "fs_opt"}
