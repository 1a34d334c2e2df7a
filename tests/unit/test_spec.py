"""Templates, variants and split instructions."""

import itertools

import pytest
from example_dataset import dataset

from flan_tasks import splits
from flan_tasks.spec import Answer, Template, Variant, slots


def test_slots_in_order_of_appearance_and_literal_braces_are_none():
    assert slots("{b} {{literal}} {a}{b}") == ("b", "a", "b")


@pytest.mark.parametrize("text", ["{a", "a}", "{0}", "{}", "{a!r}", "{a:>4}", "{a.b}"])
def test_a_slot_that_is_no_plain_name_is_refused(text):
    with pytest.raises(ValueError):
        slots(text)


def test_the_optional_part_stays_or_falls_away_with_its_marks():
    template = Template("0", "a[[ b\n{options}]] c[[!]]", "{answer}", preamble="[[Pick.]] Go.")
    assert template.with_options().input == "a b\n{options} c!"
    assert template.without_options().input == "a c"
    assert template.without_options().preamble == " Go."


def test_variant_names_and_settings_go_both_ways():
    for setting in ("zs_opt", "zs_noopt", "fs_opt", "fs_noopt"):
        for inverted in (False, True):
            variant = Variant.of_setting(setting, inverted=inverted)
            assert variant.setting == setting
            assert variant.name == ("inverted_" if inverted else "") + setting


def test_only_datasets_with_inverted_templates_have_inverted_variants():
    inverted = (Template("0", "{answer}", "{question}"),)
    assert not any(variant.inverted for variant in dataset().variants)
    assert {variant.name for variant in dataset(collection="cot", inverted=inverted).variants} == {
        "zs_opt",
        "fs_opt",
        "inverted_zs_opt",
        "inverted_fs_opt",
    }


def test_templates_of_a_variant_have_options_only_where_the_answer_does():
    with_options, without = Variant.of_setting("zs_opt"), Variant.of_setting("zs_noopt")
    assert "{options}" in dataset().templates_of(with_options)[0].input
    assert "{options}" not in dataset().templates_of(without)[0].input
    open_answer = dataset(answer=Answer(text="words"))
    assert "{options}" not in open_answer.templates_of(with_options)[0].input


@pytest.mark.parametrize(
    ("instruction", "rows"),
    [
        ("train", range(0, 10)),
        ("train[:-3]", range(0, 7)),
        ("train[-3:]", range(7, 10)),
        ("train[2:5]", range(2, 5)),
        ("train[:25%]", range(0, 2)),  # 2.5 rounds to the even neighbour
        ("train[-20%:]", range(8, 10)),
        ("train[8:99]", range(8, 10)),
        ("train[-99:2]", range(0, 2)),
        ("train[7:3]", range(7, 7)),
        ("train[0:0]", range(0, 0)),
    ],
)
def test_slices_take_the_rows_that_the_syntax_says(instruction, rows):
    (part,) = splits.parse(instruction)
    assert list(part.range(10)) == list(rows)


def test_complementary_slices_part_the_rows():
    for size in (0, 1, 7, 200, 201):
        for cut in ("-200", "30%", "5"):
            first, rest = splits.parse(f"train[:{cut}]")[0], splits.parse(f"train[{cut}:]")[0]
            assert [*first.range(size), *rest.range(size)] == list(range(size))


def test_a_sum_of_slices_keeps_its_order():
    parts = splits.parse("test + train[:5]")
    assert [part.raw_split for part in parts] == ["test", "train"]


def test_rows_are_cut_as_the_slice_says_and_read_once_if_that_will_do():
    bounds = ["", "0", "2", "9", "-2", "-9", "30%", "-30%"]
    for start, stop, size in itertools.product(bounds, bounds, (0, 1, 5, 12)):
        (part,) = splits.parse(f"train[{start}:{stop}]")
        passes = []
        rows = list(part.cut(lambda: passes.append(1) or iter(range(size))))  # noqa: B023
        assert rows == list(part.range(size)), (start, stop, size)
        needs_count = "%" in start + stop or ("-" in start and stop.isdecimal())
        assert len(passes) == 1 + needs_count, (start, stop)


@pytest.mark.parametrize(
    "instruction", ["", "train[", "train[5]", "train[:5k]", "train+", "train[:101%]", "1st"]
)
def test_what_is_no_split_is_refused(instruction):
    with pytest.raises(ValueError):
        splits.parse(instruction)
