"""The demo's knowledge base: its articles, what a search finds, and that tickets are neither lost nor doubled."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_agent.demo.knowledge import PRIORITIES, KnowledgeBase, Ticket, shipped_articles
from otel_agent.demo.questions import QUESTIONS, Question
from otel_agent.stop import InvalidSetting

THREADS = 16
SHIPPED = shipped_articles()
SMALL = {
    "apples": "# Growing apples\n\nApples need sun and a cold winter.",
    "pears": "# Growing pears\n\nPears ripen off the tree.\n\nThey keep for two weeks.",
}
HOSTILE = [
    '"',
    "'",
    '"unclosed',
    "refund'; DROP TABLE tickets; --",
    '" OR 1=1 --',
    "title:refund",
    "-refund",
    "refund*",
    "^refund",
    "refund AND",
    "NEAR(refund policy, 2)",
    "NOT",
    "AND OR NOT NEAR",
    "(((",
    "{slug title}: refund",
    "refund + policy",
    "a\0b",
    "\0",
    "%_?:@$#",
    "\ud800 refund",
    "\uff52\uff45\uff46\uff55\uff4e\uff44",
    "r\u0301e\u0301fund",
    "\u9000\u6b3e \u0432\u043e\u0437 \u03b1\u03c0 \U0001f4b8",
    "\u202erefund\u200b",
]


@pytest.fixture(scope="module")
def shipped() -> Iterator[KnowledgeBase]:
    with KnowledgeBase() as base:
        yield base


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "kb.sqlite"


def slugs(base: KnowledgeBase, query: str, limit: int = 3) -> list[str]:
    return [article.slug for article in base.search(query, limit)]


def raw(place: Path, sql: str) -> list[Any]:
    connection = sqlite3.connect(place)
    try:
        with connection:
            return connection.execute(sql).fetchall()
    finally:
        connection.close()


# The articles


def test_at_least_60_articles_ship(shipped: KnowledgeBase) -> None:
    assert len(shipped.articles()) == len(SHIPPED) >= 60


@pytest.mark.parametrize("slug", sorted(SHIPPED))
def test_an_article_has_a_title_and_a_text_of_its_own(slug: str) -> None:
    first, _, rest = SHIPPED[slug].partition("\n")
    assert first.startswith("# ")
    assert 60 <= len(rest.split()) <= 180
    assert [other for other in SHIPPED if SHIPPED[other].partition("\n")[0] == first] == [slug]


def test_every_article_is_found_by_the_words_of_its_title(shipped: KnowledgeBase) -> None:
    titles = {article.slug: article.title for article in shipped.articles()}
    assert [slug for slug, title in titles.items() if slug not in slugs(shipped, title)] == []


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.slugs[0])
def test_every_question_finds_its_articles_in_the_top_3(shipped: KnowledgeBase, question: Question) -> None:
    assert set(question.slugs) <= set(slugs(shipped, question.text))


def test_there_are_several_questions_about_different_articles() -> None:
    assert len({question.slugs for question in QUESTIONS}) == len(QUESTIONS) >= 8


# Searching


def test_a_search_gives_whole_articles_ranked_from_1(shipped: KnowledgeBase) -> None:
    found = shipped.search("refund policy for subscriptions", limit=5)
    assert [article.rank for article in found] == [1, 2, 3, 4, 5]
    best = found[0]
    assert (best.slug, best.title) == ("refund-policy", "Refund policy for subscriptions")
    assert SHIPPED["refund-policy"] == f"# {best.title}\n\n{best.body}\n"
    assert best.snippet.strip(".") in best.body
    assert len(best.snippet.split()) <= 40


def test_a_snippet_is_the_passage_that_fits(shipped: KnowledgeBase) -> None:
    assert "50,000 a day" in shipped.search("API requests per workspace a day", limit=1)[0].snippet


def test_a_search_for_nothing_finds_nothing(shipped: KnowledgeBase) -> None:
    assert shipped.search("") == shipped.search(" \t\n") == shipped.search("?!…") == shipped.search("xyzzyplugh") == []


def test_common_words_do_not_decide_unless_there_are_no_others() -> None:
    texts = {**SMALL, "how": "# How do I\n\nHow do I do what I do and when do I do it?"}
    with KnowledgeBase(articles=texts) as base:
        assert slugs(base, "How do I keep pears?") == ["pears"]
        assert slugs(base, "how do I") == ["how"]


def test_other_forms_of_a_word_are_found() -> None:
    with KnowledgeBase(articles=SMALL) as base:
        assert slugs(base, "pear ripening") == ["pears"]
        assert slugs(base, "\uff30\uff25\u00c1\uff32") == ["pears"]


def test_a_title_counts_more_than_a_text() -> None:
    texts = {"a": "# Something\n\nOne refund, another refund.", "b": "# Refund\n\nSomething, another something."}
    with KnowledgeBase(articles=texts) as base:
        assert slugs(base, "refund") == ["b", "a"]


def test_equals_are_ordered_by_slug_and_the_order_is_the_same_every_time() -> None:
    same = dict.fromkeys(("c", "a", "d", "b"), "# Plums\n\nPlums are blue.")
    with KnowledgeBase(articles=same) as base:
        assert {tuple(slugs(base, "blue plums", 4)) for _ in range(20)} == {("a", "b", "c", "d")}


@pytest.mark.parametrize("query", HOSTILE, ids=ascii)
def test_no_text_is_syntax(shipped: KnowledgeBase, query: str) -> None:
    shipped.search(query)
    assert "refund-policy" in slugs(shipped, f"{query} subscriptions refund policy")


@given(query=st.text(), limit=st.integers(1, 50))
def test_any_text_can_be_searched(shipped: KnowledgeBase, query: str, limit: int) -> None:
    assert len(shipped.search(query, limit)) <= limit


@pytest.mark.parametrize(
    "query",
    [
        "refund " * 150_000,
        "refund" * 175_000,
        '"' * 1_000_000,
        "".join(f"refund x{n} " for n in range(70_000)),
        "ﷺ" * 340_000,
    ],
    ids=["one word again", "one long word", "quotes", "many words", "long when normalised"],
)
def test_a_query_of_a_megabyte_is_no_trouble(shipped: KnowledgeBase, query: str) -> None:
    assert len(query.encode()) >= 900_000
    assert len(shipped.search(query)) <= 3


def test_only_the_first_64_words_of_the_first_10_000_characters_count(shipped: KnowledgeBase) -> None:
    others = [f"x{number}y" for number in range(64)]
    assert slugs(shipped, " ".join([*others[:63], "refund"])) == slugs(shipped, "refund") != []
    assert slugs(shipped, " ".join([*others, "refund"])) == []
    assert slugs(shipped, "-" * 9_994 + "refund") == slugs(shipped, "refund")
    assert slugs(shipped, "-" * 10_000 + "refund") == []


@pytest.mark.parametrize("query", [None, 3, b"refund", ["refund"]])
def test_a_query_that_is_no_text_is_refused(shipped: KnowledgeBase, query: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"search\.query"):
        shipped.search(query)


@pytest.mark.parametrize("limit", [0, -1, 51, 2**70, True, 1.0, "3", None])
def test_a_limit_that_cannot_be_is_refused(shipped: KnowledgeBase, limit: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"search\.limit = .* from 1 to 50"):
        shipped.search("refund", limit)


# One article


def test_an_article_can_be_had_by_its_slug() -> None:
    with KnowledgeBase(articles=SMALL) as base:
        article = base.article("pears")
        assert article is not None
        assert (article.title, article.snippet, article.rank) == ("Growing pears", "Pears ripen off the tree.", 0)
        assert article.body == "Pears ripen off the tree.\n\nThey keep for two weeks."
        assert base.article("plums") is base.article("pears' OR '1'='1") is None


def test_articles_are_values_and_come_ordered_by_slug() -> None:
    with KnowledgeBase(articles=dict(reversed(SMALL.items()))) as base:
        articles = base.articles()
    assert [article.slug for article in articles] == ["apples", "pears"]
    with pytest.raises(FrozenInstanceError):
        articles[0].title = "Bananas"  # type: ignore[misc]


@pytest.mark.parametrize("slug", [None, 1, "", "\0", "a\ud800"])
def test_a_slug_that_is_no_text_is_refused(shipped: KnowledgeBase, slug: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"article\.slug"):
        shipped.article(slug)


# Tickets


def test_a_ticket_is_kept_as_it_was_said(place: Path) -> None:
    with KnowledgeBase(place) as base:
        first = base.create_ticket("Charged twice", "Receipts 81 and 82.\nPlease look.")
        second = base.create_ticket("Locked out", "💸 'nobody' \"gets\" in", priority="urgent")
    with KnowledgeBase(place) as base:
        assert base.tickets() == [
            Ticket(id=first, subject="Charged twice", body="Receipts 81 and 82.\nPlease look.", priority="normal"),
            Ticket(id=second, subject="Locked out", body="💸 'nobody' \"gets\" in", priority="urgent"),
        ]
    assert (first, second) == (1, 2)


@pytest.mark.parametrize(
    "words", ["'); DROP TABLE tickets; --", '"; DELETE FROM tickets', "?1 :a $b @c", "' || (SELECT 1) || '"]
)
def test_a_ticket_is_never_sql(words: str) -> None:
    with KnowledgeBase(articles=SMALL) as base:
        base.create_ticket(words, words)
        base.create_ticket("Another", "one")
        assert [(ticket.subject, ticket.body) for ticket in base.tickets()] == [(words, words), ("Another", "one")]


def test_every_priority_is_taken() -> None:
    with KnowledgeBase(articles=SMALL) as base:
        for priority in PRIORITIES:
            base.create_ticket("s", "b", priority=priority)
        assert tuple(ticket.priority for ticket in base.tickets()) == PRIORITIES == ("low", "normal", "high", "urgent")


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("subject", value) for value in [None, 1, b"s", "", "  ", "two\nlines", "a\0b", "\ud800", "s" * 201]),
        *(("body", value) for value in [None, 1, b"b", "", " \n ", "a\0b", "\udfff", "b" * 20_001]),
        *(("priority", value) for value in [None, 1, "", "URGENT", "now", ["low"]]),
    ],
)
def test_a_ticket_that_cannot_be_is_refused_and_not_written(shipped: KnowledgeBase, field: str, wrong: Any) -> None:
    before = shipped.tickets()
    values: dict[str, Any] = {"subject": "s", "body": "b", "priority": "low", field: wrong}
    with pytest.raises(InvalidSetting) as error:
        shipped.create_ticket(values["subject"], values["body"], priority=values["priority"])
    assert error.value.field == f"create_ticket.{field}"
    assert shipped.tickets() == before


def test_the_longest_ticket_is_taken() -> None:
    with KnowledgeBase(articles=SMALL) as base:
        base.create_ticket("s" * 200, "b" * 20_000)
        assert len(base.tickets()) == 1


@pytest.mark.parametrize("in_memory", [True, False])
def test_16_threads_lose_and_double_no_ticket(place: Path, in_memory: bool) -> None:
    def work(worker: int) -> list[int]:
        assert slugs(base, "growing apples", 1) == ["apples"]
        return [base.create_ticket(f"{worker}/{number}", "b") for number in range(10)]

    with KnowledgeBase(None if in_memory else place, articles=SMALL) as base:
        with ThreadPoolExecutor(THREADS) as pool:
            ids = [number for numbers in pool.map(work, range(THREADS)) for number in numbers]
        tickets = base.tickets()
    assert sorted(ids) == [ticket.id for ticket in tickets] == list(range(1, THREADS * 10 + 1))
    assert {ticket.subject for ticket in tickets} == {f"{w}/{n}" for w in range(THREADS) for n in range(10)}


async def test_tasks_may_use_it_from_threads() -> None:
    with KnowledgeBase(articles=SMALL) as base:
        calls = (asyncio.to_thread(base.create_ticket, "s", str(number)) for number in range(50))
        assert sorted(await asyncio.gather(*calls)) == list(range(1, 51))
        assert (await asyncio.to_thread(base.search, "pears"))[0].slug == "pears"


def test_several_openers_of_one_file_see_each_other(place: Path) -> None:
    with KnowledgeBase(place, articles=SMALL) as one, KnowledgeBase(place, articles=SMALL) as other:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda base: [base.create_ticket("s", "b") for _ in range(10)], (one, other)))
        assert len(one.tickets()) == 20
        assert one.tickets() == other.tickets()


# Building the index


def test_an_unchanged_index_is_kept_and_a_changed_one_replaced_but_never_the_tickets(place: Path) -> None:
    with KnowledgeBase(place, articles=SMALL) as base:
        base.create_ticket("Kept", "b")
    raw(place, "UPDATE articles SET title = 'Not built again' WHERE slug = 'pears'")
    with KnowledgeBase(place, articles=dict(reversed(SMALL.items()))) as base:
        assert [article.title for article in base.articles()] == ["Growing apples", "Not built again"]
    with KnowledgeBase(place, articles={"pears": SMALL["pears"], "plums": "# Plums\n\nBlue."}) as base:
        assert [article.title for article in base.articles()] == ["Growing pears", "Plums"]
        assert slugs(base, "apples") == []
        assert [ticket.subject for ticket in base.tickets()] == ["Kept"]


@pytest.mark.parametrize("changed", [{"b": "# Title\n\nBody"}, {"a": "# Titel\n\nBody"}, {"a": "# Title\n\nBodo"}])
def test_every_part_of_an_article_counts_as_a_change(place: Path, changed: dict[str, str]) -> None:
    KnowledgeBase(place, articles={"a": "# Title\n\nBody"}).close()
    with KnowledgeBase(place, articles=changed) as base, KnowledgeBase(articles=changed) as fresh:
        assert base.articles() == fresh.articles()


def test_two_processes_build_at_once(place: Path) -> None:
    code = (
        "import sys; from otel_agent.demo.knowledge import KnowledgeBase\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "with KnowledgeBase(sys.argv[1]) as base: print(len(base.articles()), base.create_ticket('s', 'b'))"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(place)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        assert one.stdout.readline() == other.stdout.readline() == "ready\n"
        for process in (one, other):
            process.stdin.write("go\n")
            process.stdin.flush()
        said = sorted(process.communicate(timeout=60)[0] for process in (one, other))
    assert said == [f"{len(SHIPPED)} 1\n", f"{len(SHIPPED)} 2\n"]


def test_many_openers_at_once_build_one_index(place: Path) -> None:
    def work(_: int) -> int:
        with KnowledgeBase(place) as base:
            return len(base.articles())

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(4))) == {len(SHIPPED)}


def test_a_reader_never_sees_half_an_index(place: Path) -> None:
    def rebuild() -> None:
        for _ in range(5):
            KnowledgeBase(place, articles=SMALL).close()
            KnowledgeBase(place).close()

    seen: set[int] = set()
    with KnowledgeBase(place) as base, ThreadPoolExecutor(1) as pool:
        rebuilding = pool.submit(rebuild)
        while not rebuilding.done():
            seen.add(len(base.articles()))
        rebuilding.result()
    assert seen <= {len(SMALL), len(SHIPPED)}


def test_a_process_that_dies_while_it_builds_leaves_the_old_index_whole(place: Path) -> None:
    with KnowledgeBase(place, articles=SMALL) as base:
        base.create_ticket("Kept", "b")
    code = (
        "import functools, itertools, os, sqlite3, sys\n"
        "class Dying(sqlite3.Connection):\n"
        "    def executemany(self, sql, rows):\n"
        "        super().executemany(sql, list(rows)[:30])\n"
        "        os._exit(9)\n"
        "sqlite3.connect = functools.partial(sqlite3.connect, factory=Dying)\n"
        "from otel_agent.demo.knowledge import KnowledgeBase\n"
        "KnowledgeBase(sys.argv[1])"
    )
    assert subprocess.run([sys.executable, "-c", code, str(place)], timeout=60).returncode == 9
    assert raw(place, "SELECT slug FROM articles ORDER BY slug") == [("apples",), ("pears",)]
    with KnowledgeBase(place) as base:
        assert len(base.articles()) == len(SHIPPED)
        assert [ticket.subject for ticket in base.tickets()] == ["Kept"]


@pytest.mark.parametrize(
    ("articles", "field"),
    [
        ([], "KnowledgeBase.articles"),
        ({}, "KnowledgeBase.articles"),
        ("# Title\n\nBody", "KnowledgeBase.articles"),
        *(({slug: "# Title\n\nBody"}, "KnowledgeBase.articles") for slug in ["", "A", "a b", "a/../b", "-a", "a\n", 1]),
        *(
            ({"a": words}, "KnowledgeBase.articles[a]")
            for words in ["", "# Title", "#Title\nBody", "Body", "# \nBody", None]
        ),
        *(({"a": words}, "KnowledgeBase.articles[a]") for words in ["# T\nBo\0dy", "# T\n\ud800"]),
    ],
)
def test_articles_that_cannot_be_are_refused_before_anything_is_written(place: Path, articles: Any, field: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        KnowledgeBase(place, articles=articles)
    assert error.value.field == field
    assert not place.exists()


# Where it lives


def test_it_leaves_one_file_behind_and_in_memory_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with KnowledgeBase() as base:
        base.create_ticket("s", "b")
    assert list(tmp_path.iterdir()) == []
    with KnowledgeBase(str(tmp_path / "kb.sqlite")) as base:
        base.create_ticket("s", "b")
        base.search("refund")
    assert list(tmp_path.iterdir()) == [tmp_path / "kb.sqlite"]


def test_two_in_memory_have_nothing_in_common() -> None:
    with KnowledgeBase(articles=SMALL) as one, KnowledgeBase(articles=SMALL) as other:
        one.create_ticket("s", "b")
        assert other.tickets() == []


@pytest.mark.parametrize("path", ["", " ", "a\0b", 3, b"kb.sqlite", True])
def test_a_path_that_is_none_is_refused(path: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"KnowledgeBase\.path"):
        KnowledgeBase(path, articles=SMALL)


def test_a_folder_or_a_missing_one_is_refused(tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "missing" / "kb.sqlite"):
        with pytest.raises(InvalidSetting, match=r"KnowledgeBase\.path"):
            KnowledgeBase(wrong, articles=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_kind_is_refused_and_left_alone(place: Path) -> None:
    place.write_bytes(b"Dear diary, " * 200)
    with pytest.raises(InvalidSetting, match=r"KnowledgeBase\.path"):
        KnowledgeBase(place, articles=SMALL)
    assert place.read_bytes() == b"Dear diary, " * 200


def test_somebody_elses_database_is_refused_and_left_alone(place: Path) -> None:
    raw(place, "CREATE TABLE articles (precious TEXT)")
    before = place.read_bytes()
    with pytest.raises(InvalidSetting, match=r"KnowledgeBase\.path.*kb\.sqlite"):
        KnowledgeBase(place, articles=SMALL)
    assert place.read_bytes() == before


def test_a_damaged_database_is_not_taken_for_a_wrong_path(place: Path) -> None:
    KnowledgeBase(place).close()
    place.write_bytes(place.read_bytes()[:4096] + b"\xff" * 8192)
    with pytest.raises(sqlite3.DatabaseError):
        KnowledgeBase(place)


def test_closed_is_closed_and_may_be_said_twice(place: Path) -> None:
    with KnowledgeBase(place, articles=SMALL) as base:
        base.close()
    base.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        base.search("pears")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        base.create_ticket("s", "b")
