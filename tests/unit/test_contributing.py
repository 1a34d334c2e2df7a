"""The card that CONTRIBUTING.md shows is all that a dataset takes."""

import json
import pathlib
import re

import numpy as np

from flan_tasks import cards, prompts, sources
from flan_tasks.variants import VariantPipeline

GUIDE = pathlib.Path(__file__).parents[2] / "CONTRIBUTING.md"


def test_one_file_is_a_dataset(tmp_path, monkeypatch):
    [card] = re.findall(r"```toml\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "weather_moods.toml").write_text(card, "utf-8")
    [dataset] = cards.load_card(tmp_path / "weather_moods.toml")
    assert [variant.name for variant in dataset.variants] == [
        *("zs_opt", "zs_noopt", "fs_opt", "fs_noopt")
    ]

    published = tmp_path / "weather_moods" / "train.jsonl"
    published.parent.mkdir()
    lines = [{"report": f"{n} drops of rain.", "mood": n % 2} for n in range(1200)]
    published.write_text("\n".join(map(json.dumps, lines)))
    settings = sources.settings(
        data_dir=str(tmp_path), use="files", store_dir=str(tmp_path / "store")
    )
    monkeypatch.setattr(sources, "settings", lambda: settings)
    monkeypatch.setenv("FLAN_VOCABULARY", "small")
    stream = prompts.PromptStream(
        [VariantPipeline(dataset, variant) for variant in dataset.variants],
        None,
        split="train",
        shuffle=True,
        seed=0,
        lengths=prompts.Lengths(512, 64),
        num_epochs=1,
        prepare_missing=True,
    )
    assert stream.num_positions == 4 * 1100
    made = stream.examples(np.arange(200))
    assert None not in made
    for example in made:
        assert ("gloomy" in example.inputs_pretokenized) >= bool(example.style)
        assert example.targets_pretokenized
