"""The first reading of files, for their digests: two at a time, the next ones while the present one is landed."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from flows.landing.content import Content, Reading, UnreadableError, open_content

READERS = 2
"""Decoding and hashing leave the interpreter free; more would take the engine's processors."""


@dataclass
class FirstReading:
    """An open file that was read once; `kept` is its content where that is not large."""

    content: Content
    reading: Reading
    kept: list[bytes] | None


def read_ahead(paths: Iterable[Path], limit: int, inflation_limit: int) -> Generator[FirstReading | UnreadableError]:
    """Read files once, in their order; whoever takes one closes it. At most `READERS` of them wait, beside that one.

    Contents of at most `limit` bytes are kept.
    """
    stopped = Event()

    def read(path: Path) -> FirstReading | UnreadableError:
        try:
            content = open_content(path, inflation_limit)
        except UnreadableError as error:
            return error
        try:
            return FirstReading(content, *content.read(limit, stopped))
        except UnreadableError as error:
            content.file.close()
            return error
        except BaseException:
            content.file.close()
            raise

    waiting: deque[Future[FirstReading | UnreadableError]] = deque()
    pool = ThreadPoolExecutor(READERS, "landing-read")
    try:
        for path in paths:
            waiting.append(pool.submit(read, path))
            if len(waiting) > READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
        for future in waiting:
            found = None if future.cancelled() or future.exception() else future.result()
            if isinstance(found, FirstReading):
                found.content.file.close()
