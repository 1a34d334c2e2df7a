"""tools/cache.py: the same bytes however they were made, and nothing rendered twice."""

import json
import pathlib
import re

import gin
import numpy as np
import pytest

from flan_tasks import cache_files, packed, prompts, sharded_output

TOOLS = pathlib.Path(__file__).parents[2] / "tools"
WINDOW = 64
MIXTURES = """
MIXTURE_OR_TASK_NAME = @{scope}/mixtures.register()
{scope}/mixtures.register.name = 'cache_{scope}'
{scope}/mixtures.register.include = ['bool_q', 'squad_v1', 'cot_gsm8k', 'cnn_dailymail']
{scope}/mixtures.register.setting_weights = {weights}
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Name -> gin file with a mixture; the two have the same tasks at other rates."""
    folder = tmp_path_factory.mktemp("settings")
    files = {}
    for scope, weights in {"even": {}, "uneven": {"fs_opt": 5, "zs_noopt": 3}}.items():
        files[scope] = folder / f"{scope}.gin"
        files[scope].write_text(
            "from __gin__ import dynamic_registration\n"
            "from flan_tasks import mixtures\n"
            "from flan_tasks import packed\n"
            "from flan_tasks import sources\n"
            "from flan_tasks import vocabulary\n"
            "sources.settings.use = ('samples',)\n"
            f"sources.settings.store_dir = '{folder}/store'\n"
            "vocabulary.settings.path = 'small'\n" + MIXTURES.format(scope=scope, weights=weights)
        )
    return files


@pytest.fixture
def cache(settings, monkeypatch):
    """Runs the program in this process; returns its exit code."""
    monkeypatch.setattr(packed, "WINDOW", WINDOW)
    monkeypatch.syspath_prepend(str(TOOLS))
    import cache as program

    def run(*arguments, mixture="even", workers=1):
        gin.clear_config()
        options = ("--steps", 50, "--batch", 4, "--lengths", "256,64", "--workers", workers)
        options += ("--gin_file", settings[mixture])
        return program.main([str(each) for each in (*options, *arguments)])

    yield run
    gin.clear_config()


@pytest.fixture
def rendered(monkeypatch):
    """The number of positions rendered, at each call."""
    calls = []
    examples = prompts.PromptStream.examples

    def counted(self, positions):
        calls.append(len(positions))
        return examples(self, positions)

    monkeypatch.setattr(prompts.PromptStream, "examples", counted)
    return calls


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}


def counts_printed(capsys):
    """What the program says: examples rendered, and reused."""
    found = re.search(r"rendered now: ([\d,]+); reused: ([\d,]+)", capsys.readouterr().out)
    return tuple(int(count.replace(",", "")) for count in found.groups())


def examples_of(folder, *, left_out=False):
    """The examples of the rows that count, in order; or all that is in the files."""
    metadata = sharded_output.verify(str(folder))
    examples = []
    for record in metadata["shards"]:
        shard = cache_files.Shard(str(folder / record["name"]))
        count = len(shard.index) if left_out else record["examples"]
        examples += [shard.example(number) for number in range(count)]
    return examples if left_out else examples[: metadata["job"]["rows"]]


def test_so_many_examples_are_cached_with_their_provenance(cache, tmp_path):
    assert cache("--out", tmp_path / "out") == 0
    metadata = sharded_output.verify(str(tmp_path / "out"))
    examples = examples_of(tmp_path / "out")
    assert len(examples) == metadata["job"]["rows"] == 200
    assert metadata["totals"]["left_out"] > 0
    assert not any(example.is_left_out for example in examples)
    assert {example.task for example in examples} <= set(metadata["job"]["rates"])
    for example in examples:
        assert example.row == example.index % 12
        assert example.template.split("/")[0] in example.task
        assert example.row not in example.exemplars
        assert len(example.inputs) <= 256 and len(example.targets) <= 64


@pytest.mark.parametrize("pack", [(), ("--pack",)])
def test_workers_do_not_change_a_byte(cache, tmp_path, pack):
    for workers in (1, 2):
        assert cache("--out", tmp_path / f"{workers}" / "out", *pack, workers=workers) == 0
    assert bytes_of(tmp_path / "1" / "out") == bytes_of(tmp_path / "2" / "out")
    assert len(bytes_of(tmp_path / "1" / "out")) > 3


@pytest.mark.parametrize("pack", [(), ("--pack",)])
def test_other_rates_render_only_what_is_missing(cache, tmp_path, rendered, capsys, pack):
    assert cache("--out", tmp_path / "even") == 0
    capsys.readouterr()
    alone = tmp_path / "alone" / "out"
    assert cache("--out", alone, *pack, mixture="uneven") == 0
    total, _ = counts_printed(capsys)
    rendered.clear()
    assert cache("--out", tmp_path / "uneven", *pack, mixture="uneven") == 0
    now, reused = counts_printed(capsys)
    assert sum(rendered) == now == total - reused
    even, uneven = (
        {(e.task, e.index) for e in examples_of(tmp_path / name, left_out=True)}
        for name in ("even", "uneven")
    )
    assert reused == len(even & uneven) > 20
    assert bytes_of(tmp_path / "uneven") == bytes_of(alone)


def test_nothing_is_rendered_twice_not_even_what_was_left_out(cache, tmp_path, rendered, capsys):
    assert cache("--out", tmp_path / "out", "--pack") == 0
    total, _ = counts_printed(capsys)
    rendered.clear()
    assert cache("--out", tmp_path / "again" / "out", "--pack", "--reuse", tmp_path / "out") == 0
    assert counts_printed(capsys) == (0, total)
    assert sum(rendered) == 0
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "again" / "out")


def test_a_cache_that_is_not_complete_is_reused_as_far_as_it_goes(cache, tmp_path, capsys):
    assert cache("--out", tmp_path / "whole" / "out") == 0
    whole, _ = counts_printed(capsys)
    records = sharded_output.read_metadata(str(tmp_path / "whole" / "out"))["shards"]
    partial = tmp_path / "out.unfinished"
    (tmp_path / "whole" / "out").rename(partial)
    metadata = json.loads((partial / "metadata.json").read_text())
    (partial / "metadata.json").write_text(json.dumps({"complete": False, "job": metadata["job"]}))
    (partial / "records").mkdir()
    for record in records[:2]:
        (partial / "records" / f"{record['name']}.json").write_text(json.dumps(record))
    assert cache("--out", tmp_path / "other") == 0
    assert counts_printed(capsys) == (whole - 2 * WINDOW, 2 * WINDOW)


def test_other_settings_are_not_reused_and_that_is_said(cache, tmp_path, capsys):
    assert cache("--out", tmp_path / "out") == 0
    capsys.readouterr()
    assert cache("--out", tmp_path / "other_seed", "--seed", 1) == 0
    printed = capsys.readouterr().out
    assert f"not reused: {tmp_path}/out, of other seed\n" in printed and "reused: 0" in printed
    assert cache("--out", tmp_path / "other_lengths", "--lengths", "200,64") == 0
    printed = capsys.readouterr().out
    assert "other_seed, of other seed, lengths" in printed and "reused: 0" in printed


def test_a_damaged_cache_is_not_copied_from(cache, tmp_path, capsys):
    assert cache("--out", tmp_path / "out") == 0
    path = tmp_path / "out" / "00001.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert cache("--out", tmp_path / "other") == 1
    assert f"{path}: its checksum is not the one written" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_it_goes_on_with_no_other_job(cache, tmp_path, capsys):
    assert cache("--out", tmp_path / "out") == 0
    before = bytes_of(tmp_path / "out")
    assert cache("--out", tmp_path / "out") == 0
    assert cache("--out", tmp_path / "out", "--batch", 5) == 1
    assert "rows 200, not 250" in capsys.readouterr().err
    assert bytes_of(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nosuch",), r"no task or mixture 'nosuch'"),
        (("--split", "dev"), r"no task has a split 'dev'"),
        (("--lengths", "2,2"), r"could be kept|was dropped"),
        (("--reuse", "/nosuch"), r"/nosuch: there is no cache here"),
    ],
)
def test_what_cannot_be_cached_is_refused(cache, tmp_path, capsys, arguments, message):
    assert cache(*arguments, "--out", tmp_path / "out") == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_what_is_packed_already_is_refused(cache, tmp_path, capsys):
    import flan_tasks

    flan_tasks.register()
    name = packed.register("flan2022")
    assert cache(name, "--out", tmp_path / "out") == 1
    assert "'flan2022_packed' is not made from the cards" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(cache, tmp_path, capsys):
    assert cache("--out", tmp_path / "out", "--pack", "--dry_run") == 0
    printed = capsys.readouterr().out
    assert "cache_even: the first 200 packed rows of 'train'" in printed
    assert f"{tmp_path}/out: 4 files at least" in printed and "samples" in printed
    assert list(tmp_path.iterdir()) == []


def test_rows_that_count_do_not_depend_on_how_many_are_cached(cache, tmp_path):
    assert cache("--out", tmp_path / "short" / "out", "--steps", 10) == 0
    assert cache("--out", tmp_path / "long" / "out") == 0
    short, long = (examples_of(tmp_path / name / "out") for name in ("short", "long"))
    assert short == long[:40]
    assert np.array_equal([e.index for e in short], [e.index for e in long[:40]])
