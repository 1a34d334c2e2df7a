import pytest

from flan_tasks.clean import Drop, dialog


def wiki(texts: list[str], authors: list[int], pid: str = "p0") -> dict:
    return {"title": "Moon", "pid": pid, "utterances": texts, "author_num": authors}


def taskmaster(*said: tuple[str, str], name: str = "dlg-1", **columns: str) -> dict:
    utterances = [{"speaker": speaker, "text": text} for speaker, text in said]
    return {"conversation_id": name, "utterances": utterances, **columns}


ERRAND = [
    (speaker, f"{speaker} {number}") for number in range(6) for speaker in ("user", "assistant")
]


# Where a conversation is split


@pytest.mark.parametrize("name", [f"dlg-{number}" for number in range(20)])
def test_the_answer_is_the_assistants_and_follows_on_the_dialog(name):
    fields = dialog.task_master(taskmaster(*ERRAND, name=name))
    turns = [*fields["dialog"], fields["answer"]]
    assert turns == [text for _, text in ERRAND[: len(turns)]]
    assert fields["dialog"][-1].startswith("user") and fields["answer"].startswith("assistant")


def test_conversations_are_split_early_and_late_alike():
    lengths = [
        len(dialog.task_master(taskmaster(*ERRAND, name=f"dlg-{number}"))["dialog"])
        for number in range(600)
    ]
    assert set(lengths) == {1, 3, 5, 7, 9, 11}
    assert all(70 < lengths.count(length) < 130 for length in set(lengths))


def test_a_conversation_is_split_at_the_same_place_in_every_process():
    # What these ids draw is a fact of BLAKE2: prepared rows must not change between releases.
    lengths = [
        len(dialog.task_master(taskmaster(*ERRAND, name=f"dlg-{number}"))["dialog"])
        for number in range(8)
    ]
    assert lengths == [3, 5, 5, 5, 1, 9, 3, 5]


def test_what_is_said_in_several_utterances_is_one_turn():
    row = taskmaster(
        ("ASSISTANT", "Hello."),
        ("USER", " I need\na ride. "),
        ("USER", ""),
        ("USER", "Now."),
        ("ASSISTANT", "Let me look."),
        ("ASSISTANT", "A car comes."),
    )
    fields = dialog.task_master(row)
    assert fields["dialog"] == ["Hello.", "I need a ride. Now."]
    assert fields["answer"] == "Let me look. A car comes."


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([], "fewer than two turns"),
        ([("user", "Hello?"), ("user", "Anyone?")], "fewer than two turns"),
        ([("assistant", "Hello?"), ("user", ""), ("assistant", "Hm.")], "fewer than two turns"),
        ([("assistant", "Hello!"), ("user", "Bye.")], "nothing is replied"),
        ([("user", "Hello!"), ("crowd", "Hi."), ("assistant", "Hm.")], "unknown speaker"),
    ],
)
def test_conversations_without_a_reply_are_dropped(said, reason):
    with pytest.raises(Drop, match=reason):
        dialog.task_master(taskmaster(*said))


# Topics


@pytest.mark.parametrize(
    ("columns", "topic"),
    [
        ({"vertical": "Movie Tickets", "instruction_id": "movie-1"}, "movie tickets"),
        ({"instruction_id": "restaurant-table-2"}, "restaurant table"),
        ({"instruction_id": "movie-24e"}, "movie"),
        ({"instruction_id": "auto-repair-appt-1"}, "auto repair appointments"),
        ({"instruction_id": "uber_lyft-2"}, "rides with Uber and Lyft"),
        ({"instruction_id": "nba-4"}, "NBA basketball"),
        ({}, ""),
    ],
)
def test_the_topic_is_told_from_whatever_a_release_says(columns, topic):
    assert dialog.task_master(taskmaster(*ERRAND, **columns))["topic"] == topic


# WikiDialog


def test_a_passages_sentences_answer_and_its_reader_asks():
    texts = ["Hello!", "How far is it?", "384,000 km.", "Has it air?", "Hardly any."]
    fields = [dialog.wiki_dialog(wiki(texts, [0, 1, 0, 1, 0], f"p{n}")) for n in range(20)]
    assert {row["answer"] for row in fields} == {"384,000 km.", "Hardly any."}
    assert all(row["dialog"] == texts[: texts.index(row["answer"])] for row in fields)
    assert all(row["title"] == "Moon" for row in fields)


@pytest.mark.parametrize(
    ("texts", "authors", "reason"),
    [
        (["Hello."], [0], "fewer than two turns"),
        ([], [], "fewer than two turns"),
        (["Hello.", "Hi."], [0], "turns without an author"),
        (["Hello.", "Hi.", "Who?"], [0, 1, 2], "more than two speakers"),
    ],
)
def test_damaged_wiki_dialogs_are_dropped(texts, authors, reason):
    with pytest.raises(Drop, match=reason):
        dialog.wiki_dialog(wiki(texts, authors))


# QReCC


QRECC = {
    "context": ["Who wrote Emma?", "Jane Austen."],
    "question": "when was she  born",
    "question_rewrite": "When was Jane Austen born?",
    "answer": "In 1775.",
}


def test_qrecc_is_read_as_tfds_has_it_and_as_published():
    published = {
        "Context": QRECC["context"],
        "Question": QRECC["question"],
        "Rewrite": QRECC["question_rewrite"],
        "Answer": QRECC["answer"],
        "Turn_no": 2,
    }
    fields = dialog.qrecc(QRECC)
    assert fields == dialog.qrecc(published)
    assert fields == {
        "dialog": ["Who wrote Emma?", "Jane Austen.", "when was she born"],
        "rewrite": "When was Jane Austen born?",
        "answer": "In 1775.",
    }


def test_an_unanswered_question_and_the_next_one_are_one_turn():
    context = ["Who wrote Emma?", "Jane Austen.", "Why?", ""]
    fields = dialog.qrecc({**QRECC, "context": context})
    assert fields["dialog"] == ["Who wrote Emma?", "Jane Austen.", "Why? when was she born"]


def test_a_question_that_stands_alone_is_not_rewritten():
    row = {**QRECC, "context": [], "question": "Who wrote  Emma?"}
    fields = dialog.qrecc({**row, "question_rewrite": "Who wrote Emma?"})
    assert fields["dialog"] == ["Who wrote Emma?"] and fields["rewrite"] == ""


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"context": ["Who wrote Emma?"]}, "a turn is missing"),
        ({"question": " "}, "no question"),
        ({"question": "", "context": []}, "no question"),
    ],
)
def test_damaged_qrecc_rows_are_dropped(changed, reason):
    with pytest.raises(Drop, match=reason):
        dialog.qrecc({**QRECC, **changed})
