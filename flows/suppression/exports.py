"""A list as a file for others: for people and programs, hashed for partners, or as mail providers import it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import duckdb

from flows.exports.contents import Export, write_export
from flows.exports.csv_file import csv_profile
from flows.exports.files import replace_file
from flows.exports.publication import describe_publication
from flows.keyed_hash import keyed_hash, set_key
from flows.problems import WrongUsageError
from flows.settings import Settings
from flows.sql import text
from flows.suppression.actions import ListName
from flows.suppression.current import open_current
from flows.suppression.questions import VIEWS

FormatName = Literal["csv", "xlsx", "parquet"]
Hash = Literal["plain", "sha256", "md5", "hmac-sha256"]
Layout = Literal["plain", "sendgrid", "mailgun", "ses", "sparkpost", "postmark", "mandrill", "postal"]

KEY_NAME = "BOUNCEHOUSE_EXPORT_KEY"
SHORTEST_KEY = 16
"""Bytes. A key that can be guessed lets everybody test which addresses are in the file."""


@dataclass(frozen=True)
class ProviderLayout:
    """Columns, as SQL over a list, that a provider's import takes; `has_header` whether it wants their names first."""

    columns: Mapping[str, str]
    global_columns: Mapping[str, str] | None = None
    has_header: bool = True


RFC_2822 = "strftime(suppressed_at, '%a, %d %b %Y %H:%M:%S +0000')"
CAUSE = "coalesce(reason, cause)"

LAYOUTS: dict[Layout, ProviderLayout] = {
    # SendGrid's dashboard takes a CSV file whose column of addresses is called `email`
    "sendgrid": ProviderLayout({"email": "address"}),
    # POST /v3/<domain>/bounces/import and …/unsubscribes/import; `*` unsubscribes from every tag
    "mailgun": ProviderLayout(
        {"address": "address", "code": "'550'", "error": CAUSE, "created_at": RFC_2822},
        {"address": "address", "tags": "'*'", "created_at": RFC_2822},
    ),
    # CreateImportJob for the account's suppression list: address and reason, and no header
    "ses": ProviderLayout(
        {"address": "address", "reason": "'BOUNCE'"},
        {"address": "address", "reason": "'COMPLAINT'"},
        has_header=False,
    ),
    # A list of SparkPost holds transactional and other mail back apart; each address comes twice.
    "sparkpost": ProviderLayout(
        {"recipient": "address", "type": "unnest(['transactional', 'non_transactional'])", "description": CAUSE},
        {"recipient": "address", "type": "'non_transactional'", "description": CAUSE},
    ),
    # Postmark and Mandrill take one address a line
    "postmark": ProviderLayout({"address": "address"}, has_header=False),
    "mandrill": ProviderLayout({"address": "address"}, has_header=False),
    # the table `suppressions` of a Postal server's database; it keeps an entry for 30 days
    "postal": ProviderLayout(
        {
            "type": "'recipient'",
            "address": "address",
            "reason": CAUSE,
            "timestamp": "epoch(suppressed_at)::bigint",
            "keep_until": "epoch(now())::bigint + 30 * 86400",
        }
    ),
}


def export_list(
    settings: Settings,
    path: Path,
    *,
    format_name: FormatName = "csv",
    hashed: Hash = "plain",
    layout: Layout = "plain",
    list_name: ListName = "suppression",
    since: datetime | None = None,
    key: str | None = None,
    is_excel_safe: bool | None = None,
) -> int:
    """Write the list as it stands now, or with `since` what has changed; gives the rows. The file is whole or absent.

    Changes are one row an address: `added` if it is on the list now and was put there at or after `since` (UTC and
    naive), `removed` if it was taken off since and is not on it. A provider's layout holds only what was added.

    Hashes are of the address in its normal form. `key` is for `hmac-sha256`. Addresses that were erased are left out of
    hashes and of providers' layouts, which cannot do anything with a pseudonym. `is_excel_safe` is of plain CSV, as
    `csv_profile` has it.
    """
    check_choices(path, format_name, hashed, layout, key)
    if is_excel_safe is not None and (format_name != "csv" or layout != "plain"):
        raise WrongUsageError(
            "--excel-safe and --plain are profiles of CSV", "leave it out: workbooks and providers' layouts need none"
        )
    with open_current(settings) as current:
        connection = current.connection
        address = hash_address(connection, hashed, key)
        make_rows(connection, list_name, since, with_erased=(hashed, layout) == ("plain", "plain"))
        if layout == "plain":
            name = "address" if hashed == "plain" else f"address_{hashed.replace('-', '_')}"
            # who and why are an administrator's own words, and may name the address
            notes = ", acted_by, why" if hashed == "plain" else ""
            action = "action, changed_at, " if since is not None else ""
            domain = ", recipient_domain" if hashed == "plain" else ""
            query = f"""
                select
                    {address} as {name}, {action}suppressed_at{domain}, cause, reason, source_name, campaign_id{notes}
                from export_rows
                order by 1
            """
            table = connection.execute(query).to_arrow_table()
        else:
            return write_layout(connection, LAYOUTS[layout], list_name, path)
    export = Export(
        title="Suppression list" if list_name == "suppression" else "Global suppress list",
        table=table,
        info={
            "list": list_name,
            "rows": table.num_rows,
            "hash": hashed,
            "changes_since_utc": since,
            **describe_publication(settings.published_database),
        },
        csv=csv_profile(is_excel_safe),
    )
    write_export(export, path, format_name)
    return table.num_rows


def write_layout(connection: duckdb.DuckDBPyConnection, layout: ProviderLayout, list_name: ListName, path: Path) -> int:
    """Write what was added as a provider's import takes it: exact text, since the file is for a machine."""
    columns = (layout.global_columns if list_name == "global" else None) or layout.columns
    spread = ", ".join(f'{expression} as "{column}"' for column, expression in columns.items())
    with replace_file(path) as temporary:
        written = connection.execute(
            f"""copy (select {spread} from export_rows where action = 'added' order by address)
            to {text(str(temporary))} (format csv, header {layout.has_header}, compression none)"""
        ).fetchone()
    return int(written[0]) if written else 0


def check_choices(path: Path, format_name: FormatName, hashed: Hash, layout: Layout, key: str | None) -> None:
    """Refuse what cannot be meant together."""
    if path.is_dir():
        raise WrongUsageError(f"{path} is a folder", "give the name of a file")
    if layout != "plain" and hashed != "plain":
        raise WrongUsageError(f"{layout} cannot import hashes", "leave out --hash, or --layout")
    if layout != "plain" and format_name != "csv":
        raise WrongUsageError(f"{layout} imports CSV, not {format_name}", "leave out --format, or --layout")
    if hashed == "hmac-sha256" and len((key or "").encode()) < SHORTEST_KEY:
        raise WrongUsageError(
            f"{KEY_NAME} is not set, or shorter than {SHORTEST_KEY} bytes",
            "put the key that you share with the recipient of the file into the environment",
        )


def make_rows(
    connection: duckdb.DuckDBPyConnection, list_name: ListName, since: datetime | None, *, with_erased: bool
) -> None:
    """Make the view `export_rows` of a list: all of it, or what has changed since."""
    view = VIEWS[list_name]
    removed = ""
    if since is not None:
        moment = f"timestamp {text(since.isoformat(sep=' '))}"
        removed = f"""
            where suppressed_at >= {moment}
            union all by name
            select
                address, any_value(recipient_domain) as recipient_domain, 'removed' as action,
                max(occurred_at) as changed_at, arg_max(acted_by, occurred_at) as acted_by,
                arg_max(why, occurred_at) as why
            from history
            where
                list_name = {text(list_name)} and occurred_at >= {moment}
                and address not in (select address from {view})
            group by address
        """
    connection.execute(
        f"""
        create or replace temp view export_rows as
        with chosen as (
            select *, 'added' as action, suppressed_at as changed_at from {view}
            {removed}
        )

        select * from chosen
        where {with_erased} or address not in (select pseudonym from erased)
        """
    )


def hash_address(connection: duckdb.DuckDBPyConnection, hashed: Hash, key: str | None) -> str:
    """SQL for the address as it is written."""
    if hashed == "plain":
        return "address"
    if hashed in ("sha256", "md5"):
        return f"{hashed}(address)"
    set_key(connection, "export", (key or "").encode())
    return keyed_hash("export", "address")
