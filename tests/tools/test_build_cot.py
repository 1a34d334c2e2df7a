"""tools/build_cot.py: what the datasets published becomes TSVs that their cards read."""

import gzip
import json
import pathlib

import pytest

from flan_tasks import catalog, clean, readers, sources
from flan_tasks.errors import SourceError

TOOLS = pathlib.Path(__file__).parents[2] / "tools"
COLUMNS = ("question", "answer", "chain_of_thought")


@pytest.fixture
def build(monkeypatch, tmp_path, capsys):
    """Runs the program in this process; returns its exit code, stdout and stderr."""
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.chdir(tmp_path)
    import build_cot as program

    def run(*arguments):
        code = program.main([*map(str, arguments), "--out", "built/rows.tsv"])
        return code, *capsys.readouterr()

    return run


def built():
    """The fields that the card makes of the lines written."""
    return pathlib.Path("built/rows.tsv").read_text("utf-8").splitlines()


def write(name, text):
    path = pathlib.Path(name)
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return name


def json_lines(name, *rows):
    return write(name, "".join(json.dumps(row) + "\n" for row in rows))


def problem(number, verdict="Answer: B"):
    return {
        "question": f"What is {number} + {number}?",
        "options": [f"A){number}", f"B){2 * number}"],
        "rationale": f"{number} + {number} = {2 * number}\n{verdict}",
        "correct": "B",
    }


def premise(number):
    return f"There are {number} dogs . "


def aligned(num_lines=3, **others):
    """Writes e-SNLI's four files; returns their names."""
    texts = {
        "s1.dev.gz": [premise(number) for number in range(num_lines)],
        "s2.dev": ["There are animals . "] * num_lines,
        "labels.dev": ["entailment", "neutral", "-"][:num_lines],
        "preproc1_expl_1.dev.gz": ["dogs are animals ."] * num_lines,
        **others,
    }
    return [write(name, "\n".join(lines) + "\n") for name, lines in texts.items()]


RELEASES = {
    "aqua": lambda: [json_lines("train.json", problem(1), problem(2), problem(3, "Answer: A"))],
    "creak": lambda: [
        json_lines(
            "train.json.gz",
            {"sentence": "Stones swim.", "explanation": "They sink.", "label": "false"},
            {
                "sentence": "Ducks swim.",
                "explanation": "They are\tbirds\nof lakes",
                "label": "true",
            },
            {"sentence": "Ducks sink.", "explanation": "No.", "label": ""},
        )
    ],
    "esnli": aligned,
    "gsm8k": lambda: [
        json_lines(
            "train.jsonl",
            {"question": "1 + 1?", "answer": "1+1=<<1+1=2>>2\nThat is it\n#### 2"},
            {"question": "1 + 2?", "answer": "1+2=3\n#### 3"},
            {"question": "1 + 3?", "answer": "4"},
        )
    ],
    "sensemaking": lambda: [
        write(
            "train.csv",
            "Correct Statement,Incorrect Statement,Right Reason1\n"
            'He eats bread,"He eats a ""stone""",stones are hard\n'
            "She drinks tea,She drinks tables,tables are solid\n"
            "It rains,It rains,no reason\n",
        )
    ],
    "strategyqa": lambda: [
        write(
            "train.json",
            json.dumps(
                [
                    {"question": "Is it?", "answer": True, "facts": ["It is", "It was."]},
                    {"question": "Was it?", "answer": False, "facts": ["It was not."]},
                    {"question": "Will it?", "facts": ["Who knows."]},
                ],
                indent=1,
            ),
        )
    ],
}


@pytest.mark.parametrize("name", RELEASES)
def test_what_is_built_is_what_the_card_makes_of_the_release(build, name):
    paths = RELEASES[name]()
    code, output, errors = build(name, *paths)
    assert code == 0, errors
    assert "2 rows written, 1 left out" in output
    assert len(built()) == 2
    to_fields = clean.cleaner(catalog.get(f"cot_{name}"))
    read = [to_fields(row) for row in readers.read("built/rows.tsv", columns=COLUMNS)]
    assert all(row["question"] and row["answer"] and row["chain_of_thought"] for row in read)
    if len(paths) == 1:
        assert read == [to_fields(row) for row in list(readers.read(paths[0]))[:2]]


def test_texts_of_many_lines_are_one_line_of_the_file(build):
    build("gsm8k", *RELEASES["gsm8k"]())
    assert built()[0] == "1 + 1?\t2\t1+1=2\\nThat is it."


def test_explanations_are_joined_to_their_questions_by_id(build):
    def question(key):
        choices = [{"label": "A", "text": "sea"}, {"label": "B", "text": "sky"}]
        return {"id": key, "question": {"stem": f"Where is {key}?", "choices": choices}}

    questions = json_lines(
        "questions.jsonl",
        {**question("fish"), "answerKey": "A"},
        {**question("star"), "answerKey": "B"},
        {**question("moon"), "answerKey": "B"},
        question("cloud"),
    )
    explanations = json_lines(
        "explanations.jsonl",
        {"id": "star", "explanation": {"open-ended": "stars shine", "selected": ""}},
        {"id": "fish", "explanation": "Fish swim."},
        {"id": "other", "explanation": "Not asked."},
    )
    code, output, _ = build("ecqa", questions, explanations)
    assert code == 0
    assert [line.split("\t")[1:] for line in built()] == [
        ["sea", "Fish swim."],
        ["sky", "Stars shine."],
    ]
    assert "2 left out" in output and "no chain of thought" in output and "no answer" in output
    code, _, errors = build("ecqa", questions, json_lines("other.jsonl", {"explanation": "x"}))
    assert code == 1 and "no id is common" in errors


def test_csv_files_are_read_one_after_the_other(build):
    header = "pairID,gold_label,Sentence1,Sentence2,Explanation_1\n"
    rows = [f'{n},neutral,"Dog {n}, a big one.",It is old.,Age is unsaid.\n' for n in range(2)]
    files = [write(f"esnli_train_{n}.csv", header + row) for n, row in enumerate(rows)]
    code, _, errors = build("esnli", *files)
    assert code == 0, errors
    assert ["Dog 0, a" in built()[0], "Dog 1, a" in built()[1]] == [True, True]


def test_files_of_lines_may_come_in_any_order(build):
    build("esnli", *aligned())
    first = built()
    assert [premise(number).replace(" .", ".").strip() in first[number] for number in range(2)]
    build("esnli", *reversed(aligned()))
    assert built() == first


def test_files_of_different_length_are_refused(build):
    code, _, errors = build("esnli", *aligned(**{"s2.dev": ["There are animals . "] * 2}))
    assert code == 1 and "do not belong together" in errors
    assert "'s2.dev': 2" in errors and "'s1.dev.gz': 3" in errors
    assert not pathlib.Path("built").exists()


def test_a_missing_file_of_lines_is_named(build):
    code, _, errors = build("esnli", *aligned()[:3])
    assert code == 1 and "expl_1" in errors


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("cut.json", json.dumps(problem(1)) + '\n{"question": "What', "cut.json line 2"),
        ("other.json", json.dumps(problem(1)) + '\n{"question": "What?"}\n', "other.json row 2"),
        ("latin.json", json.dumps(problem(1)).encode() + b'\n{"question": "\xe9"}', "latin.json"),
        ("cut.json.gz", None, "cut.json.gz"),
    ],
)
def test_bad_input_is_named_and_what_was_built_before_stays(build, name, text, where):
    build("aqua", *RELEASES["aqua"]())
    before = built()
    if text is None:
        pathlib.Path(name).write_bytes(gzip.compress(json.dumps(problem(1)).encode())[:-9])
    else:
        write(name, text)
    code, output, errors = build("aqua", name)
    assert (code, output) == (1, "")
    assert where in errors and "Traceback" not in errors
    assert built() == before
    assert [path.name for path in pathlib.Path("built").iterdir()] == ["rows.tsv"]


def test_a_line_that_is_not_utf_8_is_named(build):
    paths = aligned()
    pathlib.Path("s2.dev").write_bytes(b"fine .\nnot \xe9 fine .\nfine .\n")
    code, _, errors = build("esnli", *paths)
    assert code == 1 and "s2.dev line 2" in errors


def test_a_file_without_a_usable_row_is_refused(build):
    code, _, errors = build("aqua", json_lines("train.json", problem(1, "Answer: A")))
    assert code == 1 and "no row can be used" in errors and "another option" in errors


def test_a_text_that_the_file_cannot_hold_is_left_out(build):
    row = {**problem(1), "question": r"What is \nu?"}
    code, output, _ = build("aqua", json_lines("train.json", row, problem(2)))
    assert code == 0 and r"1  a text holds \n" in output
    assert len(built()) == 1


def test_a_dry_run_counts_and_writes_nothing(build):
    code, output, _ = build("aqua", *RELEASES["aqua"](), "--dry_run")
    assert code == 0 and "2 rows would be written, 1 left out" in output
    assert not pathlib.Path("built").exists()


def test_only_a_tsv_is_written(build, capsys):
    with pytest.raises(SystemExit):
        build("aqua", "train.json", "--out", "train.json")
    assert "does not end in .tsv" in capsys.readouterr().err


def test_the_card_reads_the_file_and_names_a_line_that_lost_a_column(build, tmp_path):
    build("strategyqa", *RELEASES["strategyqa"]())
    settings = sources.settings(
        use=("files",),
        files={"cot_strategyqa": {"train": str(tmp_path / "built/rows.tsv")}},
        store_dir=str(tmp_path / "store"),
    )
    rows = list(sources.raw_rows(catalog.get("cot_strategyqa"), "train", settings))
    assert [row["answer"] for row in rows] == ["yes", "no"]
    with open("built/rows.tsv", "a") as file:
        file.write("Is it so?\tyes\n")
    with pytest.raises(SourceError, match=r"rows\.tsv line 3"):
        list(sources.raw_rows(catalog.get("cot_strategyqa"), "train", settings))
