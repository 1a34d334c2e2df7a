"""tools/import_templates.py: a release's prompts come out of our pipeline as of its own."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import released_templates

from flan_tasks import catalog, options, overlay, render
from flan_tasks.errors import CardError

ROOT = pathlib.Path(__file__).parents[2]
DATASETS = {
    "rte": "rte",
    "trec": "trec",
    "trivia_qa": "trivia_qa",
    "arc_easy": "arc",
    "arc_challenge": "arc",
    "cot_gsm8k": "cot_gsm8k",
    "niv2_task1146_country_capital": "natinst_v2",
}
LISTS = {
    "zs_opt": "PATTERNS",
    "zs_noopt": "PATTERNS_NO_OPTIONS",
    "fs_opt": "FEWSHOT_PATTERNS",
    "fs_noopt": "FEWSHOT_PATTERNS_NO_OPTIONS",
}
# Prints the examples of some datasets in all their variants, as JSON.
RENDER = """
import json, sys
import numpy as np
from flan_tasks import catalog, sources
from flan_tasks.prompts import Lengths, PromptStream
from flan_tasks.variants import VariantPipeline

found = []
for name in sys.argv[1:]:
    dataset = catalog.get(name)
    for variant in dataset.variants:
        task = VariantPipeline(dataset, variant)
        rows = task.open("train", sources.settings()).queries
        stream = PromptStream([task], None, split="train", shuffle=False, seed=0, lengths=Lengths(),
                              num_epochs=9, prepare_missing=True)
        for each in filter(None, stream.examples(np.arange(stream.num_positions))):
            found.append({
                "dataset": name, "inverted": variant.inverted, "setting": variant.setting,
                "template": each.template, "style": each.style,
                "row": rows.row(each.row), "exemplars": [rows.row(i) for i in each.exemplars],
                "prompt": [each.inputs_pretokenized, each.targets_pretokenized],
                "references": each.references,
            })
print(json.dumps(found))
"""


@pytest.fixture
def checkout(tmp_path):
    return released_templates.write(tmp_path / "FLAN")


@pytest.fixture
def import_templates(monkeypatch, capsys):
    """Runs the program in this process; returns its exit code, stdout and stderr."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import import_templates as program

    def run(*arguments):
        code = program.main(list(map(str, arguments)))
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Examples made in a process of its own, under an overlay made in another."""
    folder = tmp_path_factory.mktemp("release")
    environment = {
        **os.environ,
        "FLAN_TASKS_REGISTER": "0",
        "FLAN_TEMPLATES": str(folder / "overlay"),
        "FLAN_USE": "samples",
        "FLAN_STORE_DIR": str(folder / "store"),
        "FLAN_VOCABULARY": "small",
    }
    checkout = released_templates.write(folder / "FLAN")
    tool = ["tools/import_templates.py", "--flan", checkout, "--out", folder / "overlay"]
    for command in (tool, ["-c", RENDER, *DATASETS]):
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def slots(example, row):
    """What the release calls the texts of a row, its options in the style drawn here."""
    dataset = catalog.get(example["dataset"])
    style = options.named(example["style"]) if example["style"] else None
    texts = dict(render.answered({**dataset.constants, **row}, dataset, style).slots)
    texts["Definition"] = texts.get("definition", "")
    texts["options_"] = texts.get("options", "")
    return texts


def released_template(example, release):
    """The release's template of that number, of the list for the setting."""
    family = DATASETS[example["dataset"]]
    if example["inverted"]:
        family = family.replace("cot_", "cot_input_inversion_")
    return release[LISTS[example["setting"]]][family][int(example["template"].split(":")[-1])]


def test_prompts_read_as_the_release_makes_them(rendered):
    release = released_templates.run()
    used = set()
    for example in rendered:
        if example["inverted"] and example["dataset"] != "cot_gsm8k":
            assert "flan2022" not in example["template"]  # the release has no such prompts
            continue
        template = released_template(example, release)
        asked = slots(example, example["row"])
        shots = [slots(example, row) for row in example["exemplars"]]
        expected = released_templates.prompt(template, asked, shots)
        assert tuple(example["prompt"]) == expected, example["template"]
        used.add((example["dataset"], example["setting"], example["template"]))
    for dataset, family in DATASETS.items():
        for setting in {variant.setting for variant in catalog.get(dataset).variants}:
            numbers = {id.split(":")[-1] for *key, id in used if key == [dataset, setting]}
            # One lists options in its target, which only the settings with options can show.
            left_out = {"3"} if (dataset, setting) == ("trec", "zs_noopt") else set()
            every = set(map(str, range(len(release[LISTS[setting]][family]))))
            assert numbers == every - left_out, (dataset, setting)


def test_ids_tell_the_release_and_the_settings(rendered):
    ids = {example["template"] for example in rendered if "rte" in example["template"]}
    forward = {each for each in ids if "/inverted/" not in each}
    assert {each.rsplit(":", 1)[0] for each in forward} == {
        f"rte/flan2022:{settings}"
        for settings in ("zs_opt", "zs_noopt", "fs", "fs_opt", "fs_noopt")
    }


def test_a_prompt_turned_around_is_scored_by_its_target_and_keeps_its_exemplars(rendered):
    around = [
        example
        for example in rendered
        if example["dataset"] == "trivia_qa" and re.search(r"zs:1$|fs:1$", example["template"])
    ]
    assert around
    for example in around:
        assert example["references"] == [example["prompt"][1]]
        assert example["setting"].startswith("zs") or example["exemplars"]
    same_input = [each for each in rendered if each["template"] == "rte/flan2022:fs:1"]
    assert all(example["exemplars"] for example in same_input)


def test_an_answer_is_no_label_of_options_that_are_not_listed(rendered):
    unlisted = [each for each in rendered if each["template"] == "trec/flan2022:fs:1"]
    assert {each["setting"] for each in unlisted} == {"fs_opt", "fs_noopt"}
    assert {each["prompt"][1] for each in unlisted} <= {*catalog.get("trec").answer.options}
    assert not any(each["style"] for each in unlisted)


def test_the_table_tells_what_was_read_and_what_was_not(import_templates, checkout, tmp_path):
    code, out, _ = import_templates("--flan", checkout, "--out", tmp_path / "out", "--dry_run")
    assert code == 0
    assert not (tmp_path / "out").exists()
    assert re.search(r"^rte +rte +6 +3 +0 +0$", out, re.MULTILINE)
    assert re.search(r"^trec +trec +7 +3 +0 +1$", out, re.MULTILINE)
    assert re.search(r"^cot_gsm8k +cot_gsm8k +1 +1 +2 +0$", out, re.MULTILINE)
    assert re.search(r"left out: trec: .*templates.py:\d+ lists options", out)
    assert "any_input_inversion, riddles" in out.partition("passed over")[2]
    assert "bool_q" in out.partition("keep our templates")[2]


def test_an_overlay_is_replaced_and_nothing_else_is(import_templates, checkout, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        assert import_templates("--flan", checkout, "--out", out)[0] == 0
    assert sorted(path.stem for path in out.iterdir()) == sorted({*DATASETS.values()})
    note = out / "notes.toml"
    note.write_text("mine = 1")
    code, _, err = import_templates("--flan", checkout, "--out", out)
    assert code == 1
    assert f"{note}: this is no file of an overlay" in err
    assert note.read_text() == "mine = 1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["FLAN", "out"]


FAULTS = {
    "an f-string": ('"{answer}"),\n        ("{options_}', 'f"{1}"),\n        ("{options_}'),
    "a call": ('LEAD + "{question}"', 'LEAD.upper() + "{question}"'),
    "a name bound twice": ("\nPATTERNS = {", '\nLEAD += "Think. "\nPATTERNS = {'),
    "a triple": ('("{question}\\n{options_}", "{answer}")', '("a", "{question}", "{answer}")'),
    "a slot": ("Sum: {question}", "Sum: {sum}"),
    "an empty slot": ("Sum: {question}", "Sum: {}"),
    "another key": ("x_y_delimiter=", "delimiter="),
    "an argument without a name": ('inputs="{answer}", ', '"{answer}", '),
    "a suffix": ("{{inputs}}{final_suffix}", "{{inputs}}.{final_suffix}"),
    "a change in place": ("\nLETTERS", '\nPATTERNS["rte"].pop()\nLETTERS'),
    "a loop": ("\nLETTERS", "\nfor each in PATTERNS.values():\n    each.sort()\nLETTERS"),
    "a key twice": ('"trec": [\n        ("Of', '"rte": [\n        ("Of'),
    "a list merged in": ('"riddles": [', '**{}, "riddles": ['),
    "no list without options": ("copy.deepcopy(PATTERNS)", "dict(PATTERNS)"),
    "no loop": ("in FEWSHOT_PATTERNS_NO_OPTIONS.items()", "in ().items()"),
    "an alias of nothing": ('= PATTERNS["any_input', '= PATTERNS["some_input'),
    "no few-shot list": ('    "arc": [FewShotPattern', '    "area": [FewShotPattern'),
    "no Python": ("import copy\n", "import copy as\n"),
}


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("an f-string", r"templates.py:\d+: f'\{1\}' is not a string, literally"),
        ("a call", r"templates.py:\d+: LEAD.upper\(\) is not a string"),
        ("a name bound twice", r"templates.py:\d+: LEAD is bound 2 times"),
        ("a triple", r"templates.py:\d+: 3 texts"),
        ("a slot", r"templates.py:\d+: template 0 .*'cot_gsm8k' has no field .*\{sum\}"),
        ("an empty slot", r"templates.py:\d+: template 0 .*no field for the slot \{\}"),
        ("another key", r"templates.py:\d+: unknown argument 'delimiter'"),
        ("an argument without a name", r"templates.py:\d+: .*with all arguments by name"),
        ("a suffix", r"templates.py:\d+: something follows the query"),
        ("a change in place", r"templates.py:\d+: PATTERNS is changed by other means"),
        ("a loop", r"templates.py:\d+: PATTERNS is changed by other means"),
        ("a key twice", r"templates.py:\d+: 'rte' is there twice"),
        ("a list merged in", r"templates.py:\d+: \{\} is not an entry"),
        ("no list without options", r"templates.py: no statement reads PATTERNS_NO_OPTIONS = "),
        ("no loop", r"templates.py: no loop over FEWSHOT_PATTERNS_NO_OPTIONS.items"),
        ("an alias of nothing", r"templates.py:\d+: PATTERNS has no 'some_input_inversion'"),
        ("no few-shot list", r"templates.py:\d+: family 'arc' has no templates for fs_opt"),
        ("no Python", r"templates.py:\d+: not Python"),
    ],
)
def test_what_is_no_literal_or_has_no_place_is_named(import_templates, tmp_path, fault, says):
    old, new = FAULTS[fault]
    assert old in released_templates.TEMPLATES
    templates = released_templates.TEMPLATES.replace(old, new)
    checkout = released_templates.write(tmp_path / "FLAN", templates)
    code, out, err = import_templates("--flan", checkout, "--out", tmp_path / "out")
    assert (code, out) == (1, "")
    assert re.search(says, err), err
    assert [path.name for path in tmp_path.iterdir()] == ["FLAN"]


def test_a_folder_that_is_no_checkout(import_templates, tmp_path):
    code, _, err = import_templates("--flan", tmp_path, "--out", tmp_path / "out")
    assert code == 1
    assert re.search(r"templates.py: cannot be read: No such file", err)


GOOD = """
serves = ["rte"]
[[template]]
input = "{premise} {hypothesis}[[ {options}]]"
target = "{answer}"
"""


@pytest.mark.parametrize(
    ("overlays", "says"),
    [
        ([], "there is no .toml file"),
        ([GOOD.replace('"rte"', '"rtf"')], "there is no dataset 'rtf'"),
        ([GOOD, GOOD], "another file serves 'rte' too"),
        (
            [GOOD.replace("{premise}", "{premis}")],
            r"\[\[template\]\] 0 input: \{premis\} is no slot",
        ),
        ([GOOD + 'settings = ["zs_opt"]'], "no template serves zs_noopt"),
        ([GOOD + 'settings = ["zero"]'], "flan2021 has no setting 'zero'"),
        ([GOOD + 'setting = ["zs_opt"]'], "unknown key 'setting'"),
        ([GOOD.replace('serves = ["rte"]', "")], "key 'serves' is missing"),
        ([GOOD.replace("{answer}", "It is so.")], "it holds no slot"),
    ],
)
def test_a_faulty_overlay_is_refused(tmp_path, overlays, says):
    for number, text in enumerate(overlays):
        (tmp_path / f"{number}.toml").write_text(text, "utf-8")
    with pytest.raises(CardError, match=says):
        overlay.apply(catalog.load(), tmp_path)


def test_an_overlay_changes_what_it_serves_and_nothing_else(tmp_path):
    (tmp_path / "rte.toml").write_text(GOOD, "utf-8")
    datasets = overlay.apply(catalog.load(), tmp_path)
    assert list(datasets) == list(catalog.load())
    changed = {name for name, dataset in datasets.items() if dataset != catalog.get(name)}
    assert changed == {"rte"}
    assert len(datasets["rte"].templates) == 1
    assert datasets["rte"].inverted == catalog.get("rte").inverted
