"""What stands in the files: the reports and the suppression list, with the facts that explain them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from flows.exports.charts import add_up, spread_reasons
from flows.exports.csv_file import CsvProfile, csv_profile, write_csv
from flows.exports.files import replace_file
from flows.exports.publication import describe_publication
from flows.exports.workbook import Chart, Sheet, Workbook, write_workbook
from flows.report import Grouping, Selection, count_by_day, open_published, report

TableFormat = Literal["csv", "xlsx", "parquet"]

GROUPING_LABELS: dict[Grouping, str] = {"from_domain": "From domain", "sending_ip": "sending IP"}


@dataclass(frozen=True)
class Export:
    """A table with what its files need to know: a title, facts about it, its CSV's profile.

    A workbook has the table as its first sheet, then `more_sheets` and `charts`.
    """

    title: str
    table: pa.Table
    info: Mapping[str, object]
    sheet_title: str = ""
    note: tuple[str, str] | None = None
    bars: Sequence[str] = ()
    more_sheets: Sequence[Sheet] = ()
    charts: Sequence[Chart] = ()
    csv: CsvProfile = field(default_factory=lambda: CsvProfile(excel_safe=True))

    @property
    def sheets(self) -> list[Sheet]:
        """The sheets of a workbook."""
        return [Sheet(self.sheet_title or self.title, self.table, self.note, self.bars), *self.more_sheets]


def write_export(export: Export, path: Path, format_name: TableFormat, mode: int = 0o600) -> None:
    """Write one file of the export; it takes the place of what is there at once, or not at all."""
    with replace_file(path, mode) as temporary:
        write_content(export, temporary, format_name)


def write_content(export: Export, path: Path, format_name: TableFormat) -> None:
    """Write the export in one format to a file that nobody reads yet."""
    if format_name == "parquet":
        with duckdb.connect() as connection:
            connection.from_arrow(export.table).write_parquet(str(path), compression="zstd")
    elif format_name == "csv":
        with path.open("wb") as target:
            write_csv(export.table, target, **export.csv)
    else:
        made_at = export.info.get("made_at_utc")
        dated = {"created_at": made_at} if isinstance(made_at, datetime) else {}
        info = {_label(name): value for name, value in export.info.items()}
        write_workbook(Workbook(export.title, export.sheets, info, export.charts, **dated), path)


def _label(name: str) -> str:
    words = name.replace("_", " ").replace(" utc", " (UTC)")
    return words[:1].upper() + words[1:]


def make_report_export(database: Path, selection: Selection, *, excel_safe: bool = True) -> Export:
    """Run the report and describe it: settings, total, and the state of the published data it came from."""
    table = report(database, selection)
    info: dict[str, object] = {
        "report": selection.subject,
        "first_day": selection.first_day,
        "last_day": selection.last_day,
        "time_zone": selection.time_zone,
        "campaign": "all" if selection.campaign is None else selection.campaign,
        "group_by": selection.group_by,
        "class": selection.bounce_class,
        "amount": pc.sum(table.column("amount")).as_py() or 0,
        "rows": table.num_rows,
        **describe_publication(database),
    }
    return Export(
        title=selection.subject.capitalize(),
        table=table,
        info=info,
        sheet_title=f"{selection.subject.capitalize()} by {GROUPING_LABELS[selection.group_by]}",
        note=("bounce_text", "sample_message"),
        bars=["amount"],
        csv={"excel_safe": excel_safe},
    )


def make_report_workbook(database: Path, selection: Selection, exports: Sequence[Export]) -> Export:
    """Join exports of one selection in its groupings to one for a workbook, with charts."""
    first, *others = exports
    subject = selection.subject
    groups = [export.info["group_by"] for export in exports]
    charts = [
        Chart(f"{subject.capitalize()} by day and reason", spread_reasons(count_by_day(database, selection)), True),
        Chart(f"Most frequent texts, in {subject}", add_up(first.table, "bounce_text", subject)),
        *(
            Chart(f"{subject.capitalize()} by {export.info['group_by']}", add_up(export.table, group, subject))
            for group, export in zip(map(str, groups), exports, strict=True)
        ),
    ]
    rows = {f"rows_by_{group}": export.table.num_rows for group, export in zip(groups, exports, strict=True)}
    described = {**first.info, "group_by": ", ".join(map(str, groups)), **rows}
    del described["rows"]
    return replace(
        first, info=described, more_sheets=[sheet for each in others for sheet in each.sheets], charts=charts
    )


def make_suppression_export(database: Path, *, excel_safe: bool | None = None) -> Export:
    """Take the suppression list as it is published, by address. Addresses stay exact by default (`csv_profile`)."""
    with open_published(database) as connection:
        table = connection.execute(
            """
            select
                suppressed.address,
                suppressed.recipient_domain,
                suppressed.suppressed_at,
                suppressed.reason,
                texts.bounce_text,
                suppressed.source_name,
                suppressed.campaign_id,
                suppressed.acted_by,
                suppressed.why,
                suppressed.rule_set_version,
                suppressed.suppression_policy,
            from marts.dim_suppressed_addresses as suppressed
            left join marts.dim_bounce_texts as texts on texts.text_id = suppressed.text_id
            order by suppressed.address, suppressed.suppressed_at
            """
        ).to_arrow_table()
    return Export(
        title="Suppression list",
        table=table,
        info={"list": "suppression list", "rows": table.num_rows, **describe_publication(database)},
        csv=csv_profile(excel_safe),
    )
