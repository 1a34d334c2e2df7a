"""tools/bench_data.py: what it measures is there, and adds up; how fast it was is not asked."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

TOOLS = pathlib.Path(__file__).parents[2] / "tools"
RATES = [
    f"{counted}_per_{clock}_second"
    for counted in ("examples", "tokens")
    for clock in ("wall", "cpu")
]


@pytest.fixture
def corpus_tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import bench_data_corpus

    return bench_data_corpus


@pytest.fixture
def program(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import bench_data

    return bench_data


def run(*arguments):
    return subprocess.run(
        [sys.executable, str(TOOLS / "bench_data.py"), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(TOOLS.parent)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    rows = [f"What is {n} and {n}?\t{2 * n}\t{n} + {n} = {2 * n}." for n in range(30)]
    (folder / "rows.tsv").write_text("\n".join(rows) + "\n")
    tiny = ("--repeats", 1, "--seconds", 0.01, "--tasks", 4)
    groups = ("--only", "zero-shot", "mixtures", "registration", "density")
    core = min(os.sched_getaffinity(0))
    result = run(
        *(*tiny, *groups, "--cores", core),
        *("--data", folder / "rows.tsv", "--json", folder / "report.json"),
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, json.loads((folder / "report.json").read_text())


def test_every_measurement_is_in_the_report(report):
    _, written = report
    assert [(each["setting"], each["what"]) for each in written["results"]] == [
        ("zero-shot", "tokenizer alone"),
        ("zero-shot", "prompts alone"),
        ("zero-shot", "ours"),
        ("zero-shot", "by hand"),
        ("2 tasks", "ours"),
        ("4 tasks", "ours"),
        ("4 tasks", "ours"),
        ("all prompts", "packed by seqio and by us"),
    ]
    assert written["prepared"]["num_problems"] == 30
    assert written["prepared"]["num_datasets"] == 4  # two with all rows, and two small ones
    for each in written["results"]:
        assert len(each["runs"]) == 1
        assert each["median"]["peak_bytes"] > 1e7


def test_rates_are_of_what_was_drawn_and_ratios_of_rates(report):
    _, written = report
    rates = {}
    for each in written["results"]:
        if each["request"]["measure"] != "rate":
            continue
        for found in each["runs"]:
            assert found["num_tokens"] > found["num_examples"] > 0
            for name in RATES:
                counted, _, clock, _ = name.split("_")
                expected = found[f"num_{counted}"] / found[f"{clock}_seconds"]
                assert found[name] == pytest.approx(expected)
        rates[each["what"]] = each["median"]["examples_per_cpu_second"]
        if each["setting"] == "zero-shot":
            assert each["ratios"]["to_tokenizer"] == rates[each["what"]] / rates["tokenizer alone"]
    ours = written["results"][2]
    assert (
        ours["ratios"]["to_by_hand"] == ours["median"]["examples_per_cpu_second"] / rates["by hand"]
    )
    assert set(written["results"][5]["ratios"]) == {"to_2_tasks"}


def test_examples_by_hand_are_as_long_as_ours(report):
    _, written = report
    ours, by_hand = (written["results"][place]["median"] for place in (2, 3))
    lengths = [found["num_tokens"] / found["num_examples"] for found in (ours, by_hand)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.1)


def test_both_packings_hold_the_same_tokens(report):
    printed, written = report
    density = written["results"][-1]["median"]
    del density["peak_bytes"]
    assert len(density) == 4
    for kind, packers in density.items():
        ours, seqio = packers["ours"], packers["seqio"]
        for side in ("inputs", "targets"):
            assert 0 < ours[side] <= 1
            tokens = [found[side] * found["num_rows"] for found in (ours, seqio)]
            assert tokens[0] == pytest.approx(tokens[1])
        assert f"{kind}, ours" in printed and f"{kind}, seqio" in printed


def test_the_table_has_a_line_for_each_rate(report):
    printed, _ = report
    lines = printed.splitlines()
    assert lines[0].startswith("data: 30 rows, ") and "synthetic" not in lines[0]
    (heading,) = (place for place, line in enumerate(lines) if "examples/s" in line)
    table = lines[heading + 1 : heading + 10]
    assert [line.strip() for line in table if not line.startswith("  ")] == [
        "zero-shot",
        "2 tasks",
        "4 tasks",
    ]
    assert sum(line.startswith("  ours ") for line in table) == 3
    assert "importing and registering 4 tasks" in printed


def test_medians_are_taken_of_every_figure(program):
    runs = [{"a": value, "b": {"c": -value}} for value in (3.0, 1.0, 2.0)]
    assert program._median(runs) == {"a": 2.0, "b": {"c": -2.0}}


@pytest.mark.parametrize("size", ["3", "0", "many"])
def test_mixtures_are_of_both_kinds_of_tasks(program, size, capsys):
    with pytest.raises(SystemExit):
        program.main(["--tasks", size])
    assert "--tasks" in capsys.readouterr().err


def test_a_file_that_is_not_of_problems_is_refused(tmp_path):
    (tmp_path / "rows.tsv").write_text("a question\tan answer\n")
    result = run("--data", tmp_path / "rows.tsv", "--only", "density")
    assert result.returncode == 1
    assert "rows.tsv, line 1: 2 columns, not 3" in result.stderr


def test_made_up_problems_are_always_the_same_and_as_long_as_real_ones(corpus_tool):
    problems = corpus_tool.make_up(1000)
    assert problems[:10] == corpus_tool.make_up(10)
    assert len(set(problems)) == 1000
    questions, rationales = (
        np.array([len(getattr(each, field)) for each in problems])
        for field in ("question", "rationale")
    )
    # GSM8K's means are 234 and 247 characters, its deviations 94 and 134.
    assert questions.mean() == pytest.approx(234, rel=0.1)
    assert rationales.mean() == pytest.approx(247, rel=0.1)
    assert questions.std() == pytest.approx(94, rel=0.2)
    assert rationales.std() == pytest.approx(134, rel=0.2)
    assert not any("\t" in text or "\n" in text for each in problems for text in each)


def test_what_is_written_is_read_and_dealt_out(corpus_tool, tmp_path):
    problems = corpus_tool.make_up(150)
    corpus = corpus_tool.Corpus(str(tmp_path), 2)
    corpus_tool.write(corpus, problems)
    assert corpus_tool.read(corpus.path) == problems
    first, second = (corpus_tool.read(corpus.path_of_small(number)) for number in range(2))
    assert first + second == (3 * problems)[: 2 * corpus_tool.ROWS_OF_SMALL]
