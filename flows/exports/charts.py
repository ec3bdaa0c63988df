"""The tables that a workbook's charts are of, made from a report's counts."""

from collections import Counter

import duckdb
import pyarrow as pa

from flows.sql import quote

REASONS = 7
"""Reasons that are told apart: as many colours as eyes can."""
ROWS = 15
LABEL_CHARACTERS = 70
"""Of a bounce text beside its bar."""

NO_REPLY = "(no reply)"
OTHERS = "(others)"


def spread_reasons(table: pa.Table) -> pa.Table:
    """Of `day`, `reason`, `amount` make `day` and a column for each reason with most, the largest first, then others.

    Days without any are left out: the axis of days has them.
    """
    totals: Counter[str] = Counter()
    days: dict[object, Counter[str]] = {}
    for row in table.to_pylist():
        totals[row["reason"] or NO_REPLY] += row["amount"]
    names = sorted(totals, key=lambda name: (-totals[name], name))
    told = names if len(names) <= REASONS + 1 else [*names[:REASONS], OTHERS]
    for row in table.to_pylist():
        reason = row["reason"] or NO_REPLY
        days.setdefault(row["day"], Counter())[reason if reason in told else OTHERS] += row["amount"]
    columns = {name: pa.array([amounts[name] for amounts in days.values()], pa.int64()) for name in told}
    return pa.table({"day": pa.array(days, pa.date32()), **columns})


def add_up(table: pa.Table, column: str, amount_name: str) -> pa.Table:
    """The values of a column that have most, shortened to labels, and their amounts."""
    with duckdb.connect() as connection:
        connection.register("counted", table)
        added: pa.Table = connection.execute(
            f"""
            with added as (
                select coalesce({quote(column)}, ?) as value, sum(amount)::bigint as amount
                from counted
                group by all
                order by amount desc, value
                limit {ROWS}
            )

            select
                left(regexp_replace(value, '[\\s\\pZ\\pC]+', ' ', 'g'), {LABEL_CHARACTERS}) as {quote(column)},
                amount as {quote(amount_name)},
            from added
            order by amount desc, value
            """,
            [NO_REPLY],
        ).to_arrow_table()
    return added
