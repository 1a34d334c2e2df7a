"""The tokenizer of a T5 model as files for `transformers`, from its SentencePiece model."""

import json
import pathlib
import shutil

from t5x.errors import T5XError

_SPECIAL = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}

_EXTRA_IDS = 100
_NORMALIZER = b"nmt_nfkc"  # Its name stands in the file.


def write(
    folder: pathlib.Path, vocabulary: pathlib.Path, *, extra_ids: int | None, length: int
) -> None:
    """Writes `spiece.model`, `tokenizer_config.json` and `special_tokens_map.json`.

    Args:
        folder: where to; it exists.
        vocabulary: a SentencePiece model whose first pieces are padding, end and unknown, as T5's.
        extra_ids: how many sentinels `<extra_id_0>` … follow its pieces, the last of them first;
            None for T5's 100, or for 0 if they are among its pieces, as in mT5's.
        length: the length of inputs beyond which `transformers` warns.

    Raises:
        T5XError: there is no such file, or `transformers` would tokenize by other rules.
    """
    if not vocabulary.is_file():
        raise T5XError(
            "there is no such file",
            where=str(vocabulary),
            remedy="Give the SentencePiece model (.model) that the model was trained with.",
        )
    contents = vocabulary.read_bytes()
    if _NORMALIZER not in contents:
        raise T5XError(
            "it doesn't normalize text as T5's vocabularies do, and the tokenizer of transformers "
            "does nothing else: it would give other tokens",
            where=str(vocabulary),
            remedy="Convert without it, and tokenize with sentencepiece.",
        )
    if extra_ids is None:
        extra_ids = 0 if b"<extra_id_0>" in contents else _EXTRA_IDS
    sentinels = [f"<extra_id_{number}>" for number in range(extra_ids)]
    special = {**_SPECIAL, "additional_special_tokens": sentinels}
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": extra_ids, "model_max_length": length}
    shutil.copyfile(vocabulary, folder / "spiece.model")
    _write(folder / "special_tokens_map.json", special)
    _write(folder / "tokenizer_config.json", config | special)


def _write(file: pathlib.Path, contents: dict) -> None:
    file.write_text(json.dumps(contents, indent=2) + "\n")
