"""Question answering: yes/no, extractive, on a dialog, from memory."""

import ast
import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields
from flan_tasks.clean.running_text import numbered, squeeze

# SuperGLUE puts a passage's title in front of it.
_TITLE_MARK = " -- "
UNANSWERABLE = "unanswerable"
# What QuAC's context ends with and what stands for an answer that it does not hold.
_QUAC_UNANSWERABLE = "CANNOTANSWER"
# What TFDS puts where TriviaQA keeps an answer to itself.
_UNKNOWN = "<unk>"
_QUOTED_CELL = re.compile(r'"(?:[^"]|"")*"')
# ReCoRD's passages end with highlights, each under a line that says so.
_HIGHLIGHT = re.compile(r"\s*\n@highlight\n\s*")
# TFDS writes the dates of DROP as year-month-day, each part possibly empty.
_DROP_DATE = re.compile(r"(\d*)-([A-Za-z]*)-(\d{1,2})")
# The Hub's rows of the mathematics dataset are the literals of Python's byte strings.
_BYTES_LITERAL = re.compile(r"b(['\"]).*\1", re.DOTALL)

# Text that was cut into tokens, and what puts it together again.
_SPACED_QUOTATION = re.compile(r'(^|\s)" (.+?) "(?!\w)')
_REPAIRS = (
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"(?<=\w) n'?t\b"), "n't"),
    (re.compile(r"(?<=\w) ' ?(s|re|ve|ll|d|m)\b(?!-)"), r"'\1"),
    (re.compile(r"(?<=[(\[]) "), ""),
    (re.compile(r" (?=[)\]])"), ""),
    (re.compile(r" (\.{2,}|[,.;:?!]+)(?=[\s\"')\]]|$)"), r"\1"),
    (re.compile(r"(?<=\$) (?=\d)"), ""),
    (re.compile(r"(?<=\d) %"), "%"),
)


def bool_q(row: Mapping[str, Any]) -> Fields:
    """A yes/no question on a passage; label 0 is no, 1 is yes.

    Reads BoolQ as its authors (and TFDS) publish it, {question, title, answer, passage}, and as
    SuperGLUE does, {question, passage: "Title -- text", label}.
    """
    title, text = row.get("title"), row["passage"]
    if title is None:
        before, mark, after = text.partition(_TITLE_MARK)
        title, text = (before, after) if mark else ("", text)
    answer = row["label"] if "label" in row else row["answer"]
    if answer is None or answer == -1:
        raise Drop("no label")
    return {"title": title, "text": text, "question": row["question"], "label": _yes_or_no(answer)}


def squad(row: Mapping[str, Any]) -> Fields:
    """An extractive question: the first answer as target, every distinct one as reference.

    Reads TFDS's and the Hub's rows, answers: {text: [...]}, and the published JSON's, answers:
    [{text, answer_start}].
    """
    answers = _distinct(_texts(row["answers"]))
    if not answers:
        raise Drop("no answer")
    return {
        # TFDS and the JSON write a title as in its URL.
        "title": row["title"].replace("_", " "),
        "context": row["context"],
        "question": row["question"],
        "answer": answers[0],
        "answers": answers,
    }


def squad_v2(row: Mapping[str, Any]) -> Fields:
    """An extractive question as `squad` reads it; without an answer it is "unanswerable".

    The rows' answers that are merely plausible are left alone.
    """
    answers = _texts(row["answers"]) or [UNANSWERABLE]
    return squad({**row, "answers": {"text": answers}})


def quac(row: Mapping[str, Any]) -> Fields:
    """A question that a student asks about a section of Wikipedia, and the teacher's answer.

    Reads TFDS's rows, answers: {text: [...]}, and the published JSON's, answers: [{text, ...}].
    The first answer given is the target; those of all annotators are references.
    """
    given = [row["orig_answer"]["text"], *_texts(row["answers"])]
    answers = _distinct(
        UNANSWERABLE if text.strip() == _QUAC_UNANSWERABLE else squeeze(text) for text in given
    )
    if not answers:
        raise Drop("no answer")
    return {
        "title": row["title"],
        "background": row["background"],
        "context": squeeze(row["context"].strip().removesuffix(_QUAC_UNANSWERABLE)),
        "question": row["question"],
        "answer": answers[0],
        "answers": answers,
    }


def coqa(row: Mapping[str, Any]) -> Fields:
    """A story and a conversation on it: its questions and its answers, both numbered.

    Reads TFDS's and the Hub's rows, questions: [text], answers: {input_text: [...]}, and the
    published JSON's, questions and answers: [{input_text, turn_id, ...}], with the other
    annotators' answers in additional_answers: {"0": [...], ...}.
    """
    questions = _texts(row["questions"], "input_text")
    others = row.get("additional_answers", {})
    versions = [_texts(each, "input_text") for each in (row["answers"], *others.values())]
    if any(len(answers) != len(questions) for answers in versions):
        raise Drop("not as many answers as questions")
    if not all(text.strip() for text in (*questions, *versions[0])):
        raise Drop("an empty question or answer")
    answers = _distinct(_numbered(version) for version in versions)
    return {
        "text": squeeze(row["story"]),
        "numbered_questions": _numbered(questions),
        "numbered_answers": answers[0],
        "answers": answers,
    }


def drop(row: Mapping[str, Any]) -> Fields:
    """A question that takes counting, sorting or arithmetic on a passage.

    Reads TFDS's rows: answer and validated_answers are texts, dates among them as
    "1863-July-4", which becomes "4 July 1863". All validated answers are references.
    """
    answers = _distinct(_drop_answer(text) for text in (row["answer"], *row["validated_answers"]))
    if not answers:
        raise Drop("no answer")
    return {
        "context": _unescaped(row["passage"]),
        "question": _unescaped(row["question"]),
        "answer": answers[0],
        "answers": answers,
    }


def natural_questions(row: Mapping[str, Any]) -> Fields:
    """A question as typed into a search box, without its question mark; any answer will do.

    Reads the published JSONL, TFDS's and the Hub's rows: {question, answer: [...]}.
    """
    answers = _distinct(row["answer"])
    if not answers:
        raise Drop("no answer")
    question = row["question"].rstrip(" ?")
    return {"question": question, "answer": answers[0], "answers": answers}


def trivia_qa(row: Mapping[str, Any]) -> Fields:
    """A trivia question without evidence: the answer as given, and its aliases as references.

    Reads TFDS's and the Hub's rows: {question, answer: {value, aliases, ...}}. In the test split
    the answer is "<unk>". Some texts are still quoted as in a CSV file.
    """
    value = row["answer"]["value"]
    answers = _distinct(_unquoted(text) for text in (value, *row["answer"]["aliases"]))
    if not answers or value == _UNKNOWN:
        raise Drop("no answer")
    question = detokenised(_unquoted(row["question"]))
    return {"question": question, "answer": answers[0], "answers": answers}


def multirc(row: Mapping[str, Any]) -> Fields:
    """A paragraph, a question on it and a response that is right (1) or not (0).

    Reads TFDS's and the Hub's rows of SuperGLUE, {paragraph, question, answer, label}, and the
    published JSON's with its answers taken apart, {passage.text, question, text, label}. Some
    paragraphs are tokenised.
    """
    if "passage.text" in row:
        paragraph, response = row["passage.text"], row["text"]
    else:
        paragraph, response = row["paragraph"], row["answer"]
    label = row.get("label")
    return {
        "paragraph": detokenised(paragraph),
        "question": detokenised(row["question"]),
        "response": detokenised(response),
        "label": -1 if label is None else label,
    }


def record(row: Mapping[str, Any]) -> Fields:
    """News, a statement with "@placeholder" for a name, and the candidates, each listed once.

    Reads TFDS's and the Hub's rows of SuperGLUE, {passage, query, entities: [text], answers:
    [text]}, and the published JSON's with its queries taken apart, {passage: {text, entities:
    [{start, end}]}, query, answers: [{text}]}. Every distinct answer is a reference, the first one
    the target; the test split has none.
    """
    passage, entities = row["passage"], row.get("entities", ())
    if isinstance(passage, Mapping):
        spans = sorted((span["start"], span["end"]) for span in passage["entities"])
        passage = passage["text"]
        entities = [passage[start : end + 1] for start, end in spans]
    answers = _distinct(_texts(row.get("answers", ())))
    if not answers:
        raise Drop("no answer")
    return {
        "passage": squeeze(_HIGHLIGHT.sub("\n- ", passage)),
        "query": row["query"],
        "options_str": "\n".join(f"- {name}" for name in _distinct(entities)),
        "answer": answers[0],
        "answers": answers,
    }


def math_dataset(row: Mapping[str, Any]) -> Fields:
    r"""An exercise and its solution.

    Reads TFDS's rows, {question, answer}, and the Hub's, whose texts are written "b'...\n'".
    """
    return {name: _from_bytes_literal(row[name]) for name in ("question", "answer")}


def detokenised(text: str) -> str:
    r"""Text of which some parts are tokenised, as it is usually written; the rest stays as it is.

    >>> detokenised('The poet \'s " no " ( or was it \'t Zuid ? ) .')
    'The poet\'s "no" (or was it \'t Zuid?).'
    """
    if "``" in text:
        text = text.replace("``", '"').replace("''", '"')
    text = _SPACED_QUOTATION.sub(r'\1"\2"', text)
    for pattern, repair in _REPAIRS:
        text = pattern.sub(repair, text)
    return text.strip()


def _texts(answers: Any, key: str = "text") -> list[str]:
    """The texts of answers in any of the shapes {text: [...]}, [{text: ...}] and [text]."""
    if isinstance(answers, Mapping):
        return list(answers[key])
    return [each[key] if isinstance(each, Mapping) else each for each in answers]


def _distinct(texts: Iterable[str]) -> list[str]:
    """The texts that are not empty, each once, in order."""
    return list(dict.fromkeys(text.strip() for text in texts if text.strip()))


def _numbered(texts: Iterable[str]) -> str:
    """The texts, each with its number and on a line of its own."""
    return numbered([" ".join(text.split()) for text in texts])


def _drop_answer(text: str) -> str:
    match = _DROP_DATE.fullmatch(text.strip())
    if not match:
        return _unescaped(text)
    year, month, day = match.groups()
    return " ".join(part for part in (day, month, year) if part)


def _unescaped(text: str) -> str:
    """Text without HTML's entities, with plain and single spaces."""
    return squeeze(html.unescape(text))


def _unquoted(text: str) -> str:
    """The text of a CSV file's cell that is quoted; any other text as it is."""
    text = text.strip()
    if _QUOTED_CELL.fullmatch(text) and '""' in text[1:-1]:
        return text[1:-1].replace('""', '"')
    return text


def _from_bytes_literal(text: str) -> str:
    text = text.strip()
    return ast.literal_eval(text).decode() if _BYTES_LITERAL.fullmatch(text) else text


def _yes_or_no(answer: Any) -> int:
    """0 or 1 for a truth value in any of the ways in which it is written."""
    meaning = {"false": 0, "0": 0, "no": 0, "true": 1, "1": 1, "yes": 1}
    text = str(answer).strip().lower()
    if text not in meaning:
        raise ValueError(f"{answer!r} is neither true nor false")
    return meaning[text]
