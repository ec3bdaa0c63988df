"""CSV (RFC 4180) in two profiles: exact for machines, safe for spreadsheets; lists mix the two."""

import codecs
from collections.abc import Collection
from typing import IO, Any, Required, TypedDict

import pyarrow as pa
import pyarrow.compute as pc

CSV_BATCH_ROWS = 65_536
OFTEN_THE_SAME = 4
"""How many rows a text has, on average, of a column of which each text is made once."""

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
    if excel_safe and mark:
        target.write(codecs.BOM_UTF8)
    target.write(_records([_fields(pa.array([name]), is_disarmed=False) for name in table.column_names]))
    for batch in table.to_batches(max_chunksize=CSV_BATCH_ROWS):
        fields = [
            _fields(column, is_disarmed=excel_safe and name not in exact_columns)
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
        target.write(_records(fields))


def _fields(column: Any, *, is_disarmed: bool) -> Any:
    """What stands for the values of a column in their records; of texts that are often the same, each is made once."""
    if _is_text(column):
        encoded = column.dictionary_encode()
        if len(encoded.dictionary) * OFTEN_THE_SAME <= len(column):
            each = _fields_of_texts(encoded.dictionary, is_disarmed=is_disarmed)
            return pc.fill_null(each.take(encoded.indices), "")
        return _fields_of_texts(column, is_disarmed=is_disarmed)
    return _fields_of_texts(_as_text(column), is_disarmed=False)


def _fields_of_texts(texts: Any, *, is_disarmed: bool) -> Any:
    return _quote(pc.fill_null((_disarm(texts) if is_disarmed else texts).cast(pa.large_string()), ""))


def _is_text(column: Any) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _records(fields: list[Any]) -> pa.Buffer:
    """The records of some rows, put together by Arrow: a list of half a million addresses is written each day."""
    records = pc.binary_join_element_wise(*fields, _large(","))
    if len(fields) == 1:  # an empty line would be no record
        records = pc.if_else(pc.equal(records, _large("")), _large('""'), records)
    lines = pc.binary_join_element_wise(records, _large(""), _large("\r\n"))
    written: pa.Buffer = lines.buffers()[2].slice(0, pc.sum(pc.binary_length(lines)).as_py() or 0)
    return written


def _quote(texts: Any) -> Any:
    """Quotes around the texts that hold what parts fields or records, and quotes in them doubled."""
    acts = pc.match_substring_regex(texts, '[",\r\n]')
    if not pc.any(acts).as_py():
        return texts
    doubled = pc.replace_substring(texts, pattern='"', replacement='""')
    return pc.if_else(acts, pc.binary_join_element_wise(_large('"'), doubled, _large('"'), _large("")), texts)


def _large(text: str) -> Any:
    return pa.scalar(text, pa.large_string())


def _as_text(column: Any) -> Any:
    """The values as Python's `str` has them: no fraction of a second where there is none."""
    if pa.types.is_integer(column.type):
        return column
    if column.type == pa.timestamp("us"):
        return pc.replace_substring_regex(column.cast(pa.string()), pattern=r"\.000000$", replacement="")
    return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())


def _disarm(texts: Any) -> Any:
    for pattern, replacement in ((_ACTS_INSIDE, r"\1'\2"), (_ACTS_AT_START, r"'\1")):
        # hardly any text acts, and to look for one costs a third of replacing
        if pc.any(pc.match_substring_regex(texts, pattern)).as_py():
            texts = pc.replace_substring_regex(texts, pattern=pattern, replacement=replacement)
    return texts
