"""Programs: written to a description, or repaired after a compiler has refused them.

White space is meaning here: lines keep their indentation, and lose no more than what is invisible
at their ends.
"""

import ast
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flan_tasks.clean import Drop, Fields, cpp

# CodeContests numbers the languages: 0 unknown, 1 Python 2, 2 C++, 3 Python 3, 4 Java.
_PYTHON3 = 3
# Stands in CodeContests' descriptions where the web page has a picture, of a formula often.
_PICTURE = "<image>"
_NOTE = re.compile(r"\n\s*Note\s*\n")
_EMPTY_LINES = re.compile(r"\n{3,}")
_WORD = re.compile(r"\w+")


def dmcc_python(row: Mapping[str, Any]) -> Fields:
    """A problem of a programming contest and a Python 3 program that solves it.

    Reads CodeContests' rows from Parquet, and from tf.train.Example, where nested columns are
    flattened ("solutions/language"). Of a problem's correct solutions, hundreds often, it takes the
    one a quarter of the way from the shortest to the longest: short enough for a target, and past
    those that were made short for sport.
    """
    if row.get("input_file"):
        raise Drop("the input is not standard input")
    programs = [_program(text) for language, text in _solutions(row) if language == _PYTHON3]
    ranked = sorted(filter(None, programs), key=lambda program: (len(program), program))
    if not ranked:
        raise Drop("no Python 3 solution")
    return {
        "description": _description(row["description"]),
        "solution": ranked[len(ranked) // 4],
    }


def mbpp(row: Mapping[str, Any]) -> Fields:
    """What a function shall do, tests that it has to pass, its first line, and the function."""
    code = _program(row["code"])
    tests = "\n".join(map(_program, [row["test_setup_code"], *row["test_list"]]))
    return {
        "description": row["text"],
        "tests": tests,
        "signature": _signature(code, _WORD.findall(tests)),
        "code": code,
    }


def human_eval(row: Mapping[str, Any]) -> Fields:
    """The head of a Python function with its docstring, its name, and the whole function.

    The function stands without the docstring, which would be most of what has to be written.
    """
    code = _program(row["prompt"] + row["canonical_solution"])
    return {
        "prompt": _program(row["prompt"]),
        "entry_point": row["entry_point"],
        "code": _without_docstring(code, row["entry_point"]),
    }


def dr_repair_error_comments(row: Mapping[str, Any]) -> Fields:
    """A program with the compiler's message as a comment where it points to; the program mended."""
    repair = _repair(row)
    commented = list(repair.broken)
    commented[repair.place] += f" // error: {repair.error}"
    return {
        "broken_code": "\n".join(commented),
        "repaired_code": "\n".join(repair.repaired),
        "error": repair.error,
    }


def dr_repair_line_numbers(row: Mapping[str, Any]) -> Fields:
    """A program with numbered lines, the compiler's message, and the lines to change."""
    repair = _repair(row)
    return {
        **_numbered_repair(repair),
        "error": f"line {repair.place + 1}: error: {repair.error}",
    }


def dr_repair_no_errors(row: Mapping[str, Any]) -> Fields:
    """A program with numbered lines, and those to change; not why the compiler refuses it."""
    return _numbered_repair(_repair(row))


def dr_repair_plain_code(row: Mapping[str, Any]) -> Fields:
    """A program that the compiler refuses, and the program mended."""
    repair = _repair(row)
    return {
        "broken_code": "\n".join(repair.broken),
        "repaired_code": "\n".join(repair.repaired),
    }


class _Repair(NamedTuple):
    """The lines of a program before and after repair, line for line, and the compiler's message.

    `place` is the index of the line that the message points to, which need not be the faulty one.
    """

    broken: list[str]
    repaired: list[str]
    place: int
    error: str


class _Fault(NamedTuple):
    """What was done to a program: line -> its other text; and what the compiler says to it."""

    lines: Mapping[int, str]
    place: int
    error: str


def _repair(row: Mapping[str, Any]) -> _Repair:
    """The program of a row, broken and whole.

    Reads DrRepair's files of one program each with all its faults, {lines, errors}, and its lists
    of examples with one fault each, {code_lines, gold_code_lines, err_line}.
    """
    key, fault = ("lines", _one_fault(row)) if "lines" in row else ("gold_code_lines", _fault(row))
    whole = [cpp.Line(line["code"], line["indent"]) for line in row[key]]
    if not 0 <= fault.place < len(whole):
        raise Drop("the message points to no line")
    around = cpp.frames(whole)
    repaired, places = cpp.lay_out(whole, around)
    spoilt = [
        cpp.Line(fault.lines.get(number, line.tokens), line.depth)
        for number, line in enumerate(whole)
    ]
    broken, _ = cpp.lay_out(spoilt, around)
    if broken == repaired:
        raise Drop("nothing to repair")
    return _Repair(broken, repaired, places[fault.place], fault.error)


def _one_fault(row: Mapping[str, Any]) -> _Fault:
    """One of a program's faults: the same one always, and any of them in the long run."""
    faults = row["errors"]
    if not faults:
        raise Drop("the compiler finds no fault")
    name = f"{row['meta']['probid']} {row['meta']['subid']}"
    fault = faults[zlib.crc32(name.encode()) % len(faults)]
    changed = dict(zip(fault["mod_line"], fault["mod_code"], strict=True))
    return _Fault(changed, fault["err_line"], fault["err_msg"])


def _fault(row: Mapping[str, Any]) -> _Fault:
    lines = {number: line["code"] for number, line in enumerate(row["code_lines"])}
    reported = row["err_line"]
    return _Fault(lines, reported["lineno"], cpp.message(reported["msg"]))


def _numbered_repair(repair: _Repair) -> Fields:
    pairs = zip(repair.broken, repair.repaired, strict=True)
    changed = [number for number, (before, after) in enumerate(pairs) if before != after]
    return {
        "broken_code": _numbered(repair.broken, range(len(repair.broken))),
        "repaired_code": _numbered(repair.repaired, range(len(repair.repaired))),
        "faulty_lines": _numbered(repair.broken, changed),
        "correct_lines": _numbered(repair.repaired, changed),
    }


def _numbered(lines: Sequence[str], chosen: Sequence[int]) -> str:
    """Some of the lines, each with its number, from 1 on, before it."""
    return "\n".join(f"{number + 1}: {lines[number]}" for number in chosen)


def _solutions(row: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The correct solutions of a problem, each with the number of its language."""
    if "solutions" in row:
        found = row["solutions"]
        languages, texts = found["language"], found["solution"]
    else:
        languages, texts = row["solutions/language"], row["solutions/solution"]
    if isinstance(texts, str):  # tf.train.Example does not tell one value from a list of one
        languages, texts = [languages], [texts]
    return list(zip(languages, texts, strict=True))


def _description(raw: str) -> str:
    """A problem's description; without the note at its end, if a picture is missing there."""
    description = _program(raw)
    note = _NOTE.search(description)
    if note and _PICTURE in description[note.start() :]:
        description = description[: note.start()]
    if _PICTURE in description:
        raise Drop("a picture is missing from the description")
    if not description.strip():
        raise Drop("no description")
    return _EMPTY_LINES.sub("\n\n", description)


def _program(text: str) -> str:
    """Text with its indentation, without white space at the ends of lines."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _signature(code: str, names: Sequence[str]) -> str:
    """The first line of the function with one of these names; empty if there is none."""
    try:
        statements = ast.parse(code).body
    except SyntaxError:
        return ""
    for each in statements:
        if isinstance(each, ast.FunctionDef) and each.name in names:
            return f"def {each.name}({ast.unparse(each.args)}):"
    return ""


def _without_docstring(code: str, function: str) -> str:
    lines = code.split("\n")
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            strings = (each for each in node.body if _is_string(each))
            docstring = next(strings, None)
            if docstring:
                del lines[docstring.lineno - 1 : docstring.end_lineno]
    return "\n".join(lines)


def _is_string(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
