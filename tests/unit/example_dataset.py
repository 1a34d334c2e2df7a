"""A small dataset for tests to build on."""

from flan_tasks.spec import Answer, Dataset, Source, Template


def dataset(**changes) -> Dataset:
    values = {
        "name": "weather",
        "family": "weather",
        "collection": "flan2021",
        "kind": "question answering",
        "homepage": "",
        "license": "",
        "citation": "",
        "source": Source(),
        "splits": {"train": "train"},
        "num_examples": {"train": 8},
        "answer": Answer(label="label", options=("no", "yes")),
        "metrics": ("accuracy",),
        "templates": (Template("0", "{question}[[ {options}]]", "{answer}"),),
    }
    return Dataset(**{**values, **changes})
