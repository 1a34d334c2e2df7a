"""tools/decontaminate.py: rows that share text are listed, and a mixture goes without them."""

import gzip
import json
import os
import pathlib
import re
import subprocess
import sys

import gin
import numpy as np
import pytest
import seqio

import flan_tasks
from flan_tasks import (
    caching,
    catalog,
    contamination,
    mixtures,
    packed,
    sources,
    store,
    stream_spec,
    variants,
)
from flan_tasks.errors import MixtureError, SourceError, StoreError
from flan_tasks.prompts import Lengths

PROGRAM = pathlib.Path(__file__).parents[2] / "tools" / "decontaminate.py"
DATASETS = ("bool_q", "cot_gsm8k", "squad_v1")
# Rows of the embedded samples that stand in the evaluation sets.
PLANTED = {"bool_q": [2, 5, 9], "cot_gsm8k": [4], "squad_v1": []}
ROWS = 12
LENGTHS = {"inputs": 2048, "targets": 512}
BASKETS = "Of the many baskets that stood in the old barn how many held only"


def run(*arguments, **environment):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FLAN_")}
    return subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        env={**kept, "PYTHONPATH": str(PROGRAM.parents[1]), **environment},
        capture_output=True,
        text=True,
    )


def texts_of(name, row, settings):
    fields = store.open_split(catalog.get(name), "train", settings).row(row)
    return [value for value in fields.values() if isinstance(value, str)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Has this process use the samples, and a store that the program uses as well."""
    flan_tasks.register()
    folder = str(tmp_path_factory.mktemp("store"))
    with gin.unlock_config():
        gin.bind_parameter("flan_tasks.sources.settings.use", ("samples",))
        gin.bind_parameter("flan_tasks.sources.settings.store_dir", folder)
        gin.bind_parameter("flan_tasks.vocabulary.settings.path", "small")
    yield sources.settings()
    gin.clear_config()


@pytest.fixture(scope="module")
def evaluation(settings, tmp_path_factory):
    """A folder of evaluation sets in which some rows are planted, in other guises."""
    folder = tmp_path_factory.mktemp("evaluation")
    passages = [max(texts_of("bool_q", row, settings), key=len) for row in PLANTED["bool_q"]]
    lines = [{"id": i, "text": f"« {passage.upper()} »"} for i, passage in enumerate(passages)]
    (folder / "passages.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    [row] = PLANTED["cot_gsm8k"]
    question = max(texts_of("cot_gsm8k", row, settings), key=len).replace(" ", " , ")
    (folder / "questions.csv").write_text(f'1,"{question}",A\n2,"Is it?",B\n', "utf-8")
    return folder


@pytest.fixture(scope="module")
def arguments(settings, evaluation):
    store_dir = ("--use", "samples", "--store_dir", settings.store_dir)
    return (*DATASETS, *store_dir, "--against", evaluation, "squad_v1:validation")


@pytest.fixture(scope="module")
def result(arguments, tmp_path_factory):
    path = tmp_path_factory.mktemp("lists") / "drops.jsonl"
    report = path.with_name("report.json")
    more = ("--out", path, "--json", report, "--show", 2, "--workers", 1)
    finished = run(*arguments, *more)
    assert finished.returncode == 0, finished.stderr
    return finished, path, json.loads(report.read_text())


@pytest.fixture(scope="module")
def mixture(settings, result):
    """The registered mixture without the listed rows, and the same mixture with them."""
    without = mixtures.register("clean", include=DATASETS, drop_rows=str(result[1]))
    whole = mixtures.register("unclean", include=DATASETS)
    return mixtures.find(without), mixtures.find(whole)


def examples(provider, count=None, **options):
    stream = provider.stream(LENGTHS, seed=3, **options)
    found = stream.examples(np.arange(count or stream.num_positions))
    return [example for example in found if example]


def test_the_planted_rows_and_no_others_are_reported(result, evaluation):
    finished, path, report = result
    assert {each["dataset"]: each["contaminated"] for each in report["datasets"]} == {
        name: len(rows) for name, rows in PLANTED.items()
    }
    [of_bool_q] = [each for each in report["datasets"] if each["dataset"] == "bool_q"]
    assert of_bool_q["share"] == 3 / ROWS and of_bool_q["of_sets"] == {str(evaluation): 3}
    assert [example["row"] for example in of_bool_q["examples"]] == PLANTED["bool_q"][:2]
    assert report["ngram"] == 13 and len(report["evaluation"]) == 2
    assert "4 of 36 rows of 3 datasets share text" in finished.stdout
    assert re.search(r"bool_q +12 +3 +25.00% +.*evaluation\S* 3\n +row 2, ", finished.stdout)
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    listed = [(each["dataset"], each["row"]) for each in records if "row" in each]
    assert listed == [(name, row) for name, rows in PLANTED.items() for row in rows]


def test_neither_workers_nor_the_process_change_the_list(arguments, result, tmp_path):
    again = ("--out", tmp_path / "again.jsonl", "--workers", 2)
    assert run(*arguments, *again, PYTHONHASHSEED="7").returncode == 0
    assert (tmp_path / "again.jsonl").read_bytes() == result[1].read_bytes()


def test_in_a_whole_epoch_no_dropped_row_is_asked_about_or_shown(mixture):
    clean, unclean = mixture
    tasks = [task for task in clean.tasks if "train" in task.splits]
    found = examples(clean, num_epochs=1)
    seen = sorted((example.task.name, example.row) for example in found)
    assert seen == sorted(
        (task.name, row)
        for task in tasks
        for row in range(ROWS)
        if row not in PLANTED[task.pipeline.dataset.name]
    )
    for example in [*found, *examples(clean, 2000)]:
        assert not {example.row, *example.exemplars} & set(PLANTED[example.task.dataset.name])
        assert example.row not in example.exemplars
    shown = {row for e in examples(unclean, 2000) for row in e.exemplars if "bool" in e.task.name}
    assert shown & set(PLANTED["bool_q"]), "without the list they are shown"


def test_a_row_keeps_its_number_and_what_it_is_asked(mixture):
    clean, unclean = mixture
    others = {(e.task.name, e.index): e for e in examples(unclean, num_epochs=2)}
    for example in examples(clean, num_epochs=2):
        other = others[example.task.name, example.index]
        assert (example.row, example.template) == (other.row, other.template)
        assert (example.targets, example.style) == (other.targets, other.style)
        if not example.task.variant.few_shot or example.task.dataset.name == "squad_v1":
            assert example == other
        text = example.task.open("train", sources.settings()).queries.row(example.row)
        question = text.get("question") or text["title"]
        assert example.task.variant.inverted or question in example.inputs_pretokenized


def test_all_that_are_left_are_shown(settings, tmp_path):
    prepared = store.open_split(catalog.get("bool_q"), "train", settings)
    overlaps = [contamination.Overlap(row, {"set": "words"}) for row in range(ROWS - 3)]
    checked = contamination.Checked("bool_q", "train", prepared.fingerprint, ROWS, overlaps)
    contamination.write(tmp_path / "drops.jsonl", {}, [checked])
    name = mixtures.register(
        "three_left", include=["bool_q"], drop_rows=str(tmp_path / "drops.jsonl")
    )
    found = [e for e in examples(mixtures.find(name), 2000) if e.task.name == "bool_q_fs_opt"]
    left = {ROWS - 3, ROWS - 2, ROWS - 1}
    for row in left:
        shown = [set(example.exemplars) for example in found if example.row == row]
        # Of 1 to 4 exemplars wanted, all others there are, but for where one is wanted.
        assert 0.6 < shown.count(left - {row}) / len(shown) < 0.9


def test_seqio_sees_the_same(mixture):
    features = ("dataset", "row", "exemplars")
    dataset = seqio.get_mixture_or_task("clean").get_dataset(
        LENGTHS, split="train", seed=0, passthrough_features=features
    )
    for example in dataset.take(300).as_numpy_iterator():
        dropped = PLANTED[example["dataset"].decode()]
        assert not {int(example["row"]), *example["exemplars"].tolist()} & set(dropped)


def test_evaluating_keeps_all_rows_but_shows_none_of_the_dropped(mixture):
    found = examples(mixture[0], split="validation", num_epochs=4)
    of_bool_q = [example for example in found if example.task.dataset.name == "bool_q"]
    rows = store.open_split(catalog.get("bool_q"), "validation", sources.settings()).num_rows
    assert {example.row for example in of_bool_q} == set(range(rows))
    shown = {row for example in of_bool_q for row in example.exemplars}
    assert shown and not shown & set(PLANTED["bool_q"])


def test_packed_rows_go_without_them_too(mixture):
    registered = seqio.get_mixture_or_task(packed.register("clean"))
    dataset = registered.get_dataset(LENGTHS, split="train", seed=3)
    first, unclean = (
        {tuple(example.inputs) for example in examples(each, packed.WINDOW)} for each in mixture
    )
    assert unclean - first
    for row in dataset.take(20).as_numpy_iterator():
        for segment in range(1, row["inputs_segment_ids"].max() + 1):
            assert tuple(row["inputs"][row["inputs_segment_ids"] == segment].tolist()) in first


def test_caches_know_of_the_list(mixture):
    def description(name):
        spec = stream_spec.of_provider(
            name, split="train", seed=0, lengths=Lengths(512, 128), num_epochs=None
        )
        return caching.describe(caching.Plan(spec, 10, 64, None))

    clean, unclean = description("clean"), description("unclean")
    assert clean["drop_list"] != unclean["drop_list"] == ""
    assert clean["datasets"]["bool_q"]["rows"] == ROWS - 3
    for task, fingerprint in clean["tasks"].items():
        reusable = fingerprint == unclean["tasks"][task]
        assert reusable == task.startswith("squad_v1"), "only where nothing is dropped"
    rows = store.open_split(catalog.get("bool_q"), "train", sources.settings())
    without = [rows.without(np.array([row])).fingerprint for row in (1, 1, 2)]
    assert without[0] == without[1] != without[2] != rows.fingerprint
    with pytest.raises(MixtureError, match=r"seqio's caches hold all rows"):
        mixture[0].get_dataset(LENGTHS, use_cached=True)


def test_a_worker_is_sent_the_list(mixture):
    spec = stream_spec.of_provider(
        "clean", split="train", seed=3, lengths=Lengths(2048, 512), num_epochs=1
    )
    stream = spec.open(prepare_missing=False)
    assert stream.num_positions == len(examples(mixture[0], num_epochs=1))


def test_a_gin_file_names_the_list(settings, result, tmp_path):
    gin_file = tmp_path / "clean.gin"
    gin_file.write_text(
        "from __gin__ import dynamic_registration\n"
        "from flan_tasks import mixtures\n"
        "MIXTURE_OR_TASK_NAME = @mixtures.register()\n"
        "mixtures.register:\n"
        "  name = 'from_gin'\n"
        "  include = ['bool_q']\n"
        f"  drop_rows = '{result[1]}'\n"
    )
    program = [sys.executable, str(PROGRAM.with_name("export.py")), "--gin_file", str(gin_file)]
    program += ["--format", "jsonl", "--num", "300", "--workers", "1", "--out", f"{tmp_path}/out"]
    here = {"FLAN_USE": "samples", "FLAN_STORE_DIR": settings.store_dir, "FLAN_VOCABULARY": "small"}
    environment = {**os.environ, **here, "PYTHONPATH": str(PROGRAM.parents[1])}
    finished = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    [path] = (tmp_path / "out").glob("*.jsonl")
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    used = {row for each in records for row in (each["row"], *each["exemplars"])}
    assert used == set(range(ROWS)) - set(PLANTED["bool_q"])
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_text())
    assert metadata["job"]["drop_list"] == contamination.read(str(result[1])).checksum


def test_a_name_goes_with_one_list(mixture, result, tmp_path):
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(result[1].read_bytes())
    assert mixtures.register("clean", include=DATASETS, drop_rows=str(copy)) == "clean"
    with pytest.raises(MixtureError, match="another mixture of this name"):
        mixtures.register("clean", include=DATASETS)
    with pytest.raises(MixtureError, match="another mixture of this name"):
        mixtures.register("unclean", include=DATASETS, drop_rows=str(copy))


def test_a_dataset_that_was_not_looked_at_is_refused(settings, result):
    name = mixtures.register("more", include=["bool_q", "rte"], drop_rows=str(result[1]))
    with pytest.raises(StoreError, match=r"dataset rte[\s\S]*nothing of this dataset"):
        mixtures.find(name).stream(LENGTHS)


def test_a_list_of_other_rows_is_refused(settings, tmp_path, monkeypatch):
    published = tmp_path / "data" / "cot_gsm8k" / "gsm8k_train.tsv"
    published.parent.mkdir(parents=True)
    rows = [f"{BASKETS} {i} apples?\t{i}\tAll of the {i} are mine.\n" for i in range(9)]
    published.write_text("".join(rows))
    (tmp_path / "evaluation.txt").write_text(rows[4])
    gin_file = tmp_path / "here.gin"
    gin_file.write_text(
        "from __gin__ import dynamic_registration\n"
        "from flan_tasks import sources\n"
        "sources.settings.allow_partial = True\n"
    )
    here = {"data_dir": f"{tmp_path}/data", "store_dir": f"{tmp_path}/store"}
    options = [text for key, value in here.items() for text in (f"--{key}", value)]
    options += ["--use", "files", "--gin_file", gin_file, "--ngram", 16]
    mine = tmp_path / "drops.jsonl"
    against = ("--against", tmp_path / "evaluation.txt")
    finished = run("cot_gsm8k", *options, *against, "--out", mine)
    assert finished.returncode == 0, finished.stderr
    assert "1 of 9 rows of 1 datasets" in finished.stdout

    mixture = mixtures.find(mixtures.register("apples", include=["cot_gsm8k"], drop_rows=str(mine)))
    local = sources.settings(**here, use="files", allow_partial=True)
    monkeypatch.setattr(sources, "settings", lambda: local)
    assert {example.row for example in examples(mixture, 500)} == set(range(9)) - {4}
    published.write_text("".join(reversed(rows)))
    monkeypatch.setattr(variants, "_opened", {})  # as in another process, later
    with pytest.raises(StoreError, match=r"cot_gsm8k, split train[\s\S]*made of other rows"):
        mixture.stream(LENGTHS)


@pytest.mark.parametrize(
    ("against", "message"),
    [
        ("nosuch.jsonl", "neither a file nor a split of a dataset"),
        ("boolq:validation", r"there is no dataset 'boolq'[\s\S]*bool_q"),
        ("bool_q:dev", "neither a file nor a split"),
    ],
)
def test_evaluation_sets_that_are_not_there_are_refused(arguments, tmp_path, against, message):
    finished = run(*arguments[:-3], "--against", against, "--out", tmp_path / "drops.jsonl")
    assert finished.returncode == 1 and "Traceback" not in finished.stderr
    assert re.search(message, finished.stderr)
    assert not list(tmp_path.iterdir())


def test_evaluation_sets_of_every_kind(settings, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    import decontaminate_sets

    nested = {
        "canary": "c",
        "examples": [{"input": "q", "choices": ["a", ["b"]], "n": 1}, {"n": 2}],
    }
    (tmp_path / "a.json").write_text(json.dumps(nested))
    (tmp_path / "b.csv").write_text('q,q,A\n"two\nlines",q,B\n')
    (tmp_path / "c.tsv.gz").write_bytes(gzip.compress(b'head\tq\n"x\ty'))
    (tmp_path / "d.txt").write_text("a line\nanother\n")
    (tmp_path / ".e.txt").write_text("hidden")
    (tmp_path / "notes.md").write_text("not a set")
    found = decontaminate_sets.find(str(tmp_path), settings)
    rows = [[text.strip() for text in texts] for texts in found.rows()]
    assert rows[:4] == [["c"], ["q", "a", "b"], ["q", "q", "A"], ["two\nlines", "q", "B"]]
    assert rows[4:] == [["head", "q"], ['"x', "y"], ["a line"], ["another"]]
    (tmp_path / "d.txt").write_text("another line\n")
    assert decontaminate_sets.find(str(tmp_path), settings).checksum != found.checksum

    family = decontaminate_sets.find("bool_q:validation", settings)
    assert len(list(family.rows())) == 4
    (tmp_path / "b.csv").write_text('"never closed')
    with pytest.raises(SourceError, match=r"b\.csv"):
        list(decontaminate_sets.find(str(tmp_path / "b.csv"), settings).rows())
    with pytest.raises(SourceError, match="no file here that can be read"):
        decontaminate_sets.find(str(tmp_path / "notes.md"), settings)


def test_a_set_without_long_texts_is_refused(arguments, tmp_path):
    (tmp_path / "short.txt").write_text("yes\nno\n")
    finished = run(*arguments[:-3], "--against", tmp_path / "short.txt")
    assert finished.returncode == 1
    assert re.search(r"short\.txt: none of its 2 rows has", finished.stderr)


def test_one_dead_source_does_not_stop_the_others(settings, tmp_path):
    rows = [{"question": BASKETS, "answer": "<<1+1=2>>2\n#### 2"}] * 3
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    gin_file = tmp_path / "here.gin"
    gin_file.write_text(
        "from __gin__ import dynamic_registration\n"
        "from flan_tasks import sources\n"
        "sources.settings.allow_partial = True\n"
        "sources.settings.files = {'cot_gsm8k': {'train': 'rows.jsonl'}}\n"
    )
    here = ("--data_dir", tmp_path, "--store_dir", tmp_path / "store", "--use", "files")
    against = ("--against", tmp_path / "rows.jsonl", "--out", tmp_path / "drops.jsonl")
    finished = run("bool_q", "cot_gsm8k", *here, *against, "--gin_file", gin_file)
    assert finished.returncode == 1 and "Traceback" not in finished.stderr
    assert "dataset bool_q: split 'train' is not to be had" in finished.stderr
    assert "3 of 3 rows of 1 datasets" in finished.stdout
    assert contamination.read(str(tmp_path / "drops.jsonl")).checksum
    finished = run("bool_q", *here, *against)
    assert finished.returncode == 1 and "no dataset's rows can be had" in finished.stderr


def test_a_dry_run_reads_and_writes_nothing(arguments, tmp_path):
    store_dir = ("--store_dir", tmp_path / "store", "--out", tmp_path / "drops.jsonl")
    finished = run(*arguments, *store_dir, "--dry_run")
    assert finished.returncode == 0, finished.stderr
    assert ": 2 files\n" in finished.stdout and "a split of 1 datasets\n" in finished.stdout
    assert re.search(r"bool_q .* rows +samples: ", finished.stdout)
    assert not list(tmp_path.iterdir())
