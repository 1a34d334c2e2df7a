"""xP3: a dataset for each of its languages."""

import pytest

from flan_tasks import catalog

XP3 = [dataset for dataset in catalog.load().values() if dataset.family == "xp3"]


def test_there_are_all_languages_and_all_prompts_of_the_release():
    assert len(XP3) == 46
    # The sum that stands under the table of sizes in the dataset's card.
    assert sum(dataset.num_examples["train"] for dataset in XP3) == 78_883_588


def test_a_dataset_is_a_language_beside_the_english_of_the_prompts():
    of_language = {dataset.languages: dataset.name for dataset in XP3 if len(dataset.languages) > 1}
    assert of_language["French", "English"] == "xp3_fr"
    assert of_language["Swahili", "English"] == "xp3_sw"
    assert len(of_language) == 44
    only_english = {dataset.name for dataset in XP3 if dataset.languages == ("English",)}
    assert only_english == {"xp3_en", "xp3_code"}


@pytest.mark.parametrize("dataset", XP3[::9], ids=lambda dataset: dataset.name)
def test_a_language_has_its_own_file_on_disk_and_on_the_hub(dataset):
    code = dataset.name.removeprefix("xp3_")
    assert dataset.source.hub_files == {"train": f"{code}/merged_{code}.jsonl"}
    assert dataset.source.files == {"train": f"xp3/{code}/merged_{code}.jsonl"}


def test_there_is_no_setting_without_options():
    assert [variant.name for variant in XP3[0].variants] == ["zs_opt", "fs_opt"]
