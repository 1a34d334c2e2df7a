"""Few-shot prompts that benchmarks publish as text: an instruction, then questions and answers.

    Any notice, a canary among them
    -----
    Infer the date from context.

    Q: Today is Christmas Eve of 1937. What is the date tomorrow?
    A: Let's think step by step.
    …

Neither the notice nor the instruction has to be there.
"""

import re
from collections.abc import Iterator

_RULE = re.compile(r"^-{3,}[ \t]*$", re.MULTILINE)
_QUESTION = re.compile(r"^(?:Q|Question):", re.MULTILINE)
_ANSWER = re.compile(r"^(?:A|Answer):", re.MULTILINE)


def exemplars(text: str) -> Iterator[dict[str, str]]:
    """The exemplars of a prompt, in order, as {instruction, question, answer}.

    Raises:
      ValueError: there is none, or a question has no answer.
    """
    text = text.replace("\r\n", "\n")
    start, *blocks = _QUESTION.split(text)
    if not blocks:
        raise ValueError('no line starts with "Q:"')
    instruction = _RULE.split(start)[-1].strip()
    for number, block in enumerate(blocks, start=1):
        question, *answer = _ANSWER.split(block, maxsplit=1)
        if not (question.strip() and answer and answer[0].strip()):
            raise ValueError(f'after question {number} no line starts with "A:"')
        yield {
            "instruction": instruction,
            "question": question.strip(),
            "answer": answer[0].strip(),
        }
