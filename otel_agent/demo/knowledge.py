"""What the support agent of the demo knows and writes down: articles with a full-text search, and tickets.

Decides which articles a question finds, and in which order. Knows nothing of runs, models or telemetry, and writes to
no other place than the database that it was given. One file holds both:

    source     the hash of the articles that the index was built from
    articles   the index, replaced as a whole, in one transaction, when that hash is another
    tickets    what `create_ticket` was told; a new index leaves them alone
"""

from __future__ import annotations

import hashlib
import importlib.resources
import os
import re
import sqlite3
import threading
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from otel_agent.checks import choice, count, instance_of, text
from otel_agent.stop import InvalidSetting

__all__ = ["PRIORITIES", "Article", "KnowledgeBase", "Ticket", "shipped_articles"]

PRIORITIES = ("low", "normal", "high", "urgent")

APPLICATION_ID = 0x6F74_6B62
BUSY_SECONDS = 30.0
LONGEST_PATH = 4_096
LONGEST_SUBJECT = 200
LONGEST_BODY = 20_000
LONGEST_QUERY = 10_000
MOST_WORDS = 64
MOST_RESULTS = 50

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
WORD = re.compile(r"[^\W_]+")
COMMON_WORDS = frozenset(
    WORD.findall(
        "a about all am an and any are as at be been but by can could did do does don for from get got had has have "
        "how i if in into is it its just ll m me my no not now of on or our please re s should so some t than that "
        "the their them then there they this to us ve was we were what when where which who why will with would you "
        "your"
    )
)
UNUSABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY}

TABLES = (
    "CREATE TABLE source (hash TEXT NOT NULL)",
    "CREATE TABLE tickets (id INTEGER PRIMARY KEY, subject TEXT NOT NULL, body TEXT NOT NULL, priority TEXT NOT NULL)",
    f"PRAGMA application_id = {APPLICATION_ID}",
)
INDEX = "CREATE VIRTUAL TABLE articles USING fts5(slug UNINDEXED, title, body, tokenize = 'porter unicode61')"
SEARCH = """
    SELECT slug, title, body, snippet(articles, 2, '', '', '...', 40) FROM articles WHERE articles MATCH ?
    ORDER BY bm25(articles, 0.0, 8.0, 1.0), slug LIMIT ?
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """One article of the knowledge base.

    Attributes:
        slug: its short name, unique and stable: what an answer cites.
        title: its first line.
        body: everything below the title.
        snippet: the passage of the body that fits the search best, at most 40 words; else the first paragraph.
        rank: its place in the search, 1 for the best; 0 when it did not come from a search.
    """

    slug: str
    title: str
    body: str
    snippet: str
    rank: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A request that a person has to look at.

    Attributes:
        id: its number, from 1 on.
        subject: one line.
        body: what was asked for.
        priority: one of `PRIORITIES`.
    """

    id: int
    subject: str
    body: str
    priority: str


class KnowledgeBase:
    """Articles to search and tickets to write, in one SQLite database.

    Any number of threads may share one object, and any number of processes one file. Once closed, every method but
    `close` raises `sqlite3.ProgrammingError`.

    Args:
        path: where the database is or shall be; its folder must exist. None keeps it in memory.
        articles: Markdown texts by slug, each with `# Title` as its first line; None for those of the package.

    Raises:
        InvalidSetting: no such database can be opened or created there, it belongs to something else, or an article
            has no title or no text.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, articles: Mapping[str, str] | None = None
    ) -> None:
        texts = _checked(shipped_articles() if articles is None else articles)
        self._lock = threading.Lock()
        self._connection = _open(_place(path), texts)

    def search(self, query: str, limit: int = 3) -> list[Article]:
        """Finds the articles that share the most telling words with a question, the best first.

        Args:
            query: any text. Words are all that counts in it, the first 64 different ones of its first 10,000
                characters; it has no syntax.
            limit: how many articles at most, from 1 to 50.

        Returns:
            The articles; none when no word occurs anywhere.

        Raises:
            InvalidSetting: `query` is no text, or `limit` is no such number.
        """
        words = _words(instance_of("search.query", query, str, "a text"))
        most = count("search.limit", limit, least=1, most=MOST_RESULTS)
        rows = self._rows(SEARCH, " OR ".join(f'"{word}"' for word in words), most) if words else []
        return [
            Article(slug=slug, title=title, body=body, snippet=snippet, rank=rank)
            for rank, (slug, title, body, snippet) in enumerate(rows, start=1)
        ]

    def article(self, slug: str) -> Article | None:
        """Gives one article, or None when there is none of that name.

        Raises:
            InvalidSetting: `slug` is no text.
        """
        rows = self._rows("SELECT slug, title, body FROM articles WHERE slug = ?", text("article.slug", slug))
        return _whole(*rows[0]) if rows else None

    def articles(self) -> list[Article]:
        """Gives all articles, ordered by slug."""
        return [_whole(*row) for row in self._rows("SELECT slug, title, body FROM articles ORDER BY slug")]

    def create_ticket(self, subject: str, body: str, *, priority: str = "normal") -> int:
        """Writes down a request for a person.

        Args:
            subject: one line of 1 to 200 characters.
            body: 1 to 20,000 characters.
            priority: one of `PRIORITIES`.

        Returns:
            The ticket's number.

        Raises:
            InvalidSetting: one of them is not as said above.
        """
        values = (
            text("create_ticket.subject", subject, longest=LONGEST_SUBJECT),
            _body(body),
            choice("create_ticket.priority", priority, PRIORITIES),
        )
        rows = self._rows("INSERT INTO tickets (subject, body, priority) VALUES (?, ?, ?) RETURNING id", *values)
        return int(rows[0][0])

    def tickets(self) -> list[Ticket]:
        """Gives all tickets, the oldest first."""
        rows = self._rows("SELECT id, subject, body, priority FROM tickets ORDER BY id")
        return [Ticket(id=number, subject=subject, body=body, priority=word) for number, subject, body, word in rows]

    def close(self) -> None:
        """Closes the database; doing so twice does nothing."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, sql: str, *values: object) -> list[Any]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()


def shipped_articles() -> dict[str, str]:
    """Reads the articles that come with the package: Markdown texts by slug."""
    folder = importlib.resources.files("otel_agent.demo") / "articles"
    files = [file for file in folder.iterdir() if file.name.endswith(".md")]
    return {file.name.removesuffix(".md"): file.read_text(encoding="utf-8") for file in files}


def _whole(slug: str, title: str, body: str) -> Article:
    return Article(slug=slug, title=title, body=body, snippet=body.partition("\n\n")[0])


def _words(query: str) -> list[str]:
    """Gives the telling words of a question; all of them when it has only common ones."""
    words = dict.fromkeys(WORD.findall(unicodedata.normalize("NFKC", query[:LONGEST_QUERY]).lower()))
    telling = [word for word in words if word not in COMMON_WORDS] or list(words)
    return telling[:MOST_WORDS]


def _body(body: object) -> str:
    if isinstance(body, str) and body.strip() and len(body) <= LONGEST_BODY and _storable(body):
        return body
    allowed = f"a text of 1 to {LONGEST_BODY:,} characters, valid Unicode, with no NUL"
    raise InvalidSetting(field="create_ticket.body", value=body, allowed=allowed)


def _storable(value: str) -> bool:
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value)


def _place(path: str | os.PathLike[str] | None) -> str:
    if path is None:
        return ":memory:"
    try:
        return text("KnowledgeBase.path", os.fspath(path), longest=LONGEST_PATH)
    except TypeError as error:
        raise _unusable(path) from error


def _checked(articles: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Splits the texts into slug, title and body, in the order of their slugs."""
    try:
        texts: dict[Any, Any] = dict(articles)
    except (TypeError, ValueError):
        texts = {}
    if not texts:
        raise InvalidSetting(field="KnowledgeBase.articles", value=articles, allowed="Markdown texts by slug, or None")
    return [_article(slug, texts[slug]) for slug in sorted(texts, key=str)]


def _article(slug: Any, article: Any) -> tuple[str, str, str]:
    if not (isinstance(slug, str) and SLUG.fullmatch(slug)):
        raise InvalidSetting(field="KnowledgeBase.articles", value=slug, allowed="slugs such as refund-policy")
    if isinstance(article, str) and _storable(article) and all(parts := _parts(article)):
        return (slug, *parts)
    raise InvalidSetting(field=f"KnowledgeBase.articles[{slug}]", value=article, allowed="'# Title', then a text")


def _parts(article: str) -> tuple[str, str]:
    title, _, body = article.partition("\n")
    return title[2:].strip() if title.startswith("# ") else "", body.strip()


def _open(where: str, articles: list[tuple[str, str, str]]) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(where, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, articles)
        except BaseException:
            connection.close()
            raise
    except sqlite3.DatabaseError as error:
        # The low byte is the plain code, the rest says more of the same.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in UNUSABLE:
            raise _unusable(where) from error
        raise
    return connection


def _unusable(where: object) -> InvalidSetting:
    allowed = "a knowledge base of this package, or a place in an existing folder where one can be written"
    return InvalidSetting(field="KnowledgeBase.path", value=where, allowed=allowed)


def _prepare(connection: sqlite3.Connection, articles: list[tuple[str, str, str]]) -> None:
    """Builds what is missing or outdated in one transaction: others see all of it or nothing, and build once."""
    current = hashlib.sha256(repr((INDEX, articles)).encode()).hexdigest()
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        _claim(connection)
        if connection.execute("SELECT hash FROM source").fetchall() != [(current,)]:
            connection.execute("DROP TABLE IF EXISTS articles")
            connection.execute(INDEX)
            connection.executemany("INSERT INTO articles (slug, title, body) VALUES (?, ?, ?)", articles)
            connection.execute("DELETE FROM source")
            connection.execute("INSERT INTO source (hash) VALUES (?)", (current,))


def _claim(connection: sqlite3.Connection) -> None:
    """Makes an empty database ours; refuses one that holds somebody else's tables."""
    ((owner,),) = connection.execute("PRAGMA application_id").fetchall()
    ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    if owner == 0 and tables == 0:
        for statement in TABLES:
            connection.execute(statement)
    elif owner != APPLICATION_ID:
        ((_, _, where),) = connection.execute("PRAGMA database_list").fetchall()
        raise _unusable(where)
