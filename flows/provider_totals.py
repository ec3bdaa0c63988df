"""What providers say they counted, from a file that the user keeps: shown to every build, for `ops_provider_totals`.

`<home>/provider_totals.csv` has a header and the columns `source_name,event_date,figure,provider_count`: a source, a
day (UTC), the name of a count of `rpt_delivery_daily` and what the provider's own statistics say. Rows that agree in
the first three add up (of several accounts). No provider's statistics are fetched: their pages and APIs define, name
and date them each in its own way.
"""

import duckdb

from flows.problems import WrongUsageError
from flows.restatements import DELIVERY_FIGURES
from flows.settings import SOURCES, Settings
from flows.sql import one_of, text

COLUMNS = {"source_name": "varchar", "event_date": "date", "figure": "varchar", "provider_count": "bigint"}


def show_provider_totals(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Make the table `landing.provider_totals`, empty without the file; `WrongUsageError` if it is not as above."""
    path = settings.provider_totals
    typed = ", ".join(f"cast({name} as {kind}) as {name}" for name, kind in COLUMNS.items())
    if not path.exists():
        nulls = ", ".join(f"cast(null as {kind}) as {name}" for name, kind in COLUMNS.items())
        connection.execute(f"create or replace table landing.provider_totals as select {nulls} where false")
        return
    try:
        connection.execute(
            "create or replace table landing.provider_totals as"
            f" select {typed} from read_csv({text(path)}, header = true, all_varchar = true, delim = ',')"
        )
    except duckdb.Error as error:
        raise _wrong(settings, str(error).splitlines()[0]) from error
    unknown = connection.execute(
        f"""select distinct concat_ws(',', source_name, event_date, figure, provider_count)
        from landing.provider_totals
        where not coalesce(
            source_name in {one_of(SOURCES)} and figure in {one_of(DELIVERY_FIGURES)} and event_date is not null
            and provider_count >= 0, false
        )
        order by 1
        limit 1"""
    ).fetchone()
    if unknown:
        raise _wrong(settings, f"the record {unknown[0]}")


def _wrong(settings: Settings, cause: str) -> WrongUsageError:
    return WrongUsageError(
        f"{settings.provider_totals} is not as it must be: {cause}",
        f"its header is {','.join(COLUMNS)}; a source is one of {', '.join(SOURCES)}, a date 2026-03-02,"
        f" a figure one of {', '.join(DELIVERY_FIGURES)}",
    )
