"""`tools/inspect dataset` and `list`: what is shown is what training sees."""

import dataclasses
import html.parser
import os
import pathlib
import re
import runpy
import subprocess
import sys

import gin
import numpy as np
import pytest

from flan_tasks import catalog, selection
from flan_tasks.parts import Part
from flan_tasks.prompts import Lengths, PromptStream
from flan_tasks.variants import VariantPipeline

PROGRAM = pathlib.Path(__file__).parents[2] / "tools" / "inspect"
ESCAPES = re.compile(r"\x1b\[\d+m")


@pytest.fixture(scope="module")
def gin_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("settings")
    path = folder / "here.gin"
    path.write_text(
        "from __gin__ import dynamic_registration\n"
        "from flan_tasks import sources\n"
        "from flan_tasks import vocabulary\n"
        "sources.settings.use = ('files',)\n"
        f"sources.settings.store_dir = '{folder}/store'\n"
        "vocabulary.settings.path = 'small'\n"
    )
    return path


@pytest.fixture
def tools(monkeypatch, gin_file):
    """The program's modules can be imported, and the settings are in force."""
    monkeypatch.syspath_prepend(str(PROGRAM))
    gin.clear_config()
    gin.parse_config_file(str(gin_file))
    gin.bind_parameter("flan_tasks.sources.settings.use", ("samples",))
    yield
    gin.clear_config()


@pytest.fixture
def inspect(tools, gin_file):
    """Runs the program in this process, on the samples; returns its exit code."""
    main = runpy.run_path(str(PROGRAM / "__main__.py"), run_name="program")["main"]

    def run(*arguments):
        settings = () if arguments[0] == "list" else ("--gin_file", gin_file)
        return main([*map(str, arguments), *map(str, settings)])

    return run


@pytest.fixture
def groups(tools):
    """Every variant of bool_q on three rows."""
    import examples

    rows = examples.Rows("train", 3, seed=5)
    dataset = catalog.get("bool_q")
    return list(examples.of_variants(dataset, dataset.variants, rows))


def joined(parts):
    return "".join(part.text for part in parts)


def test_what_is_shown_is_what_training_sees(groups):
    dataset = catalog.get("bool_q")
    assert [group.task for group in groups] == [f"bool_q_{each.name}" for each in dataset.variants]
    for group, variant in zip(groups, dataset.variants, strict=True):
        stream = PromptStream(
            [VariantPipeline(dataset, variant)],
            None,
            split="train",
            shuffle=True,
            seed=5,
            lengths=Lengths(2048, 512),
            num_epochs=1,
            prepare_missing=True,
        )
        seen = {each.row: each for each in stream.examples(np.arange(stream.num_positions))}
        for shown in group.shown:
            example = seen[shown.example.row]
            assert joined(shown.prompt) == example.inputs_pretokenized
            assert joined(shown.target) == example.targets_pretokenized
            assert shown.example.inputs == example.inputs
            assert shown.example.exemplars == example.exemplars


def test_all_variants_show_the_same_rows_and_another_seed_shows_others(groups):
    import examples

    (rows,) = {tuple(shown.example.row for shown in group.shown) for group in groups}
    assert len(set(rows)) == 3
    dataset = catalog.get("bool_q")
    drawn = examples.Rows("train", 3, seed=6)
    (other, *_) = examples.of_variants(dataset, dataset.variants, drawn)
    assert [shown.example.row for shown in other.shown] != list(rows)


def test_the_terminal_shows_provenance_and_loses_no_character(inspect, groups, capsys):
    arguments = ("dataset", "bool_q", "--rows", 3, "--seed", 5, "--use", "samples", "--width")
    assert inspect(*arguments, 100_000) == 0
    wide = capsys.readouterr().out
    assert inspect(*arguments, 40) == 0
    narrow = capsys.readouterr().out
    body = [line for line in narrow.splitlines() if re.match(r"\d┊ | │ ", line)]
    assert max(map(len, body)) <= 40
    assert "CC BY-SA 3.0" in wide and "12 prepared" in wide
    assert "\x1b" not in wide
    unfolded = "".join(line[3:] for line in body)
    for group in groups:
        for shown in group.shown:
            example = shown.example
            assert example.inputs_pretokenized in re.sub(r"(?m)^(\d┊| │) ", "", wide)
            assert example.inputs_pretokenized.replace("\n", "") in unfolded
            assert (
                f"row {example.row} · index {example.index} · template {example.template}" in wide
            )
            assert f"{len(example.inputs)} + {len(example.targets)} tokens" in wide
            if example.exemplars:
                assert f"exemplars rows {', '.join(map(str, example.exemplars))} ·" in wide
            assert example.style in wide


def test_colors_only_color(groups):
    import dataset_terminal

    plain, colored = (
        dataset_terminal.Terminal(catalog.get("bool_q"), width=60, color=color)
        for color in (False, True)
    )
    for group in groups:
        lines = list(colored.group(group))
        assert [ESCAPES.sub("", line) for line in lines] == list(plain.group(group))
    assert any("\x1b[33m" in line for line in colored.group(groups[0])), "options have a color"


class Page(html.parser.HTMLParser):
    """The texts of a page by the class of their block, and what it would load."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.loads, self._open = {"prompt": [], "target": []}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.loads += [attributes[key] for key in ("src", "data") if key in attributes]
        self.loads += [tag] if tag in ("script", "link", "iframe", "img") else []
        if tag == "div":
            classes = attributes.get("class", "").split()
            self._open.append(next((name for name in self.texts if name in classes), None))
            if self._open[-1]:
                self.texts[self._open[-1]].append("")

    def handle_endtag(self, tag):
        if tag == "div":
            self._open.pop()

    def handle_data(self, data):
        block = next((name for name in reversed(self._open) if name), None)
        if block:
            self.texts[block][-1] += data


def test_the_page_stands_alone_and_shows_each_prompt_to_the_character(groups):
    import dataset_page

    odd = '<b>&amp; "quoted"</b>\n\n  {x} \u2028 ünï'
    shown = dataclasses.replace(groups[0].shown[0], prompt=[Part(odd), Part(odd, "text")])
    text = dataset_page.page(
        catalog.get("bool_q"), [*groups, dataclasses.replace(groups[0], shown=[shown])]
    )
    page = Page(text)
    assert page.loads == [] and "@import" not in text and "url(" not in text
    expected = [shown.example for group in groups for shown in group.shown]
    assert page.texts["prompt"] == [*(each.inputs_pretokenized for each in expected), odd + odd]
    targets = [each.targets_pretokenized for each in expected]
    assert page.texts["target"][: len(targets)] == targets
    card = catalog.get("bool_q")
    for fact in (card.license, card.homepage, card.citation, "train[:-200]", "accuracy"):
        assert html.escape(fact) in text
    assert text.count('<section class="sheet"><h3>') == 2 + len(card.templates) + len(card.inverted)


def test_a_page_is_written_and_named(inspect, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert inspect("dataset", "cot_gsm8k", "--use", "samples", "--html", path) == 0
    assert capsys.readouterr().out.strip() == str(path)
    text = path.read_text("utf-8")
    assert 'id="cot_gsm8k_inverted_fs_opt"' in text and "<h3>inverted/0</h3>" in text


def test_a_task_is_shown_alone(inspect, capsys):
    assert inspect("dataset", "cot_gsm8k_inverted_zs_opt", "--use", "samples") == 0
    assert re.findall("━━ (.*?) ━", capsys.readouterr().out) == ["cot_gsm8k_inverted_zs_opt"]


def test_one_template_on_several_rows(inspect, capsys):
    arguments = ("dataset", "bool_q", "--template", "bool_q/3", "--rows", 4, "--use", "samples")
    assert inspect(*arguments, "--settings", "fs_opt", "zs_noopt") == 0
    shown = capsys.readouterr().out
    assert re.findall("━━ (.*?) ━", shown) == ["bool_q_zs_noopt", "bool_q_fs_opt"]
    assert re.findall(r"template (\S+)", shown) == ["bool_q/3"] * 8


def test_each_template_once(inspect, capsys):
    assert (
        inspect("dataset", "cot_gsm8k", "--all_templates", "--use", "samples", "--width", 500) == 0
    )
    card = catalog.get("cot_gsm8k")
    assert re.findall(r"template (\S+)", capsys.readouterr().out) == [
        *(f"cot_gsm8k/{template.id}" for template in card.templates),
        *(f"cot_gsm8k/inverted/{template.id}" for template in card.inverted),
    ]


def test_without_rows_at_hand_there_is_an_error_and_no_page(inspect, tmp_path, capsys):
    assert inspect("dataset", "rte", "--html", tmp_path / "page.html") == 1
    complaint = capsys.readouterr().err
    assert "is not prepared" in complaint and "tools/prepare.py rte" in complaint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("boolq",), "Did you mean: bool_q"),
        (("bool_q", "--settings", "zs"), "There are: zs_opt, zs_noopt"),
        (("bool_q", "--template", "77"), "There are: 0, 1,"),
        (("bool_q", "--split", "dev"), "Splits are: train, validation, test"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(inspect, capsys, arguments, complaint):
    assert inspect("dataset", *arguments, "--use", "samples") == 1
    assert complaint in capsys.readouterr().err


def test_datasets_are_listed_by_what_they_are(inspect, capsys):
    terms = ("kind:summarization", "license:commercial", "license:non-commercial")
    assert inspect("list", *terms, "--exclude", "language:French", "samsum") == 0
    *lines, _, total = capsys.readouterr().out.splitlines()
    everything = catalog.load().values()
    chosen = selection.select(everything, terms, ["language:French", "samsum"])
    assert [line.split()[0] for line in lines] == ["dataset", *(each.name for each in chosen)]
    assert total.startswith(f"{len(chosen)} datasets, ")
    assert inspect("list", "pair:english-french", "wmt*") == 0
    [line] = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("wmt14_enfr")
    ]
    assert re.split("  +", line) == [
        *("wmt14_enfr", "flan2021", "translation", "40,836,876"),
        *("unstated, other-terms", "English-French"),
    ]


def test_a_misspelt_term_is_refused(inspect, capsys):
    assert inspect("list", "licence:commercial") == 1
    assert "Did you mean: license" in capsys.readouterr().err


def test_it_runs_from_a_shell_without_hiding_the_standard_library(gin_file):
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("FLAN_")},
        "PYTHONPATH": str(PROGRAM.parents[1]),
    }
    arguments = ("dataset", "bool_q_zs_opt", "--use", "samples", "--gin_file", str(gin_file))
    run = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "━━ bool_q_zs_opt ━" in run.stdout
