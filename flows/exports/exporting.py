"""All that is declared, written to `<home>/exports/`, to dated copies and to the destinations that are asked for."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from flows.exports.contents import (
    Export,
    TableFormat,
    make_report_export,
    make_report_workbook,
    make_suppression_export,
    write_content,
)
from flows.exports.dated import keep_copies
from flows.exports.declared import Declared, find_period, read_declared
from flows.exports.files import finish_file, replace_file, stage_files, swap_in
from flows.exports.manifest import Entries, describe_file, read_entries, write_manifest
from flows.exports.publication import describe_publication
from flows.exports.written import remember_written
from flows.failpoints import failpoint
from flows.page import write_page
from flows.problems import CannotWriteError
from flows.report import find_newest_day, find_time_zone, hold_readable
from flows.retention import find_cutoff
from flows.settings import Settings

BY_PYTHON = ("xlsx", "html")
"""Formats that Python itself writes, one at a time. Arrow and the engine write the others beside it."""


@dataclass(frozen=True)
class Planned:
    """A file that is to be written, the day that it is a report of, and what writes it; that gives what it tells."""

    name: str
    day: date
    write: Callable[[Path], dict[str, object]]


def export_all(settings: Settings) -> list[Path]:
    """Write what the exposures declare from the published database and, last, `manifest.json`; gives the files.

    All files are written before the first of them takes its place, so that an error leaves all the old ones, and a kill
    in the moment between leaves whole files of both. Files of exposures that are no more are removed. Dated copies and
    other destinations follow; a destination that takes no file is an error when all else is done.
    """
    declared = read_declared(settings)
    mode = 0o666 & ~settings.umask
    with hold_readable(settings) as database, stage_files(settings.exports) as staged:
        publication = describe_publication(database)
        days: dict[str, date] = {}
        with ThreadPoolExecutor(1) as python, ThreadPoolExecutor(1) as engine:
            written = []
            for each in declared:
                for planned in plan_files(settings, database, each):
                    days[planned.name] = planned.day
                    writer = python if planned.name.endswith(BY_PYTHON) else engine
                    written.append(writer.submit(_write, planned, each, staged, mode))
            entries: Entries = dict(future.result() for future in written)
        newest = find_newest_day(database)
        before = read_entries(settings.exports)
        failpoint("export.staged")
        swap_in([staged / name for name in entries], settings.exports)
        manifest = write_manifest(staged, settings.exports, publication, entries, mode)
    for name in before.keys() - entries.keys():
        with suppress(OSError):
            (settings.exports / Path(name).name).unlink()
    dropped_before = find_cutoff(settings.retention_days).date() if settings.retention_days else None
    keep_copies(settings, days, entries, publication, newest, dropped_before)
    copy_to_destinations(settings, declared, set(entries), mode)
    paths = [*(settings.exports / name for name in entries), manifest]
    remember_written(settings, declared, paths)
    return paths


def _write(planned: Planned, declared: Declared, folder: Path, mode: int) -> tuple[str, dict[str, Any]]:
    """Write one of the files; gives its name and what the manifest says of it."""
    path = folder / planned.name
    told = planned.write(path)
    finish_file(path, mode)
    return planned.name, describe_file(path, declared, told)


def plan_files(settings: Settings, database: Path, declared: Declared) -> Iterator[Planned]:
    """Make the contents of an exposure's files, each table once."""
    chosen = declared.settings
    if chosen.report == "suppression_list":
        export = make_suppression_export(database, excel_safe=chosen.excel_safe)
        formats = [format_name for format_name in chosen.formats if format_name != "html"]
        rows = export.table.num_rows
        if "xlsx" in formats and chosen.workbook_rows is not None and rows > chosen.workbook_rows:
            formats.remove("xlsx")
            why = (
                f"{rows} rows, more than workbook_rows {chosen.workbook_rows}; `bouncehouse suppression export` has all"
            )
            export = replace(export, info={**export.info, "left_out": {declared.name_file("xlsx"): why}})
        for table_format in formats:
            yield _plan_table(declared.name_file(table_format), find_newest_day(database), export, table_format)
        return
    newest, published = find_newest_day(database, chosen.time_zone), find_published_day(database, chosen.time_zone)
    days = chosen.days or (settings.report_days if chosen.schedule == "daily" else None)
    period = find_period(chosen.schedule, days, newest, published)
    exports = {
        group_by: make_report_export(
            database, declared.select(period, group_by), excel_safe=chosen.excel_safe is not False
        )
        for group_by in chosen.group_by
    }
    for format_name in chosen.formats:
        if format_name == "xlsx":
            selection = declared.select(period, chosen.group_by[0])
            workbook = make_report_workbook(database, selection, list(exports.values()))
            yield _plan_table(declared.name_file(format_name), period[1], workbook, format_name)
        elif format_name == "html":
            yield Planned(declared.name_file(format_name), period[1], partial(write_period_page, database, period))
        else:
            for group_by, export in exports.items():
                yield _plan_table(declared.name_file(format_name, group_by), period[1], export, format_name)


def _plan_table(name: str, day: date, export: Export, format_name: TableFormat) -> Planned:
    def write(path: Path) -> dict[str, object]:
        write_content(export, path, format_name)
        columns = {column.name: str(column.type) for column in export.table.schema}
        return {"format": format_name, **export.info, "columns": columns}

    return Planned(name, day, write)


def write_period_page(database: Path, period: tuple[date, date], path: Path) -> dict[str, object]:
    """Write the page of a period; gives what the manifest tells of it."""
    rows = write_page(database, path, *period)
    told = {"format": "html", "report": "page", "first_day": period[0], "last_day": period[1], "time_zone": "UTC"}
    return {**told, **{f"{name}_rows": count for name, count in rows.items()}, **describe_publication(database)}


def find_published_day(database: Path, time_zone: str) -> date:
    """The day of the publication, in the time zone; of a file that does not tell, the day after the newest data."""
    published_at = describe_publication(database)["made_at_utc"]
    if not isinstance(published_at, datetime):
        return find_newest_day(database, time_zone) + timedelta(days=1)
    return published_at.replace(tzinfo=UTC).astimezone(find_time_zone(time_zone)).date()


def copy_to_destinations(settings: Settings, declared: list[Declared], written: set[str], mode: int) -> None:
    """Copy the files written to the folders that their exposures name beside `exports/`, each whole or not at all."""
    failed: CannotWriteError | None = None
    for each in declared:
        for folder in each.settings.destinations:
            try:
                for name in filter(written.__contains__, each.name_files()):
                    with replace_file(folder / name, mode) as temporary:
                        shutil.copyfile(settings.exports / name, temporary)
            except CannotWriteError as error:
                error.cause = f"exposure {each.name}: {error.cause}"
                failed = failed or error
    if failed:
        raise failed
