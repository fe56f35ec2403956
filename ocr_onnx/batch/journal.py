"""The journal of a batch: an SQLite database in the output folder, which says which pages are done.

A document is identified by its name and the sha256 of its content, so a file that changed is read again. The result of a page
is kept here until it is part of a shard: both become durable in the same transactions, so that no page is lost and none is
written twice, whenever the process ends.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ocr_onnx.batch.listing import Document, printable
from ocr_onnx.errors import OptionError, OutputError

NAME = "journal.sqlite"

WHOLE_DOCUMENT = 0
"""The page number of an error that concerns a document as a whole; pages are counted from 1."""

SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, version TEXT, sha256 TEXT NOT NULL, pages INTEGER, to_read INTEGER,
    complete INTEGER NOT NULL DEFAULT 0, file_sha256 TEXT, UNIQUE (name, sha256));
CREATE TABLE pages (
    document INTEGER NOT NULL, page INTEGER NOT NULL, shard INTEGER, kind TEXT, error TEXT,
    PRIMARY KEY (document, page)) WITHOUT ROWID;
CREATE TABLE waiting (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL, page INTEGER NOT NULL, row TEXT NOT NULL);
CREATE TABLE shards (id INTEGER PRIMARY KEY, pages INTEGER NOT NULL, sha256 TEXT NOT NULL);
"""

SCHEMA_VERSION = 1
"""Is another one if SCHEMA changes."""

WAIT_SECONDS = 30
"""For a command that reads the journal at the same time."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A document in the journal."""

    id: int
    pages: int | None
    """The number of its pages; None: not known yet."""
    finished: frozenset[int]
    """The numbers of the pages that are done or failed."""


class Counts(NamedTuple):
    """The state of a batch."""

    documents: int
    """Complete ones."""
    open: int
    """Documents that were begun and are not complete."""
    pages: int
    failed: int
    """Pages, and documents as a whole, that could not be read."""
    waiting: int
    """Pages that are read, and not yet part of a shard."""
    shards: int


class Failure(NamedTuple):
    """A page, or a document as a whole, that could not be read."""

    path: str
    page: int | None
    kind: str
    error: str


@contextmanager
def database_errors(folder: Path) -> Iterator[None]:
    """Convert errors of the database, such as those of a full disk, to OutputError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(
            f"the journal of {str(folder)!r} cannot be read or written: {error}; free disk space or check the folder, and run the same "
            "command again: it continues"
        ) from error
    except sqlite3.Error as error:
        raise OutputError(
            f"the journal of {str(folder)!r} is damaged: {error}; give another output folder. The shards in this one are complete"
        ) from error


class Journal:
    """The journal of an output folder. Changes are durable after `commit`. Raises OutputError if there is none and not `create`."""

    def __init__(self, folder: Path, *, create: bool = True, in_memory: bool = False) -> None:
        self.folder = folder
        self.added: Counter[str] = Counter()
        """The `documents`, `pages` and `failed` that were added since the journal was opened, since counting all would take long, less
        the failures that were forgotten; and the pages that were `tried`."""
        path = folder / NAME
        if not create and not path.is_file():
            raise OutputError(
                f"{str(folder)!r} is no output of 'ocr-onnx batch': it has no {NAME}; give another folder"
            )
        with database_errors(folder):
            if create:
                self._database = sqlite3.connect(":memory:" if in_memory else path, timeout=WAIT_SECONDS)
            else:
                # A database in WAL mode can be read in a folder that cannot be written only if it is declared not to change.
                immutable = "" if os.access(folder, os.W_OK) else "?immutable=1"
                self._database = sqlite3.connect(path.absolute().as_uri() + immutable, timeout=WAIT_SECONDS, uri=True)
            try:
                if create:
                    self._create()
                self._check_schema()
            except BaseException:
                self.close()
                raise

    def _create(self) -> None:
        """Make the tables of a new journal."""
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        if not self._database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            self._database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    def _check_schema(self) -> None:
        """Raise OutputError if the tables are those of another version of ocr-onnx."""
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            raise OutputError(
                f"the journal of {str(self.folder)!r} was written by another version of ocr-onnx (its schema is {version}, and that of "
                f"this version {SCHEMA_VERSION}): use that version, or give another output folder"
            )

    def damage(self) -> Iterator[str]:
        """Yield what SQLite finds wrong with the database."""
        try:
            yield from (text for (text,) in self._database.execute("PRAGMA integrity_check") if text != "ok")
        except sqlite3.DatabaseError as error:
            yield str(error)

    def close(self) -> None:
        """Close the database; changes that are not committed are lost."""
        self._database.close()

    def commit(self) -> None:
        """Make all changes durable."""
        self._database.commit()

    def require(self, settings: Mapping[str, Any]) -> None:
        """Store the settings of a new batch. Raises OptionError if those of an earlier run differ."""
        known = self.settings()
        if not known:
            values = [(name, json.dumps(value)) for name, value in settings.items()]
            self._database.executemany("INSERT INTO settings VALUES (?, ?)", values)
            self.commit()
            return
        given = json.loads(json.dumps(settings))
        known, given = dict(_flat(known)), dict(_flat(given))
        changed = sorted(name for name in {*known, *given} if known.get(name) != given.get(name))
        if changed:
            named = "; ".join(f"{name} was {known.get(name)!r}, and is {given.get(name)!r}" for name in changed)
            raise OptionError(
                f"{str(self.folder)!r} was written with other options ({named}): give the same ones, or another output folder"
            )

    def settings(self) -> dict[str, Any]:
        """Return the settings of the batch."""
        return {name: json.loads(value) for name, value in self._database.execute("SELECT name, value FROM settings")}

    def is_complete(self, document: Document) -> bool:
        """Return whether all pages of a document are done, without reading its content."""
        found = self._database.execute(
            "SELECT 1 FROM documents WHERE name = ? AND version = ? AND complete", (document.name, document.version)
        )
        return found.fetchone() is not None

    def begin(self, name: str, version: str | None, sha256: str) -> Entry | None:
        """Add a document, or continue with it; return None if all its pages are done."""
        run = self._database.execute
        run("INSERT OR IGNORE INTO documents (name, sha256) VALUES (?, ?)", (name, sha256))
        run("UPDATE documents SET version = ? WHERE name = ? AND sha256 = ?", (version, name, sha256))
        key, pages, complete = run(
            "SELECT id, pages, complete FROM documents WHERE name = ? AND sha256 = ?", (name, sha256)
        ).fetchone()
        if complete:
            return None
        return Entry(
            key, pages, frozenset(page for (page,) in run("SELECT page FROM pages WHERE document = ?", (key,)))
        )

    def forget_unlisted(self) -> None:
        """Forget the inputs that an earlier run could not list or open, because each run tries them again."""
        run = self._database.execute
        run("DELETE FROM pages WHERE document IN (SELECT id FROM documents WHERE sha256 = '')")
        run("DELETE FROM documents WHERE sha256 = ''")
        self.commit()

    def fail_document(self, name: str, kind: str, error: str) -> None:
        """Record that the content of a document could not be obtained; the next run tries again."""
        entry = self.begin(printable(name), None, "")
        if entry is not None:
            self.add_error(entry.id, WHOLE_DOCUMENT, kind, error)

    def supersede(self, name: str, sha256: str) -> None:
        """Forget the failures of earlier contents of a document; their pages that were read stay."""
        run = self._database.execute
        earlier = run("SELECT id, complete FROM documents WHERE name = ? AND sha256 <> ?", (name, sha256)).fetchall()
        for key, complete in earlier:
            failed = run("DELETE FROM pages WHERE document = ? AND error IS NOT NULL", (key,)).rowcount
            self.added["failed"] -= failed
            read = run("SELECT COUNT(*) FROM pages WHERE document = ?", (key,)).fetchone()[0]
            if read:
                run("UPDATE documents SET complete = 1, to_read = ? WHERE id = ?", (read, key))
            else:
                run("DELETE FROM documents WHERE id = ?", (key,))
                self.added["documents"] -= complete

    def set_pages(self, document: int, pages: int, to_read: int) -> None:
        """Record the number of pages of a document, and of those to read."""
        self._database.execute("UPDATE documents SET pages = ?, to_read = ? WHERE id = ?", (pages, to_read, document))

    def add_page(self, document: int, page: int, row: str | None) -> None:
        """Record a page that was read; its row waits for a shard, if there is one."""
        self._database.execute("INSERT INTO pages (document, page) VALUES (?, ?)", (document, page))
        self.added.update(("pages", "tried"))
        if row is not None:
            self._database.execute("INSERT INTO waiting (document, page, row) VALUES (?, ?, ?)", (document, page, row))

    def add_error(self, document: int, page: int, kind: str, error: str) -> None:
        """Record a page that could not be read."""
        values = (document, page, kind, printable(error))
        self.added.update(("failed", "tried"))
        self._database.execute("INSERT OR REPLACE INTO pages (document, page, kind, error) VALUES (?, ?, ?, ?)", values)

    def add_file(self, document: int, sha256: str) -> None:
        """Record that a document has a file of its own."""
        self._database.execute("UPDATE documents SET file_sha256 = ? WHERE id = ?", (sha256, document))

    def complete(self, document: int) -> None:
        """Record that all pages of a document are done or failed."""
        self._database.execute("UPDATE documents SET complete = 1 WHERE id = ?", (document,))
        self.added["documents"] += 1

    def forget_failures(self, *, whole_documents: bool) -> None:
        """Forget the failures, so that they are tried again; with `whole_documents`, all pages of their documents."""
        run = self._database.execute
        failed = "SELECT DISTINCT document FROM pages WHERE error IS NOT NULL"
        run(f"CREATE TEMP TABLE failed AS {failed}")
        run("UPDATE documents SET complete = 0 WHERE id IN (SELECT document FROM failed)")
        which = "document IN (SELECT document FROM failed)" if whole_documents else "error IS NOT NULL"
        run(f"DELETE FROM pages WHERE {which}")  # noqa: S608 constant
        run("DROP TABLE failed")
        self.commit()

    def forget_unread(self) -> None:
        """Forget the documents without any page. At the end of a run, they are no longer among the inputs."""
        self._database.execute(
            "DELETE FROM documents WHERE NOT complete AND sha256 <> '' AND NOT EXISTS "
            "(SELECT 1 FROM pages WHERE document = documents.id)"
        )

    def failures(self) -> Iterator[Failure]:
        """Yield the failures."""
        found = self._database.execute(
            "SELECT name, page, kind, error FROM pages JOIN documents ON documents.id = document WHERE error IS NOT NULL "
            "ORDER BY documents.id, page"
        )
        return (Failure(name, page or None, kind, error) for name, page, kind, error in found)

    def counts(self) -> Counts:
        """Count documents, pages and shards."""
        run = self._database.execute
        complete, total = run(
            "SELECT COALESCE(SUM(complete), 0), COUNT(*) FROM documents WHERE sha256 <> ''"
        ).fetchone()
        pages, failed = run("SELECT COUNT(*), COUNT(error) FROM pages").fetchone()
        waiting, shards = self.waiting_pages(), run("SELECT COUNT(*) FROM shards").fetchone()[0]
        return Counts(complete, total - complete, pages - failed, failed, waiting, shards)

    def waiting_pages(self) -> int:
        """Count the pages that wait for a shard."""
        return int(self._database.execute("SELECT COUNT(*) FROM waiting").fetchone()[0])

    def waiting_rows(self, limit: int) -> Iterator[str]:
        """Yield the rows of the pages that have waited longest for a shard."""
        return (row for (row,) in self._database.execute("SELECT row FROM waiting ORDER BY id LIMIT ?", (limit,)))

    def next_shard(self) -> int:
        """Return the number of the next shard."""
        return int(self._database.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM shards").fetchone()[0])

    def add_shard(self, shard: int, pages: int, sha256: str) -> None:
        """Record a shard of the pages that have waited longest, and commit."""
        run = self._database.execute
        of_shard = run("SELECT ?, document, page FROM waiting ORDER BY id LIMIT ?", (shard, pages)).fetchall()
        self._database.executemany("UPDATE pages SET shard = ? WHERE document = ? AND page = ?", of_shard)
        run("DELETE FROM waiting WHERE id IN (SELECT id FROM waiting ORDER BY id LIMIT ?)", (pages,))
        run("INSERT INTO shards VALUES (?, ?, ?)", (shard, pages, sha256))
        self.commit()

    def shards(self) -> list[tuple[int, int, str]]:
        """Return the number, pages and sha256 of each shard."""
        return list(self._database.execute("SELECT id, pages, sha256 FROM shards ORDER BY id"))

    def shard_of(self, name: str, sha256: str, page: int) -> int | None:
        """Return the shard that has a page; None if there is none."""
        found = self._database.execute(
            "SELECT shard FROM pages JOIN documents ON documents.id = document WHERE name = ? AND sha256 = ? AND page = ?",
            (name, sha256, page),
        ).fetchone()
        return None if found is None else found[0]

    def open(self) -> Iterator[str]:
        """Yield the names of documents that were begun and are not complete."""
        found = self._database.execute("SELECT name FROM documents WHERE NOT complete AND sha256 <> '' ORDER BY id")
        return (name for (name,) in found)

    def lacking(self) -> Iterator[str]:
        """Yield the names of complete documents of which a page is neither done nor failed."""
        found = self._database.execute(
            "SELECT name FROM documents WHERE complete AND sha256 <> '' AND COALESCE(to_read, 1) <> "
            "(SELECT COUNT(*) FROM pages WHERE document = documents.id AND page <> 0) AND NOT EXISTS "
            "(SELECT 1 FROM pages WHERE document = documents.id AND page = 0)"
        )
        return (name for (name,) in found)

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield the names of the documents that have a file of their own, and its sha256."""
        return iter(self._database.execute("SELECT name, file_sha256 FROM documents WHERE file_sha256 IS NOT NULL"))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings, by names such as `options.detection.thresh`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
