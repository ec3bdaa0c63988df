"""Records of many histories as files that come over several runs: shuffled, split, repeated, overlapping and late."""

import itertools
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.oracle.writers import Record, write_file

PIECES = 6
"""Files that the records of a source are cut into, each of which comes once or twice."""


def deal(records: Iterable[Record], runs: Sequence[Path], generator: random.Random, *, name: str = "") -> None:
    """Write each source's records in any order into overlapping files below `<run>/inbox/<source>` and `<run>/actions`.

    Files of several calls are told apart by `name`.
    """
    for mine in by_source(records).values():
        generator.shuffle(mine)
        cuts = sorted({0, len(mine), *(generator.randrange(len(mine)) for _ in range(PIECES - 1))})
        for number, (start, end) in enumerate(itertools.pairwise(cuts)):
            for run in sorted({generator.choice(runs), generator.choice(runs)}):
                piece = mine[max(0, start - generator.randrange(4)) : end]
                generator.shuffle(piece)
                put(piece, run, f"{name}{number}-{run.name}", form=generator.randrange(6))


def put(records: Iterable[Record], run: Path, name: str, *, form: int = 0) -> None:
    """Write a file a source, named `name` and as the form ends."""
    for source, mine in by_source(records).items():
        ending, content = write_file(source, [record.content for record in mine], form)
        folder = run / "actions" if source == "actions" else run / "inbox" / source
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}{'.jsonl' if source == 'actions' else ending}").write_bytes(content)


def by_source(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        found[record.source].append(record)
    return dict(sorted(found.items()))
