"""Cards: what they say becomes a Dataset, and every fault in them is named."""

import time

import pytest

from flan_tasks import catalog
from flan_tasks.errors import CardError

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
TEMPLATES = "\n".join(
    f'[[template]]\ninput = "{number}: {{question}}[[ {{options}}]]"\ntarget = "{{answer}}"'
    for number in NUMBERS
)
CARD = f"""
collection = "flan2021"
kind = "question answering"
homepage = "https://example.org"
license = "CC BY 4.0"
citation = "Nobody, 2020"
[source]
files = {{ train = "weather/train.jsonl" }}
[splits]
train = "train[:-2]"
validation = "train[-2:]"
[num_examples]
train = 8
validation = 2
[fields]
question = "q"
label = "a"
[answer]
label = "label"
options = ["no", "yes"]
[metrics]
names = ["accuracy"]
{TEMPLATES}
"""


def write(folder, text, name="weather"):
    path = folder / "datasets" / f"{name}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def write_table(folder, *rows):
    table = folder / "tables" / "weather.tsv"
    table.parent.mkdir()
    table.write_text("\n".join("\t".join(row) for row in rows) + "\n", "utf-8")


def test_a_card_becomes_a_dataset(tmp_path):
    (dataset,) = catalog.load_card(write(tmp_path, CARD))
    assert dataset.name == dataset.family == "weather"
    assert dataset.source.files == {"train": "weather/train.jsonl"}
    assert dataset.answer.options == ("no", "yes")
    assert [template.id for template in dataset.templates] == [str(i) for i in range(10)]
    assert dataset.languages == ("English",)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("license =", "lisence =", "unknown key 'lisence'.*Did you mean 'license'"),
        ('kind = "question answering"', "", "key 'kind' is missing"),
        ('kind = "question answering"', "kind = 3", "kind is 3, not a string"),
        ("train = 8", "train = 0", "num_examples is .*, not a table of whole numbers"),
        ("train = 8", "train = true", "num_examples is"),
        ("train = 8", "", "'train' has no number of examples"),
        ("validation = 2", "validation = 2\ntest = 3", "'test' is no split"),
        ("files = {", "file = {", r"\[source\]: unknown key 'file'.*Did you mean 'files'"),
        ('files = { train = "weather/train.jsonl" }', "", "no place to read from"),
        ("[splits]", 'tfds = "weather"\n[splits]', "no TFDS name with a version"),
        ("[splits]", 'hub = "weather"\n[splits]', "no name on the Hub"),
        ("flan2021", "flan2020", "unknown collection 'flan2020'"),
        ("train[:-2]", "train[:-2", r"\[splits\] train: .*is not a split"),
        ('question = "q"', 'question = ""', r"\[fields\] question: no column"),
        ('question = "q"', 'answer = "q"', "slot of the answer hides this field"),
        ('label = "label"', 'label = "lable"', "there is no field 'lable'"),
        ('options = ["no", "yes"]', "", "a label takes one of options and options_from"),
        ('label = "label"', 'text = "question"', "there are options, but no label"),
        ('label = "label"', 'label = "label"\ntext = "question"', "one of text and label"),
        ("one: {question}", "one: {questoin}", "{questoin} is no slot.*question"),
        ("one: {question}", "one: {question", "0 input: unexpected '{'.*literal braces"),
        ("one: {question}", "one: {question!r}", "not a plain name"),
        ("one: {question}", "one: {question} {answer}", "{answer} gives the answer away"),
        ("one: {question}[[ {options}]]", "one: {question} {options}", "outside the optional part"),
        ("one: {question}[[", "one: {question}[[ [[", "do not pair up"),
        ("one: {question}", "TWO, {question}", r"\[\[template\]\] 1.*reads like template 0"),
        ("[[template]]", '[[template]]\nid = "1"', r"the id '1' is taken"),
        ('target = "{answer}"', 'target = "yes"', "holds no slot"),
        ('kind = "question answering"', 'kind = "a"\nclean = "qa.booq"', "has no function 'booq'"),
        ('kind = "question answering"', 'kind = "a"\nclean = "qaa.bool_q"', "there is no module"),
        ('kind = "question answering"', 'kind = "a"\ntemplates = "x"', "stands beside templates"),
        ('kind = "question answering"', 'kind = "a"\ntable = "x"', "there is no file .*x.tsv"),
        ('kind = "question answering"', "kind = question", "not TOML"),
    ],
)
def test_every_fault_is_named_with_file_and_key(tmp_path, old, new, says):
    assert old in CARD
    path = write(tmp_path, CARD.replace(old, new, 1))
    with pytest.raises(CardError, match=f"(?s)weather.toml.*{says}"):
        catalog.load_card(path)


def test_fewer_than_ten_templates_are_too_few(tmp_path):
    text = CARD.rpartition("[[template]]")[0]
    with pytest.raises(CardError, match="9 templates; it takes at least 10"):
        catalog.load_card(write(tmp_path, text))


def test_inverted_templates_may_hold_the_answer(tmp_path):
    inverted = '\n[[inverted]]\ninput = "{answer}"\ntarget = "{question}"'
    (dataset,) = catalog.load_card(write(tmp_path, CARD + inverted))
    assert len(dataset.inverted) == 1


def test_a_shared_template_list_is_taken_by_name(tmp_path):
    lists = tmp_path / "templates"
    lists.mkdir()
    (lists / "common.toml").write_text(TEMPLATES, "utf-8")
    text = 'templates = "common"\n' + CARD.replace(TEMPLATES, "")
    (dataset,) = catalog.load_card(write(tmp_path, text))
    assert len(dataset.templates) == 10
    (lists / "common.toml").write_text(TEMPLATES.replace("target", "traget", 1), "utf-8")
    with pytest.raises(CardError, match=r"common.toml \[\[template\]\] 0: unknown key 'traget'"):
        catalog.load_card(tmp_path / "datasets" / "weather.toml")


TABLE_CARD = 'table = "weather"\n' + CARD.replace(
    "weather/train.jsonl", "weather/{task_name}.jsonl"
).replace("one: {question}", "{region}: {question}")


def test_a_table_makes_a_dataset_of_each_row(tmp_path):
    header = ("task_name", "region", "license", "languages", "train", "validation")
    write_table(
        tmp_path,
        header,
        ("rain", "north", "MIT", "English, Finnish", "80", "20"),
        ("snow", "south", "", "", "", ""),
    )
    rain, snow = catalog.load_card(write(tmp_path, TABLE_CARD))
    assert (rain.name, rain.family, rain.license) == ("weather_rain", "weather", "MIT")
    assert rain.languages == ("English", "Finnish")
    assert rain.num_examples == {"train": 80, "validation": 20}
    assert rain.source.files == {"train": "weather/rain.jsonl"}
    assert rain.constants["region"] == "north"
    assert snow.license == "CC BY 4.0" and snow.num_examples == {"train": 8, "validation": 2}


def test_a_tables_row_says_which_splits_it_has(tmp_path):
    rows = [("rain", "north", "dev[:10]"), ("snow", "south", "")]
    write_table(tmp_path, ("task_name", "region", "held_out"), *rows)
    text = TABLE_CARD.replace('validation = "train[-2:]"', 'validation = "{held_out}"')
    text = text.replace("validation = 2", "")
    rain, snow = catalog.load_card(write(tmp_path, text))
    assert (rain.splits["validation"], list(snow.splits)) == ("dev[:10]", ["train"])
    with pytest.raises(CardError, match=r"\[splits\] asks for column 'nowhere'"):
        catalog.load_card(write(tmp_path, text.replace("{held_out}", "{nowhere}")))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("name", "region"), ("rain", "north")], "line 1: there is no column 'task_name'"),
        ([("task_name", "region"), ("rain",)], "line 2: 1 cells under 2 headings"),
        ([("task_name", "region")], "no row under the header"),
        ([("task_name", "region", "train"), ("rain", "north", "many")], "not a number of examples"),
        ([("task_name", "region"), ("ra in", "north")], "cannot be a task's name"),
        ([("task_name", "place"), ("rain", "north")], "{region} is no slot"),
        ([("task_name", "region", "question"), ("a", "b", "c")], "has a column of this name"),
    ],
)
def test_faults_of_a_table_are_named(tmp_path, rows, says):
    write_table(tmp_path, *rows)
    with pytest.raises(CardError, match=says):
        catalog.load_card(write(tmp_path, TABLE_CARD))


def test_a_source_that_asks_for_a_column_that_is_not_there(tmp_path):
    write_table(tmp_path, ("task_name", "region"), ("rain", "north"))
    card = TABLE_CARD.replace("weather/{task_name}", "weather/{nation}")
    with pytest.raises(CardError, match="asks for column 'nation'"):
        catalog.load_card(write(tmp_path, card))


def test_thousands_of_rows_load_in_well_under_a_second(tmp_path):
    rows = [(f"task{number}", "north", "10", "2") for number in range(3_000)]
    write_table(tmp_path, ("task_name", "region", "train", "validation"), *rows)
    path = write(tmp_path, TABLE_CARD)
    start = time.perf_counter()
    assert len(catalog.load_card(path)) == 3_000
    assert time.perf_counter() - start < 1


def test_the_same_name_in_two_cards_is_refused(tmp_path, monkeypatch):
    write_table(tmp_path, ("task_name", "region"), ("rain", "north"))
    write(tmp_path, TABLE_CARD)
    write(tmp_path, CARD, name="weather_rain")
    monkeypatch.setattr(catalog, "_CARDS", tmp_path / "datasets")
    with pytest.raises(CardError, match="'weather_rain' is there twice"):
        catalog.load.__wrapped__()


def test_every_card_of_the_package_loads_and_is_found_by_name():
    datasets = catalog.load()
    assert datasets and list(datasets) == sorted(datasets)
    assert all(catalog.get(name).name == name for name in datasets)


def test_an_unknown_name_is_refused_with_near_ones():
    name = next(iter(catalog.load()))
    with pytest.raises(CardError, match=f"Did you mean.*{name}"):
        catalog.get(name + "x")
