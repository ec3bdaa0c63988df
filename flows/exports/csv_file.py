"""CSV (RFC 4180) in two profiles: exact for machines, safe for spreadsheets; lists mix the two."""

import csv
import io
from collections.abc import Collection
from typing import IO, Any, Required, TypedDict

import pyarrow as pa
import pyarrow.compute as pc

CSV_BATCH_ROWS = 65_536

_SPACES = r"[\s\p{Z}\p{C}]*"
_SIGNS = r"[=+@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}-]"
"""What starts a formula: `=`, `+`, `-`, `@` and, where Excel runs in Japanese or Chinese, their full-width forms."""
_ACTS_AT_START = f"^({_SPACES}{_SIGNS}|[ \n\\p{{Z}}\\p{{Cf}}]*[\t\r])"
_ACTS_INSIDE = f"([;\t\r\n]{_SPACES})({_SIGNS})"
"""Where Excel's list separator is `;` it does not see our quotes: a `;` or line end inside a cell begins a new cell."""


class CsvProfile(TypedDict, total=False):
    """How text stands in a CSV file: as `write_csv` has it."""

    excel_safe: Required[bool]
    exact_columns: Collection[str]
    mark: bool


def csv_profile(is_excel_safe: bool | None) -> CsvProfile:
    """The profile of a list: all text safe, all exact (False), or by default addresses exact and the rest safe.

    A changed address would be mailed, and importers look for a column called exactly `address`: no byte order mark.
    """
    if is_excel_safe is None:
        return {"excel_safe": True, "exact_columns": ("address",), "mark": False}
    return {"excel_safe": is_excel_safe, "mark": is_excel_safe}


def write_csv(
    table: pa.Table, target: IO[bytes], *, excel_safe: bool, exact_columns: Collection[str] = (), mark: bool = True
) -> None:
    """Write RFC 4180 CSV: UTF-8, CRLF after each record, header first, quotes only where needed, nothing for null.

    `excel_safe` puts an apostrophe before text that a spreadsheet would take for a formula, except in `exact_columns`,
    and (`mark`) begins with a byte order mark, without which Excel reads UTF-8 as the local code page. Without
    `excel_safe` the text is exact, for machines.
    """
    text = io.TextIOWrapper(target, encoding="utf-8-sig" if excel_safe and mark else "utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow(table.column_names)
    for batch in table.to_batches(max_chunksize=CSV_BATCH_ROWS):
        columns = [
            (_disarm(column) if excel_safe and name not in exact_columns else column).to_pylist()
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
        writer.writerows(zip(*columns, strict=True))
    text.flush()
    text.detach()


def _disarm(column: Any) -> Any:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    inside = pc.replace_substring_regex(column, pattern=_ACTS_INSIDE, replacement=r"\1'\2")
    return pc.replace_substring_regex(inside, pattern=_ACTS_AT_START, replacement=r"'\1")
