"""Who may import whom: the tasks know nothing of the engine, the engine nothing of the tasks."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What reads cards and does arithmetic must work without TensorFlow.
LIGHT = (
    *("catalog", "clean", "columns", "contamination", "draws", "errors", "fewshot", "metrics"),
    *("ngrams", "options", "packing", "parts", "postprocess", "prepare_runners", "preparing"),
    *("prompts", "rates", "readers", "render", "sharded_output", "sources", "spec", "splits"),
    *("store", "stream", "stream_spec", "variants", "vocabulary"),
)


def imported_packages(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize(
    ("package", "forbidden"), [("flan_tasks", "t5x"), ("runtime/t5x", "flan_tasks")]
)
def test_only_gin_files_bring_the_two_together(package, forbidden):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        assert forbidden not in imported_packages(file), file


def test_cards_and_arithmetic_need_no_tensorflow():
    imports = "; ".join(f"import flan_tasks.{module}" for module in LIGHT)
    program = (
        "import os, sys; os.environ['FLAN_TASKS_REGISTER'] = '0'; "
        f"{imports}; flan_tasks.catalog.load(); "
        "assert not {'tensorflow', 'seqio', 'jax'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_gin_is_never_made_a_package():
    assert not list((ROOT / "gin").rglob("__init__.py"))
