"""A file's content as a stream of blocks: decompressed, hashed and bounded in memory, whatever its name claims."""

import bz2
import hashlib
import lzma
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import zstandard

BLOCK_BYTES = 4 << 20
"""The blocks given out are no larger, and not much smaller but for the last one."""

FEED_BYTES = 4 << 10
"""Compressed bytes given to a decoder at once: at 4 bytes for a block of 128 KiB, hostile zstd stays below 128 MiB."""

INFLATION_FLOOR_BYTES = 1 << 30
"""Up to here content is read however much larger than its file it is."""

DICTIONARY_LIMIT_BYTES = 256 << 20
"""Memory that an xz file may ask for; zstd's own limit is a window of 128 MiB."""

MAGIC = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\x00": "xz"}
# RFC 8878, section 3.1.2: the sixteen magic numbers of skippable frames, little-endian.
SKIPPABLE = tuple(bytes([number]) + b"\x2a\x4d\x18" for number in range(0x50, 0x60))

DECODER_ERRORS = (zstandard.ZstdError, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)


class Decoder(Protocol):
    """What the decompressors of zstandard, bz2, lzma and zlib have in common."""

    def decompress(self, data: bytes, /) -> bytes: ...
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


class UnreadableError(Exception):
    """A file whose content cannot be had at all: it has no digest, and the next run tries it again."""


class StoppedError(Exception):
    """A file was not read to its end because nobody waits for it."""


def sniff_compression(head: bytes) -> str:
    """`zstd`, `gzip`, `bz2`, `xz` or `none`, by the first bytes."""
    if head.startswith(SKIPPABLE):
        return "zstd"
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), "none")


def new_decoder(compression: str) -> Decoder:
    """Give a decoder of one frame."""
    match compression:
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj()
        case "gzip":
            return zlib.decompressobj(wbits=31)
        case "bz2":
            return bz2.BZ2Decompressor()
        case _:
            return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=DICTIONARY_LIMIT_BYTES)


@dataclass
class Reading:
    """What one pass over the content found, complete when the pass has ended."""

    compression: str = "none"
    stored_bytes: int = 0
    content_bytes: int = 0
    message: str | None = None
    digest: str = ""

    @property
    def is_complete(self) -> bool:
        return self.message is None


@dataclass
class Content:
    """An open file that can be read several times and gives the same bytes each time.

    A log may grow while it is read: every pass after the first stops where the first one did, and `has_changed` says
    whether what was there has been written over meanwhile.
    """

    path: Path
    status: os.stat_result
    file: BinaryIO
    inflation_limit: int
    """Content larger than so many times its file is not read on, once it has passed `INFLATION_FLOOR_BYTES`."""
    length: int | None = field(default=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

    def has_changed(self) -> bool:
        now = os.fstat(self.file.fileno())
        return (now.st_size, now.st_mtime_ns) != (self.status.st_size, self.status.st_mtime_ns)

    def measure(self) -> Reading:
        """Read everything once for its digest and length."""
        return self.read(0, Event())[0]

    def read(self, limit: int, stopped: Event) -> tuple[Reading, list[bytes] | None]:
        """Read everything once for its digest and length, and keep it if that is no more than so many bytes.

        Raises `StoppedError` where nobody wants it any more.
        """
        reading, digest = Reading(), hashlib.sha256()
        blocks, kept = self.blocks(reading), list[bytes]()
        for block in blocks:
            digest.update(block)
            kept.append(block)
            if reading.content_bytes > limit or stopped.is_set():
                break
        is_small = reading.content_bytes <= limit
        if not is_small:
            kept.clear()
            for block in prefetch(blocks):
                digest.update(block)
                if stopped.is_set():
                    break
        if stopped.is_set():
            raise StoppedError
        self.finish(reading, digest)
        return reading, kept if is_small else None

    def finish(self, reading: Reading, digest: "hashlib._Hash") -> None:
        """End the first pass. A damaged file that gives no content is called by its begin: it is not any empty one."""
        self.length = reading.stored_bytes
        if reading.message and not reading.content_bytes:
            self.file.seek(0)
            digest.update(self.file.read(FEED_BYTES))
        reading.digest = digest.hexdigest()

    def blocks(self, reading: Reading) -> Iterator[bytes]:
        """Decompressed blocks from the start. Of a cut or damaged frame comes what decodes, and `reading.message`."""
        self.file.seek(0)
        reading.compression = sniff_compression(self.file.read(6))
        self.file.seek(0)
        stored = self._stored(reading, BLOCK_BYTES if reading.compression == "none" else FEED_BYTES)
        for block in stored if reading.compression == "none" else regroup(decompress(stored, reading)):
            reading.content_bytes += len(block)
            yield block
            if reading.content_bytes > max(INFLATION_FLOOR_BYTES, self.inflation_limit * reading.stored_bytes):
                reading.message = (
                    f"stopped after {reading.content_bytes} bytes: the content is over {self.inflation_limit} times its"
                    " file, as made to fill a disk; if it is real, raise BOUNCEHOUSE_INFLATION_LIMIT and touch the file"
                )
                return

    def _stored(self, reading: Reading, size: int) -> Iterator[bytes]:
        while True:
            wanted = size if self.length is None else min(size, self.length - reading.stored_bytes)
            try:
                data = self.file.read(wanted)
            except OSError as error:
                raise UnreadableError(f"reading stopped at byte {reading.stored_bytes}: {error.strerror}") from error
            if not data:
                return
            reading.stored_bytes += len(data)
            yield data


def open_content(path: Path, inflation_limit: int) -> Content:
    """Open a regular file; anything else (a directory, a pipe that would never end) raises `UnreadableError`."""
    try:
        # Not blocking, since a name may have become a pipe after the inbox was looked through.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UnreadableError(f"cannot be opened: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise UnreadableError(f"is {describe_mode(status.st_mode)}, not a file")
    return Content(path, status, os.fdopen(descriptor, "rb", buffering=1 << 20), inflation_limit)


def describe_mode(mode: int) -> str:
    """What a directory entry is, for a message: `a directory`, `a pipe` …"""
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def decompress(stored: Iterator[bytes], reading: Reading) -> Iterator[bytes]:
    """Decode a sequence of frames (zstd), members (gzip) or streams (bz2, xz), each begun where the last one ended."""
    decoder: Decoder | None = None
    begun = False
    for data in stored:
        rest = data
        while rest:
            if decoder is None:
                if begun and not rest.strip(b"\0"):
                    break  # tapes and some tools pad with NUL after the last frame
                decoder = new_decoder(reading.compression)
            try:
                yield from inflate(reading.compression, decoder, rest)
            except DECODER_ERRORS as error:
                reading.message = (
                    f"damaged {reading.compression} data near byte {reading.stored_bytes} of the file: {error}"
                )
                return
            begun = True
            rest = decoder.unused_data if decoder.eof else b""
            if decoder.eof:
                decoder = None
    if decoder is not None:
        reading.message = f"the file ends inside a {reading.compression} frame: what came before the cut was read"


def inflate(compression: str, decoder: Any, data: bytes) -> Iterator[bytes]:
    """What a decoder makes of some bytes, at most a block at once: a kilobyte of bz2 may hold gigabytes."""
    if compression == "zstd":
        yield decoder.decompress(data)
        return
    while True:
        out = decoder.decompress(data, BLOCK_BYTES)
        yield out
        data = getattr(decoder, "unconsumed_tail", b"")  # zlib's alone gives back what it has not taken
        if decoder.eof or (len(out) < BLOCK_BYTES and not data):
            return


def regroup(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join small pieces to blocks of nearly `BLOCK_BYTES`, each copied once, and cut large ones."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        for start in range(0, len(piece), BLOCK_BYTES):
            part = piece[start : start + BLOCK_BYTES]
            if size + len(part) > BLOCK_BYTES:
                yield b"".join(held)
                held, size = [], 0
            held.append(part)
            size += len(part)
    if held:
        yield b"".join(held)


def prefetch(blocks: Iterator[bytes], depth: int = 3) -> Iterator[bytes]:
    """Run an iterator in a thread of its own, at most `depth` blocks ahead, so that decoding overlaps with parsing.

    An error in the thread is raised here; when the consumer stops early, the thread ends with its next block.
    """
    queue: Queue[bytes | BaseException | None] = Queue(depth)
    stopped = False

    def fill() -> None:
        try:
            for block in blocks:
                queue.put(block)
                if stopped:
                    return
            queue.put(None)
        except BaseException as error:  # handed to the consumer, which raises it
            queue.put(error)

    thread = Thread(target=fill, name="landing-read", daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped = True
        while thread.is_alive():
            while not queue.empty():
                queue.get_nowait()
            thread.join(0.01)
