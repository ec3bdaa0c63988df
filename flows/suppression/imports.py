"""Lists that other systems kept: their exports, as CSV, JSON or plain lines, become actions of an administrator.

What a file of each vendor looks like (pages of their documentation, read 2026):

- Postal: the table `suppressions` of a server's database: type, address, reason, timestamp, keep_until (Unix seconds).
- SendGrid: bounces and blocks `status,reason,email,created`, invalid addresses `reason,email,created`, spam reports
  `ip,email,created`, unsubscribes `email,created`; `created` is Unix seconds. The API gives arrays of the same objects,
  and of unsubscribe groups arrays of addresses.
- Mailgun: bounces `address,code,error,created_at`, unsubscribes `address,tags,created_at`, complaints
  `address,created_at` with times as in RFC 2822; the API gives the same below `items`.
- Amazon SES: `SuppressedDestinationSummaries` of `list-suppressed-destinations` (EmailAddress, Reason, LastUpdateTime),
  or the lines of an import job: `address,BOUNCE`.
- SparkPost: `recipient,type,description`, of the API `results` with `source` and `created` too.
- Postmark: `Suppressions` (EmailAddress, SuppressionReason, Origin, CreatedAt), as CSV too.
- Mandrill: `email,reason,detail,created_at,expires_at,last_event_at,subaccount`; the API gives arrays of the same.
"""

import json
import tempfile
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import duckdb

from flows.dbt_macros import read_macros
from flows.exports.files import replace_file
from flows.failpoints import failpoint
from flows.landing.loads import sync
from flows.problems import ActionableError, WrongUsageError
from flows.settings import Settings
from flows.sql import text
from flows.suppression import list_files
from flows.suppression.actions import ListName, check_note, find_problem
from flows.suppression.current import IMPORT_PREFIX, normal_address, open_current
from flows.suppression.list_files import DEFAULT_OPTIONS, ListFile, ReadOptions, normal_name

SAMPLES = 5


@dataclass(frozen=True)
class Vendor:
    """How a vendor calls things, as `normal_name` gives them: `signs` tell its files from others', the surest first.

    `kinds` say why an address is on the vendor's list, and whether because its owner does not want mail.
    """

    title: str
    signs: tuple[frozenset[str], ...]
    addresses: tuple[str, ...]
    times: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    expiries: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()


VENDORS = {
    "postal": Vendor(
        "postal",
        (frozenset({"address", "keepuntil"}), frozenset({"address", "timestamp"})),
        ("address",),
        ("timestamp",),
        kinds=("reason",),
        expiries=("keepuntil",),
    ),
    "mandrill": Vendor(
        "mandrill",
        (frozenset({"email", "reason", "detail"}), frozenset({"email", "reason", "expiresat"})),
        ("email",),
        ("createdat", "created"),
        kinds=("reason",),
        expiries=("expiresat", "expires"),
    ),
    "postmark": Vendor(
        "postmark",
        (frozenset({"emailaddress", "suppressionreason"}), frozenset({"emailaddress", "origin"})),
        ("emailaddress", "email"),
        ("createdat",),
        kinds=("suppressionreason", "origin"),
        containers=("Suppressions",),
    ),
    "ses": Vendor(
        "ses",
        (frozenset({"emailaddress", "lastupdatetime"}), frozenset({"emailaddress", "reason"})),
        ("emailaddress",),
        ("lastupdatetime",),
        kinds=("reason",),
        containers=("SuppressedDestinationSummaries",),
    ),
    "sparkpost": Vendor(
        "sparkpost",
        (frozenset({"recipient", "type"}), frozenset({"recipient", "nontransactional"})),
        ("recipient",),
        ("created", "updated"),
        kinds=("source",),
        containers=("results", "recipients"),
    ),
    "sendgrid": Vendor(
        "sendgrid",
        (frozenset({"email", "created"}),),
        ("email",),
        ("created",),
        containers=("recipient_emails",),
    ),
    "mailgun": Vendor(
        "mailgun",
        (frozenset({"address", "createdat"}), frozenset({"address", "code", "error"})),
        ("address",),
        ("createdat",),
        containers=("items",),
    ),
}

WISHES = r"(?i)spam|complain|abuse|unsub|opt[ _-]?out|^manualsuppression recipient"
"""Kinds that are the wish of the address's owner. Postmark: a recipient who unsubscribed suppressed himself."""


@dataclass(frozen=True)
class ImportResult:
    """What a file held, in entries; `new` and `known` count addresses by list.

    `known` are on the list already by an administrator's decision or an import. `expired` were on the vendor's list
    only for a time that is over. `samples` are some of the `invalid`, with their record and what is wrong. `path` is
    the file of actions, None where nothing was to be written.
    """

    origin: str
    rows: int
    expired: int
    invalid: int
    repeated: int
    new: dict[ListName, int]
    known: dict[ListName, int]
    samples: list[tuple[int, str, str]] = field(default_factory=list)
    path: Path | None = None


def import_list(
    settings: Settings,
    source: Path,
    *,
    by: str,
    reason: str,
    list_name: ListName | None = None,
    vendor: str = "auto",
    options: ReadOptions = DEFAULT_OPTIONS,
    dry_run: bool = False,
) -> ImportResult:
    """Take a list in as actions of this moment, all of them or none.

    Without `list_name`, an entry that the vendor lists because its owner complained or unsubscribed goes to the users'
    own list, any other to the administrator's. An address that an administrator or an import has put there already is
    not put there again, so that the same file may be imported twice.
    """
    by, reason = check_note(by, "--by"), check_note(reason, "--reason")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bouncehouse-")))
        connection = stack.enter_context(open_current(settings)).connection
        file = list_files.open_list_file(source, options, spool=scratch)
        if file.sample and is_json(file):
            vendor_name, content = read_json(connection, file, vendor, scratch)
        else:
            vendor_name, content = read_columns(connection, file, vendor, options.column)
        judge(connection, list_name)
        result = count(connection, f"{vendor_name} {content}".strip())
        if dry_run or not sum(result.new.values()):
            return result
        path = write(connection, settings, by=by, reason=reason, origin=f"{result.origin}: {file.name}")
        return replace(result, path=path)


def is_json(file: ListFile) -> bool:
    """Whether the file is JSON: an object, an array, or one after the other."""
    start = next((block for block in list_files.decode_blocks(file)), b"").lstrip()[:2]
    return start.startswith((b"{", b"["))


def find_vendor(file: ListFile, names: Collection[str], wanted: str) -> tuple[str, Vendor | None]:
    """Give the vendor whose file this is, by the names in it; none where nobody calls things like that."""
    if wanted == "lines":
        return "lines", None
    if wanted != "auto":
        return wanted, VENDORS[wanted]
    known = ((name, vendor) for name, vendor in VENDORS.items() if any(sign <= set(names) for sign in vendor.signs))
    return next(known, ("list", None))


def describe_content(vendor_name: str, names: Collection[str]) -> str:
    """Say which of a vendor's lists it is, where one file holds one list and the names in it tell which."""
    if vendor_name == "sendgrid":
        if "reason" in names:
            return "bounces" if "status" in names else "invalid addresses"
        return "spam reports" if "ip" in names else "unsubscribes"
    if vendor_name == "mailgun":
        if {"code", "error"} & set(names):
            return "bounces"
        return "unsubscribes" if "tags" in names else "complaints"
    return ""


def read_columns(
    connection: duckdb.DuckDBPyConnection, file: ListFile, wanted: str, column: str | None
) -> tuple[str, str]:
    """Make the table `entries` of a CSV file or of plain lines; gives the vendor, and which of its lists it is."""
    names = [normal_name(name) for name in file.header or ()]
    vendor_name, vendor = find_vendor(file, names, wanted)
    content = describe_content(vendor_name, names) if names else ""
    kinds = [names.index(name) for name in vendor.kinds if name in names] if vendor else []
    is_import_job = (
        vendor_name in ("list", "ses")
        and not names
        and bool(file.sample)
        and all(len(record) == 2 and record[1].strip() in ("BOUNCE", "COMPLAINT") for record in file.sample)
    )
    if is_import_job:
        vendor_name, kinds = "ses", [1]
    place = list_files.find_address_column(file, column, vendor.addresses if vendor else list_files.ADDRESS_COLUMNS)

    def first(wanted_names: Sequence[str]) -> str:
        places = [names.index(name) for name in wanted_names if name in names]
        return list_files.field(file, places[0]) if places else "null::varchar"

    list_files.load_records(connection, file)
    kind = ", ".join(list_files.field(file, number) for number in kinds)
    connection.execute(
        f"""
        create or replace temp table entries as
        select
            rowid + 1 as place,
            {list_files.field(file, place)} as written,
            {first(vendor.times if vendor else ())} as listed,
            {f"concat_ws(' ', {kind})" if kind else text(content)} as kind,
            {first(vendor.expiries if vendor else ())} as expiry
        from records
        where rowid >= {int(file.header is not None)}
        """
    )
    return vendor_name, content


def read_json(connection: duckdb.DuckDBPyConnection, file: ListFile, wanted: str, scratch: Path) -> tuple[str, str]:
    """Make the table `entries` of a JSON file: arrays, pages as the vendors' APIs give them, or one object a line."""
    path = scratch / "list.json"
    with path.open("wb") as copy:
        for block in list_files.decode_blocks(file):
            copy.write(block + b"\n")
    containers = [name for vendor in VENDORS.values() for name in vendor.containers]
    arrays = ", ".join(
        f"case when json_type(json, '$.{name}') = 'ARRAY' then cast(json_extract(json, '$.{name}') as json[]) end"
        for name in containers
    )
    try:
        connection.execute(
            f"""
            create or replace temp table elements as
            select unnest(coalesce({arrays}, [json])) as element
            from read_json_objects({text(str(path))}, format = 'auto',
                maximum_object_size = {max(path.stat().st_size + 16, 1 << 24)})
            """
        )
    except duckdb.Error as error:
        message = str(error).splitlines()[0].replace(str(path), file.name)
        raise ActionableError(f"{file.name} is not JSON throughout: {message}", "export the list anew") from error
    keys = [
        key
        for (key,) in connection.execute(
            "select distinct unnest(json_keys(element)) from elements where json_type(element) = 'OBJECT' order by 1"
        ).fetchall()
    ]
    names = {normal_name(key): key for key in keys}
    vendor_name, vendor = find_vendor(file, names, wanted)
    content = describe_content(vendor_name, names) if names else ""

    def values(wanted_names: Sequence[str]) -> list[str]:
        found = [names[name] for name in wanted_names if name in names]
        return [f"json_extract_string(element, {text('$.' + json.dumps(key))})" for key in found]

    def first(wanted_names: Sequence[str]) -> str:
        return f"coalesce({', '.join(values(wanted_names))})" if values(wanted_names) else "null::varchar"

    addresses = vendor.addresses if vendor else list_files.ADDRESS_COLUMNS
    if keys and not values(addresses):
        raise WrongUsageError(
            f"no key of the objects in {file.name} is known to hold an address: {', '.join(map(repr, keys))}",
            "make it CSV, and say which column with --column",
        )
    kind = ", ".join(values(vendor.kinds)) if vendor else ""
    connection.execute(
        f"""
        create or replace temp table entries as
        select
            rowid + 1 as place,
            case json_type(element)
                when 'OBJECT' then {first(addresses)}
                when 'VARCHAR' then element ->> '$'
                else element::varchar
            end as written,
            {first(vendor.times if vendor else ())} as listed,
            {f"concat_ws(' ', {kind})" if kind else text(content)} as kind,
            {first(vendor.expiries if vendor else ())} as expiry
        from elements
        """
    )
    return vendor_name, content


def judge(connection: duckdb.DuckDBPyConnection, list_name: ListName | None) -> None:
    """Make the tables `judged` (every entry) and `chosen` (an address once a list, and whether it is there)."""
    chosen = text(list_name) if list_name else f"if(regexp_matches(kind, {text(WISHES)}), 'global', 'suppression')"
    connection.execute(
        f"""
        create or replace temp table judged as
        with addressed as (
            select *, {normal_address("written")} as address from entries
        )

        select
            place,
            written,
            address,
            {find_problem("address")} as problem,
            {chosen} as list_name,
            {parse_time("listed")} as listed_at,
            coalesce({parse_time("expiry")} < {text(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}")}::timestamp, false)
                as is_expired
        from addressed
        """
    )
    connection.execute(
        """
        create or replace temp table chosen as
        with distinct_entries as (
            select list_name, address, min(listed_at) as listed_at, min(place) as place
            from judged
            where problem is null and not is_expired
            group by list_name, address
        ),

        facts as (
            select list_name, address, occurred_at, is_removal
            from marts.fct_suppression_causes
            where
                (cause in ('administrator', 'import') or is_removal)
                and (list_name, address) not in (select (list_name, address) from touched)
            union all
            select list_name, address, occurred_at, is_removal
            from causes_now
            where cause in ('administrator', 'import') or is_removal
        ),

        decided as (
            select list_name, address
            from facts
            group by list_name, address
            having
                max(occurred_at) filter (not is_removal)
                > coalesce(max(occurred_at) filter (is_removal), timestamp '-infinity')
        )

        select distinct_entries.*, decided.address is not null as is_known
        from distinct_entries
        left join decided
            on distinct_entries.list_name = decided.list_name and distinct_entries.address = decided.address
        """
    )


def parse_time(value: str) -> str:
    """SQL for a time as the vendors write it, in UTC: Unix seconds, ISO 8601, or RFC 2822; null for what is none."""
    moment = f"regexp_replace({value}, ' (GMT|UTC|\\+0000)$', '')"
    return rf"""case
        when regexp_full_match({value}, '\d{{9,10}}(\.\d+)?')
            then make_timestamp(cast(round(cast({value} as double) * 1000000) as bigint))
        when regexp_matches({value}, '^\d{{4}}-') then {read_macros().timestamp_from_iso(value)}
        else try_strptime({moment}, ['%a, %d %b %Y %H:%M:%S', '%d %b %Y %H:%M:%S'])
    end"""


def count(connection: duckdb.DuckDBPyConnection, origin: str) -> ImportResult:
    """Count the entries, and give some of those that are no address."""
    totals = connection.execute(
        """
        select count(*), count(*) filter (problem is null and is_expired), count(problem),
            (select count(*) from chosen)
        from judged
        """
    ).fetchone() or (0, 0, 0, 0)
    rows, expired, invalid, chosen = totals
    lists = connection.execute(
        """
        select list_name, count(*) filter (not is_known), count(*) filter (is_known)
        from chosen
        group by 1
        order by 1 desc
        """
    ).fetchall()
    samples = connection.execute(
        f"""
        select place, coalesce(left(written, 100), ''), problem
        from judged
        where problem is not null
        order by place
        limit {SAMPLES}
        """
    ).fetchall()
    return ImportResult(
        origin=origin,
        rows=rows,
        expired=expired,
        invalid=invalid,
        repeated=rows - expired - invalid - chosen,
        new={name: new for name, new, _ in lists},
        known={name: known for name, _, known in lists},
        samples=samples,
    )


def write(connection: duckdb.DuckDBPyConnection, settings: Settings, *, by: str, reason: str, origin: str) -> Path:
    """Write an action for each new address into a file of its own, which appears whole or not at all."""
    path = settings.actions / f"{IMPORT_PREFIX}{uuid4().hex}.jsonl"
    columns = {"action": "import", "at": datetime.now(UTC).isoformat(timespec="microseconds"), "by": by}
    given = ", ".join(f'{text(value)} as "{name}"' for name, value in columns.items())
    # the temporary name begins with a dot: neither a run nor another command takes it for actions
    with replace_file(path) as temporary:
        connection.execute(
            f"""
            copy (
                select
                    replace(uuid()::varchar, '-', '') as action_id,
                    {given},
                    {text(reason)} as reason,
                    list_name as list,
                    address,
                    strftime(listed_at, '%Y-%m-%dT%H:%M:%S.%f+00:00') as listed_at,
                    {text(origin)} as origin
                from chosen
                where not is_known
                order by place
            ) to {text(str(temporary))} (format json, compression none)
            """
        )
        failpoint("actions.import_written")
    sync(path.parent)
    return path
