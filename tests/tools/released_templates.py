"""A release of templates in the form of google-research/FLAN's, with wording of its own.

`write` lays out the checkout; `prompt` says what a template of it comes to, by running the code
that the importer only reads, and by putting prompts together as the release does.
"""

import re
import types

TEMPLATES = r"""
import copy
import dataclasses

from flan.v2 import flan_templates_branched as flan_templates

raise SystemExit("nobody may run this")

LEAD = "Guess the riddle. "

PATTERNS = {
    "rte": [
        ("Reading: {premise}\nClaim: {hypothesis}\n\n{options_}", "{answer}"),
        ("{options_}\n{premise} Hence {hypothesis}?", "It is {answer}."),
        ("Make up a reading and a claim.", "{premise}\n" "{hypothesis}"),
        ("{premise} So {hypothesis} {options_}", "{answer}"),
    ],
    "trec": [
        ("Of which kind? {text}\n{options_}", "{answer}"),
        ("{ literal } [[{text}]] } {options_}", "{answer}"),
        ("{answer}: ask such a question. {options_}", "{text}"),
        ("{text}", "{options_} and {answer}"),
    ],
    "trivia_qa": [
        (LEAD + "{question}", "{answer}"),
        ("Which riddle has the solution {answer}?\n", "{question}"),
    ],
    "arc": [("{question}\n{options_}", "{answer}")],
    "cot_gsm8k": [("Sum: {question}", "{chain_of_thought} = {answer}")],
    "any_input_inversion": [("{answer} because {chain_of_thought}", "{question}")],
    "natinst_v2": [("{Definition}\n\n{input}", "{output}")],
    "riddles": [("{riddle}", "{answer}")],
}
PATTERNS["cot_input_inversion_gsm8k"] = PATTERNS["any_input_inversion"]

PATTERNS_NO_OPTIONS = copy.deepcopy(PATTERNS)
PATTERNS_NO_OPTIONS.update(flan_templates.PATTERNS)
for name, pairs in PATTERNS_NO_OPTIONS.items():
    for i, (asked, wanted) in enumerate(pairs):
        asked = asked.replace("\n\n{options_}", "").replace("\n{options_}", "")
        PATTERNS_NO_OPTIONS[name][i] = (asked.replace("{options_}", ""), wanted)


@dataclasses.dataclass
class FewShotPattern:
    inputs: str
    targets: str
    inputs_prefix: str = ""
    targets_prefix: str = ""
    x_y_delimiter: str = "\n\n"
    example_separator: str = "\n\n\n"
    final_suffix: str = ""
    input_pattern: str = "{{inputs}}{final_suffix}"
    in_template_mix: bool = True


FEWSHOT_PATTERNS = {
    "rte": [
        FewShotPattern(
            inputs="{premise}\n{hypothesis} ({options_})",
            targets=" {answer} ",
            inputs_prefix="Text: ",
            targets_prefix="Verdict:   ",
            x_y_delimiter="\n--\n",
            example_separator="\n==\n"),
        FewShotPattern(inputs="Invent two sentences.", targets="{premise}\n{hypothesis}"),
    ],
    "trec": [
        FewShotPattern(inputs="{text}\n{options_}", targets="[[{answer}]]", in_template_mix=False),
        FewShotPattern(inputs="Kind of this? {text}", targets="{answer}"),
    ],
    "trivia_qa": [
        FewShotPattern(inputs="{question}", targets="{answer}", targets_prefix="It's\n \n"),
        FewShotPattern(inputs="{answer}", targets="{question}", x_y_delimiter=" <= "),
    ],
    "arc": [FewShotPattern(inputs="{question} | {options_}", targets="{answer}")],
    "cot_gsm8k": [FewShotPattern(inputs="{question}", targets="{chain_of_thought}\n{answer}")],
    "cot_input_inversion_gsm8k": [FewShotPattern(inputs="{chain_of_thought}", targets="{answer}")],
    "natinst_v2": [
        FewShotPattern(
            input_pattern="Order: {{Definition}}\n--\n{{inputs}}{final_suffix}",
            inputs="Given {input}",
            targets="{output}",
            targets_prefix="Made ",
            x_y_delimiter="\n")
    ],
}

FEWSHOT_PATTERNS_NO_OPTIONS = copy.deepcopy(FEWSHOT_PATTERNS)
for name, patterns in FEWSHOT_PATTERNS_NO_OPTIONS.items():
    for i, pattern in enumerate(patterns):
        asked = pattern.inputs.replace("\n{options_}", "")
        asked = asked.replace(" ({options_})", "")
        pattern.inputs = asked.replace(" | {options_}", "")

LETTERS = [chr(65 + number) for number in range(26)]
"""
BRANCHED = r"""
PATTERNS = {
    "rte": [
        ("{premise}\nDo we know that {hypothesis}?\n{options_}", "{answer}"),
        ("{options_}Is it so? {premise} / {hypothesis}", "{answer}"),
    ],
    "arc": [("{question}\n{options_}", "{answer}")],
}
"""
_PARTS = ("inputs_prefix", "inputs", "x_y_delimiter", "targets_prefix")


def write(folder, templates=TEMPLATES, branched=BRANCHED):
    """The folder of a checkout with these files."""
    (folder / "flan" / "v2").mkdir(parents=True)
    (folder / "flan" / "v2" / "templates.py").write_text(templates, "utf-8")
    (folder / "flan" / "v2" / "flan_templates_branched.py").write_text(branched, "utf-8")
    return folder


def run():
    """What the two files define, as the release has it after running them."""
    branched, templates = {"__name__": __name__}, {"__name__": __name__}
    exec(BRANCHED, branched)
    templates["flan_templates"] = types.SimpleNamespace(PATTERNS=branched["PATTERNS"])
    exec(re.sub(r"^(from flan|raise).*$", "", TEMPLATES, flags=re.MULTILINE), templates)
    return templates


def prompt(template, asked, shots):
    """Inputs and targets that a template of the release makes of fields.

    Args:
      template: a pair, or a FewShotPattern.
      asked: field -> text.
      shots: the same of each exemplar, in order.
    """
    if isinstance(template, tuple):
        return tuple(_fill(part, asked) for part in template)
    question = "".join(getattr(template, part) for part in _PARTS)
    example = question + template.targets + template.example_separator
    whole = "".join(_fill(example, shot) for shot in shots) + _fill(question, asked)
    above = template.input_pattern.format(final_suffix=template.final_suffix)
    inputs = _fill(above, {**asked, "inputs": whole.rstrip(" ")})
    return inputs, _fill(template.targets, asked).strip()


def _fill(text, fields):
    """The text with fields in the place of {names}; nothing else in it is special."""
    return re.sub(r"\{(\w*)\}", lambda slot: fields[slot[1]], text)
