"""Cleaning of programs: white space keeps its meaning, every published form is read."""

import ast
import copy
import doctest
import random
import re

import pytest
from card_samples import samples

from flan_tasks import catalog, clean
from flan_tasks.clean import Drop, code, cpp

REPAIRS = ["error_comments", "line_numbers", "no_errors", "plain_code"]


def cleaned(name, row):
    return clean.cleaner(catalog.get(name))(row)


# Problems of contests


def problem(*solutions, description="Add two numbers.", **columns):
    languages, texts = zip(*solutions, strict=True) if solutions else ((), ())
    solved = {"language": list(languages), "solution": list(texts)}
    return {"description": description, "solutions": solved, **columns}


SQUARE = "for x in range(3):\r\n\tif x:  \r\n\t\tprint(x * x)\r\n"


def test_a_solution_keeps_its_tabs_and_loses_what_cannot_be_seen():
    fields = cleaned("dmcc_python", problem((3, SQUARE)))
    assert fields["solution"] == "for x in range(3):\n\tif x:\n\t\tprint(x * x)"


def test_the_solution_does_not_hang_on_the_order_and_is_neither_the_shortest_nor_a_long_one():
    solutions = [(3, f"print({'1 + ' * n}1)") for n in range(12)]
    chosen = set()
    for seed in range(5):
        shuffled = random.Random(seed).sample(solutions, len(solutions))
        chosen.add(code.dmcc_python(problem(*shuffled))["solution"])
    assert chosen == {"print(1 + 1 + 1 + 1)"}


def test_only_python_3_counts():
    fields = code.dmcc_python(problem((1, "print 1"), (2, "int main() {}"), (3, "print(1)")))
    assert fields["solution"] == "print(1)"
    with pytest.raises(Drop, match="no Python 3 solution"):
        code.dmcc_python(problem((1, "print 1"), (4, "class Main {}"), (3, " \n")))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_flattened_problem_is_read_like_a_nested_one(number):
    nested = problem(*[(3, f"print({n})") for n in range(number)])
    flat = {"description": nested["description"]}
    for column, values in nested["solutions"].items():
        flat[f"solutions/{column}"] = values[0] if number == 1 else values
    assert code.dmcc_python(flat) == code.dmcc_python(nested)


@pytest.mark.parametrize(
    ("description", "kept"),
    [
        ("Add.\n\nNote\n\nSee <image>.", "Add."),
        ("Add.\n\nNote\n\nIt is 2.", "Add.\n\nNote\n\nIt is 2."),
        ("Add.\n\n\n\n1  2\n", "Add.\n\n1  2"),
    ],
)
def test_a_note_goes_where_its_picture_is_missing(description, kept):
    row = problem((3, "print(1)"), description=description)
    assert code.dmcc_python(row)["description"] == kept


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"description": "<image>"}, "picture"),
        ({"description": "Print <image> times 2.\n\nNote\n\nNo."}, "picture"),
        ({"description": " \n"}, "no description"),
        ({"input_file": "in.txt"}, "standard input"),
    ],
)
def test_a_problem_that_cannot_be_solved_as_it_stands_is_dropped(columns, reason):
    with pytest.raises(Drop, match=reason):
        code.dmcc_python({**problem((3, "print(1)")), **columns})


# Functions and their tests


MBPP = {
    "text": "Write a function to double.",
    "code": "import math\r\ndef helper(): return 2 \r\n"
    "def double(a, b=1): \r\n\treturn a * helper()",
    "test_setup_code": "",
    "test_list": ["assert double(2) == 4", "assert double('a  b') == 'a  ba  b'"],
}


def test_mbpp_shows_the_function_that_is_tested():
    fields = cleaned("mbpp", MBPP)
    assert fields["signature"] == "def double(a, b=1):"
    assert fields["code"].split("\n")[2:] == ["def double(a, b=1):", "\treturn a * helper()"]
    assert fields["tests"] == "\n".join(MBPP["test_list"])


def test_mbpp_sets_up_what_its_tests_need_before_them():
    row = {**MBPP, "test_setup_code": "a = 1 \r\nb = 2"}
    assert cleaned("mbpp", row)["tests"].startswith("a = 1\nb = 2\nassert double(2)")


@pytest.mark.parametrize("text", ["class Double: pass", "def double(:"])
def test_mbpp_without_a_function_to_show_has_no_signature(text):
    assert code.mbpp({**MBPP, "code": text})["signature"] == ""


HUMAN_EVAL = {
    "prompt": '\nimport math\n\n\ndef f(x):\n    """ Return x.\n    >>> f(1)\n    1\n    """\n',
    "entry_point": "f",
    "canonical_solution": "    y = 'a  b'\n    if x:\n        return x\n",
}


def test_human_eval_has_the_whole_function_without_its_docstring():
    fields = code.human_eval(HUMAN_EVAL)
    body = "    y = 'a  b'\n    if x:\n        return x"
    assert fields["code"] == f"import math\n\n\ndef f(x):\n{body}"
    assert fields["prompt"].startswith("import math") and fields["prompt"].endswith('    """')


def test_human_eval_leaves_the_docstrings_of_other_functions():
    helper = 'def g():\n    """Help."""\n    return 1\n\n\n'
    row = {**HUMAN_EVAL, "prompt": helper + HUMAN_EVAL["prompt"].lstrip()}
    written = code.human_eval(row)["code"]
    assert "Help." in written and "Return x" not in written
    ast.parse(written)


# Repairs


def program(*faults):
    """A program as DrRepair has it; a fault is (line, its tokens, line reported, message)."""
    lines = [
        ("int main() {", 0),
        ("int n ;", 1),
        ("while ( cin >> n )", 1),
        ("if ( n > 0 )", 2),
        ('cout << " a b " ;', 3),
        ("else", 2),
        ("break ;", 3),
        ("return 0;", 1),
        ("}", 0),
    ]
    return {
        "meta": {"probid": "1A", "subid": "7"},
        "lines": [
            {"line": n, "text": "", "code": tokens, "indent": depth}
            for n, (tokens, depth) in enumerate(lines)
        ],
        "errors": [
            {"mod_line": [at], "mod_code": [tokens], "err_line": line, "err_msg": message}
            for at, tokens, line, message in faults
        ],
    }


WHOLE = """\
int main() {
    int n;
    while (cin >> n) {
        if (n > 0) {
            cout << "a b";
        } else {
            break;
        }
    }
    return 0;
}"""
NO_SEMICOLON = (6, "break", 7, "expected ‘;’ before ‘}’ token")


def test_a_program_is_laid_out_with_the_braces_that_the_data_leave_out():
    fields = cleaned("dr_repair_plain_code", program(NO_SEMICOLON))
    assert fields["repaired_code"] == WHOLE
    assert fields["broken_code"] == WHOLE.replace("break;", "break")


def test_the_message_stands_at_the_line_that_it_points_to():
    fields = cleaned("dr_repair_error_comments", program(NO_SEMICOLON))
    lines = fields["broken_code"].split("\n")
    assert lines[9] == "    return 0; // error: expected ‘;’ before ‘}’ token"
    assert [line for line in lines if "error" in line] == [lines[9]]
    assert "error" not in fields["repaired_code"]


def test_numbered_lines_are_those_that_differ():
    fields = cleaned("dr_repair_line_numbers", program(NO_SEMICOLON))
    assert fields["error"] == "line 10: error: expected ‘;’ before ‘}’ token"
    assert fields["correct_lines"] == "7:             break;"
    assert fields["faulty_lines"] == "7:             break"
    assert fields["correct_lines"] in fields["repaired_code"].split("\n")
    assert fields["faulty_lines"] in fields["broken_code"].split("\n")


def test_nothing_is_said_of_the_error_where_it_is_to_be_found():
    fields = cleaned("dr_repair_no_errors", program(NO_SEMICOLON))
    assert not any("expected" in text for text in fields.values())


def test_any_fault_of_a_program_may_be_taken_and_always_the_same():
    row = program(*[(1, f"int n{k} ;", 2, f"message {k}") for k in range(5)])
    found = set()
    for submission in range(50):
        row["meta"]["subid"] = str(submission)
        found.add(code.dr_repair_error_comments(row)["error"])
        again = code.dr_repair_error_comments(copy.deepcopy(row))
        assert again == code.dr_repair_error_comments(row)
    assert len(found) == 5


def test_a_list_of_examples_is_read_like_a_file_of_one_program():
    at, tokens, line, message = (3, "if ( n > )", 3, "expected primary-expression before ‘)’ token")
    row = program((at, tokens, line, message))
    lines = [{k: each[k] for k in ("text", "code", "indent")} for each in row["lines"]]
    broken = copy.deepcopy(lines)
    broken[at]["code"] = tokens
    listed = {
        "code_lines": broken,
        "gold_code_lines": lines,
        "err_line": {"lineno": line, "msg": "expected primary - expression before ‘ ) ’ token"},
    }
    assert code.dr_repair_error_comments(listed) == code.dr_repair_error_comments(row)


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ([], "no fault"),
        ([(1, "int n ;", 1, "odd")], "nothing to repair"),
        ([(1, "int ;", 9, "odd")], "points to no line"),
        ([(1, "int ;", -1, "odd")], "points to no line"),
    ],
)
def test_a_program_without_a_fault_to_mend_is_dropped(faults, reason):
    for name in REPAIRS:
        with pytest.raises(Drop, match=reason):
            cleaned(f"dr_repair_{name}", program(*faults))


def test_every_view_of_a_sample_is_of_the_same_repair():
    views = {name: samples(catalog.get(f"dr_repair_{name}")) for name in REPAIRS}
    assert views["plain_code"][0]["errors"]
    for row in views["plain_code"]:
        if row.get("errors") == []:
            continue
        plain, numbered = code.dr_repair_plain_code(row), code.dr_repair_no_errors(row)
        for key in ("broken_code", "repaired_code"):
            lines = numbered[key].split("\n")
            assert [line.partition(": ")[2] for line in lines] == plain[key].split("\n")


# C++

TOKENS = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|\w+|->|\+\+|--|<<|>>|&&|::|\S')
LITERAL = re.compile(r"""^(["'])(.*\S.*)\1$""")


@pytest.mark.parametrize(
    "written",
    [
        "for (int i = -1; i < n; ++i) cout << a[i + 1].first << ' ';",
        "vector<pair<int, int>> v(n);",
        "map<string, int>::iterator it = m.begin();",
        "if (a < b && !c) return -x * y;",
        'printf("%d, %s\\n", p->x, "");',
        "x = *p + (a - b--) % c;",
        'cout << "say \\"hi\\"" << "don\'t";',
    ],
)
def test_tokens_are_written_as_people_write_them(written):
    tokens = TOKENS.findall(written)
    assert cpp.write(" ".join(tokens)) == written
    # As in the data, a literal's text too stands apart from its quotation marks.
    apart = [LITERAL.sub(r"\1 \2 \1", token) for token in tokens]
    assert cpp.write(" ".join(apart)) == written


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(cpp).failed == 0


def test_several_blocks_end_on_lines_of_their_own():
    lines = [cpp.Line("if ( a )", 0), cpp.Line("while ( b )", 1), cpp.Line("c ( ) ;", 2)]
    lines.append(cpp.Line("d ( ) ;", 0))
    written, places = cpp.lay_out(lines, cpp.frames(lines))
    assert written == ["if (a) {", "    while (b) {", "        c();", "    }", "}", "d();"]
    assert places == [0, 1, 2, 5]


def test_a_statement_that_goes_on_opens_no_block():
    lines = [cpp.Line('cout << " a "', 1), cpp.Line('<< " b " ;', 2), cpp.Line("x ( ) ;", 1)]
    written, _ = cpp.lay_out([cpp.Line("{", 0), *lines], cpp.frames([cpp.Line("{", 0), *lines]))
    assert "{" not in "".join(written[1:]) and "}" not in "".join(written)
