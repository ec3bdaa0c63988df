"""A home with an inbox in a temporary folder, and a way to land what a test writes into it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows.landing import Load, find_arrivals, land_file
from flows.settings import Settings

ORDER = "order by source_file, record_number, record_part"


@dataclass
class Home:
    settings: Settings

    def put(self, name: str, content: bytes) -> Path:
        """Write a file below the inbox (or `actions/…` beside it)."""
        path = (self.settings.root if name.startswith("actions/") else self.settings.inbox) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def land(self) -> list[Any]:
        return [land_file(self.settings, arrival) for arrival in find_arrivals(self.settings).files]

    def land_one(self, name: str, content: bytes) -> Load:
        """Land one new file, and check what holds for every one: the files written hold what was counted."""
        self.put(name, content)
        (load,) = self.land()
        assert isinstance(load, Load)
        assert load.records_read == load.records_landed + load.records_rejected
        assert len(self.rows(load.source_name, load.file_digest, "record_number")) == load.records_landed
        assert len(self.rejects(load.source_name, load.file_digest, "record_number")) == load.records_rejected
        return load

    def rows(self, source: str, digest: str = "*", columns: str = "*") -> list[tuple[Any, ...]]:
        pattern = self.settings.landing / source / f"{digest}.parquet"
        return query(
            f"select {columns} from read_parquet('{pattern}') order by source_file, record_number, record_part"
        )

    def rejects(
        self, source: str, digest: str = "*", columns: str = "record_number, record_part, reason, record"
    ) -> list[tuple[Any, ...]]:
        if not list((self.settings.rejects / source).glob(f"{digest}.parquet")):
            return []
        pattern = self.settings.rejects / source / f"{digest}.parquet"
        return query(
            f"select {columns} from read_parquet('{pattern}') order by source_file, record_number, record_part"
        )


def query(sql: str) -> list[tuple[Any, ...]]:
    return duckdb.connect().execute(sql).fetchall()


def make_home(folder: Path) -> Home:
    settings = Settings(home=folder, threads=1)
    settings.inbox.mkdir(parents=True)
    return Home(settings)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


@pytest.fixture
def new_home(tmp_path: Path) -> Callable[[], Home]:
    """Homes one after the other, for properties that land many inputs in one test."""
    count = 0

    def make() -> Home:
        nonlocal count
        count += 1
        return make_home(tmp_path / f"home{count}")

    return make
