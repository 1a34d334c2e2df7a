"""Reasoning: a question, its answer and the steps that lead there.

Each dataset's function reads the rows of its chain-of-thought TSV, {question, answer,
chain_of_thought}, and those of the dataset's own release. `tools/build_cot.py` makes the first of
the second.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flan_tasks.clean import Drop, Fields
from flan_tasks.clean.running_text import squeeze, untokenize

Row = Mapping[str, Any]

# GSM8K marks what a calculator worked out: "48/2 = <<48/2=24>>24".
_CALCULATION = re.compile(r"<<.*?>>")
_FINAL_ANSWER_MARK = "####"

# A cell of a chain-of-thought TSV holds its line ends as a backslash and an n.
_LINE_END = re.compile(r"\\+n")
_UNFINISHED = re.compile(r"[\w)%][\"'”’]?$")

# e-SNLI's classes in the order of TFDS's and the Hub's integers: entailed, neutral, contradicted.
_FOLLOWS = ("yes", "it is not possible to tell", "no")
_NLI_LABELS = ("entailment", "neutral", "contradiction")
_TRUE = {"true": "yes", "false": "no"}

# An option of AQuA, "A)31 inches", and how its rationales end: "Answer: C", "C is the answer",
# "the correct option is C) 31 inches", or just "C" in the last line.
_LETTERED = re.compile(r"\s*([A-E])\s*\)\s*(.*)", re.DOTALL)
_VERDICT = re.compile(
    r"""(?:^|(?<=[\s.,;:!?()=>]))
    (?i:(?:so|hence|thus|therefore|and|our|the|correct|right|final|best|required)[\s,]+){0,5}
    (?:
      (?i:answer|ans|option|choice)\b
      (?:\s*(?i:is|will\ be|must\ be|answer|option|choice|[:=.,(-]))*
      \s*(?P<named>[A-E])\b (?:[).:]\s*[^\n]{0,60})?
    | (?i:(?:answer|option|choice)\s+)?\(?(?P<judged>[A-E])\)?
      \s+(?i:is\s+(?:the\s+)?(?:correct|right|best|answer|option|choice))[\w\s]{0,20}
    | (?<=\n)\(?(?P<alone>[A-E])\)?
    )
    [\s.)!"*]*$""",
    re.VERBOSE,
)


def explained(row: Row) -> Fields:
    """A question with its answer and rationale, from a row of a chain-of-thought TSV."""
    question, answer, steps = (
        _LINE_END.sub("\n", row[column]) for column in ("question", "answer", "chain_of_thought")
    )
    return _fields(question, answer, steps)


def aqua(row: Row) -> Fields:
    """A problem with lettered options; what the rationale says of the right letter is taken off.

    Reads the chain-of-thought TSV and the rows of AQuA's own JSON lines and of the Hub: {question,
    options, rationale, correct}.
    """
    if "chain_of_thought" in row:
        return explained(row)
    options = {found[1]: found[2] for found in map(_LETTERED.fullmatch, row["options"]) if found}
    if row["correct"] not in options:
        raise Drop("no answer")
    verdict = _VERDICT.search(row["rationale"])
    if verdict and row["correct"] not in verdict.group("named", "judged", "alone"):
        raise Drop("the rationale arrives at another option")
    listed = [f"({letter}) {text}" for letter, text in options.items()]
    steps = row["rationale"][: verdict.start()] if verdict else row["rationale"]
    return _fields("\n".join([row["question"], "Options:", *listed]), f"({row['correct']})", steps)


def creak(row: Row) -> Fields:
    """A claim to be judged, from the chain-of-thought TSV or from CREAK's own JSON lines."""
    if "chain_of_thought" in row:
        return explained(row)
    if row["label"] not in _TRUE:
        raise Drop("no label")
    claim = f'Claim: "{row["sentence"]}"\nIs this claim true?'
    question = _with_options(claim, ("yes", "no"))
    return _fields(question, _TRUE[row["label"]], row["explanation"])


def ecqa(row: Row) -> Fields:
    """A question of CommonsenseQA's, its right option and why that is right.

    Reads the chain-of-thought TSV and CommonsenseQA's own rows {question: {stem, choices},
    answerKey} with the `explanation` of the same id beside them: ECQA's is a text, CoS-E's is
    {"open-ended", "selected"}.
    """
    if "chain_of_thought" in row:
        return explained(row)
    options = {each["label"]: each["text"] for each in row["question"]["choices"]}
    if row.get("answerKey") not in options:
        raise Drop("no answer")
    explanation = row["explanation"]
    steps = explanation["open-ended"] if isinstance(explanation, Mapping) else explanation
    question = _with_options(row["question"]["stem"], options.values())
    return _fields(question, options[row["answerKey"]], _sentence(steps))


def esnli(row: Row) -> Fields:
    """Two sentences, whether one follows from the other, and the first explanation why.

    Reads the chain-of-thought TSV; TFDS's and the Hub's rows {premise, hypothesis, label,
    explanation_1}; the published CSV's {Sentence1, Sentence2, gold_label, Explanation_1}; and rows
    {s1, s2, labels, expl_1} of the published files of one tokenised text a line.
    """
    if "chain_of_thought" in row:
        return explained(row)
    if "s1" in row:
        premise, hypothesis = untokenize(row["s1"]), untokenize(row["s2"])
        label, steps = row["labels"], _sentence(untokenize(row["expl_1"]))
    elif "gold_label" in row:
        premise, hypothesis = row["Sentence1"], row["Sentence2"]
        label, steps = row["gold_label"], row["Explanation_1"]
    else:
        premise, hypothesis = row["premise"], row["hypothesis"]
        label, steps = row["label"], row["explanation_1"]
    if label in _NLI_LABELS:
        label = _NLI_LABELS.index(label)
    if label not in range(len(_FOLLOWS)):
        raise Drop("no label")
    if not (premise and hypothesis):
        raise Drop("a sentence is missing")
    sentences = f'Premise: "{premise}"\nHypothesis: "{hypothesis}"'
    asked = f"{sentences}\nIs the hypothesis true if the premise is?"
    return _fields(_with_options(asked, _FOLLOWS), _FOLLOWS[label], steps)


def gsm8k(row: Row) -> Fields:
    """A word problem; the chain of thought is free of calculator marks and of the final answer.

    Reads the chain-of-thought TSV and the published JSONL and TFDS rows, whose answer is
    "steps #### final answer".
    """
    if "chain_of_thought" in row:
        return explained(row)
    steps, mark, answer = row["answer"].partition(_FINAL_ANSWER_MARK)
    if not mark:
        raise Drop("no final answer")
    return _fields(row["question"], answer, _CALCULATION.sub("", steps))


def qasc(row: Row) -> Fields:
    """A question with lettered options, and two facts with what follows from them.

    Reads the chain-of-thought TSV and rows {question, choices, answerKey, fact1, fact2,
    combinedfact}: of the published JSON lines, where the choices are part of the question, and of
    TFDS and the Hub.
    """
    if "chain_of_thought" in row:
        return explained(row)
    if isinstance(row["question"], Mapping):
        stem = row["question"]["stem"]
        options = [(each["label"], each["text"]) for each in row["question"]["choices"]]
    else:
        stem = row["question"]
        options = list(zip(row["choices"]["label"], row["choices"]["text"], strict=True))
    if row.get("answerKey") not in dict(options):
        raise Drop("no answer")
    facts = [row.get(name) or "" for name in ("fact1", "fact2", "combinedfact")]
    question = _with_options(stem, [f"({letter}) {text}" for letter, text in options])
    return _fields(question, f"({row['answerKey']})", _sentences(facts))


def qed(row: Row) -> Fields:
    """A passage, a question and its answer; the sentence that holds it, and who is meant in it.

    Reads the chain-of-thought TSV, the published JSON lines and the Hub's rows, which write
    `question` for `question_text`. The texts are tokenised, the questions are not.
    """
    if "chain_of_thought" in row:
        return explained(row)
    notes = row["annotation"]
    if notes["explanation_type"] != "single_sentence":
        raise Drop("not explained by a single sentence")
    passage = f"{row['title_text']}\n\n{untokenize(row['paragraph_text'])}"
    question = row.get("question_text") or row["question"]
    answers = [untokenize(each["sentence_reference"]["string"]) for each in notes["answer"]]
    sentence = untokenize(notes["selected_sentence"]["string"])
    references = " ".join(filter(None, map(_reference, notes["referential_equalities"])))
    return _fields(
        f"{passage}\n\nGoing by this passage, {question.rstrip('?')}?",
        ", ".join(answers),
        f"The passage says: {sentence}\n{references}",
    )


def sensemaking(row: Row) -> Fields:
    """Two sentences, which of them makes no sense, and the first reason why.

    Reads the chain-of-thought TSV and ComVE's own CSV {Correct Statement, Incorrect Statement,
    Right Reason1, …}. The alphabet decides which sentence is A.
    """
    if "chain_of_thought" in row:
        return explained(row)
    wrong, right = row["Incorrect Statement"].strip(), row["Correct Statement"].strip()
    if not (wrong and right):
        raise Drop("a sentence is missing")
    if wrong == right:
        raise Drop("the sentences are the same")
    statements = sorted([wrong, right])
    listed = [f'Sentence {name}: "{text}"' for name, text in zip("AB", statements, strict=True)]
    return _fields(
        _with_options("Which of these two sentences makes no sense?", listed),
        f"Sentence {'AB'[statements.index(wrong)]}",
        _sentence(row["Right Reason1"]),
    )


def strategyqa(row: Row) -> Fields:
    """A question to be answered by yes or no, and the facts from which that follows.

    Reads the chain-of-thought TSV and StrategyQA's own JSON {question, answer, facts}.
    """
    if "chain_of_thought" in row:
        return explained(row)
    if not isinstance(row.get("answer"), bool):
        raise Drop("no answer")
    return _fields(row["question"], "yes" if row["answer"] else "no", _sentences(row["facts"]))


def _fields(question: str, answer: str, steps: str) -> Fields:
    """The three fields in running text; the steps end in a way that lets a sentence follow."""
    question, answer, steps = squeeze(question), squeeze(answer), squeeze(steps)
    if not steps:
        raise Drop("no chain of thought")
    return {"question": question, "answer": answer, "chain_of_thought": _ended(steps)}


def _reference(equality: Row) -> str:
    """How expressions of the sentence and of the question hang together; empty if they are one."""
    asked, said = equality["question_reference"]["string"], equality["sentence_reference"]
    expression = untokenize(said["string"])
    bridge = said["bridge"]  # a preposition; false in the published lines, null on the Hub: none
    if not bridge:
        if expression.casefold() == asked.casefold():
            return ""
        return f'"{expression}" is what the question calls "{asked}".'
    if not expression:
        return f'It is to be read with "{bridge} {asked}" in mind.'
    return f'"{expression}" is to be read as "{expression} {bridge} {asked}".'


def _with_options(question: str, options: Iterable[str]) -> str:
    """The question as the chain-of-thought TSVs write one: the answers in a list below it."""
    return "\n".join([question, "Options:", *(f"- {option}" for option in options)])


def _sentences(facts: Sequence[str]) -> str:
    """Facts one after the other, each as a sentence."""
    return " ".join(_sentence(fact) for fact in facts if fact.strip())


def _sentence(text: str) -> str:
    """Text with a capital at its start and a mark at its end."""
    text = text.strip()
    return _ended(text[:1].upper() + text[1:])


def _ended(text: str) -> str:
    """Text with a full stop, where it has no mark at its end: more is going to follow it."""
    return f"{text}." if _UNFINISHED.search(text) else text
