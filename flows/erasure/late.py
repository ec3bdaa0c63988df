"""Addresses that were erased, in what lands later: found by their hash, since nobody kept them, and erased again."""

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import duckdb

from flows.addresses import register
from flows.erasure.patterns import FULL_STOPS, FULL_WIDTH_AT, Target
from flows.erasure.places import count_in
from flows.erasure.pseudonyms import Pseudonyms, prepare, pseudonym_of, read_pseudonyms
from flows.erasure.rewrite import rewrite_file, rewrite_landed, rewrite_parquet
from flows.landing import loads
from flows.landing.loads import Load
from flows.settings import ACTIONS, Settings
from flows.sql import listed, quote, text

ADDRESS = r"(?:\"(?:[^\"\\]|\\.)*\"|[\pL\pN!#$%&'*+/=?^_`{|}~.-]+)@[\pL\pN" + FULL_STOPS + ".-]+"
"""What may be an address, its end or its begin (RE2): too long rather than too short."""

DECODED = (
    (rf"\\u0040|%40|=40|{FULL_WIDTH_AT}|&#64;", "@"),
    (r"\\u003d|%3D|=3D", "="),
    ("%2B|=2B", "+"),
    (r"\\[nrtbf]|\\u[0-9a-f]{4}|[%=](?:20|22|26|27|28|2C|2F|3A|3B|3C|3E|3F|5B|7C|0A|0D|09)", " "),
)
"""What stands for what in JSON, in addresses of pages and in mail, in this order."""

LONGEST_LOCAL = 320
"""Characters before an `@` that are looked at: a return path holds a whole address beside what marks the message."""

FILES_AT_ONCE = 500


def erase_late(settings: Settings, batch: Sequence[Load]) -> int:
    """Erase what was erased before from landed files that are about to be built; gives the files that named it.

    Also what brings an erasure to its end that was killed: the build after it takes in everything.
    """
    pseudonyms = read_pseudonyms(settings)
    if not pseudonyms or not pseudonyms.known or not batch:
        return 0
    named = sorted({(load.source_name, load.landing_name) for load in batch})
    landed = [loads.landing_path(settings, *each) for each in named]
    rejected = [path for each in named if (path := loads.rejects_path(settings, *each)).is_file()]
    records = [loads.load_path(settings, *each) for each in named]
    targets = find_targets(settings, pseudonyms, landed, rejected, [load.source_file for load in batch])
    if not targets:
        return 0
    found = {path for path in (*landed, *rejected, *records) if count_in(path, targets)}
    rewrite_landed(settings, found, targets)
    for path in found & set(rejected):
        rewrite_parquet(path, targets)
    if any(load.source_name == ACTIONS for load in batch):
        for path in settings.actions.rglob("*.jsonl"):
            if count_in(path, targets):
                rewrite_file(path, targets)
    return len(found)


def find_targets(
    settings: Settings, pseudonyms: Pseudonyms, landed: list[Path], rejected: list[Path], names: list[str]
) -> list[Target]:
    """Find which erased addresses stand in the files, or in the names of those that they came from."""
    by_columns: dict[Path, list[Path]] = {}
    for path in landed:
        by_columns.setdefault(path.parent, []).append(path)
    chunks = [
        paths[start : start + FILES_AT_ONCE]
        for paths in (*by_columns.values(), rejected)
        for start in range(0, len(paths), FILES_AT_ONCE)
    ]
    found: dict[str, str] = {}
    with duckdb.connect(config={"memory_limit": settings.memory_limit}) as connection:
        register(connection)
        prepare(connection, pseudonyms)
        connection.execute("create temp table names as select unnest($1::varchar[]) as name", [names])
        found |= search(connection, "names", ["name"])
        for paths in chunks:
            relation = f"read_parquet([{listed(paths)}], union_by_name = true)"
            columns = connection.execute(f"describe select * from {relation}").fetchall()
            searchable = [name for name, kind, *_ in columns if kind in {"VARCHAR", "BLOB"}]
            found |= search(connection, relation, searchable)
    return [Target(address, pseudonym) for address, pseudonym in sorted(found.items())]


def search(connection: duckdb.DuckDBPyConnection, relation: str, columns: list[str]) -> dict[str, str]:
    """Find the erased addresses in columns of text or bytes; gives their pseudonyms by address.

    Where an address begins cannot be seen (`bounces-7-ann=x.example@brand.example`), so every end of what stands before
    its `@` is tried. What is wrongly found is not replaced: `Target.text_patterns` are exact.
    """
    values = ", ".join(f"{quote(name)}::varchar" for name in columns)
    decoded = reduce(
        lambda sql, step: f"regexp_replace({sql}, {text(step[0])}, {text(step[1])}, 'gi')", DECODED, "written"
    )
    row_sets = connection.execute(
        f"""
        with texts as (
            select unnest([{values}]) as written from {relation}
        ),

        plain as (
            select
                lower(case
                    when regexp_matches(written, '[\\\\%{FULL_WIDTH_AT}]|=[0-9A-F][0-9A-F]|&#64;') then {decoded}
                    else written
                end) as written
            from texts
            where regexp_matches(written, '[@{FULL_WIDTH_AT}]|40|&#64;')
        ),

        candidates as (
            select distinct unnest(regexp_extract_all(written, {text(ADDRESS)})) as candidate from plain
        ),

        -- in a return path the recipient stands before the sender's own @, with `=` for its @ (VERP)
        addresses as (
            select candidate from candidates
            union
            select regexp_replace(regexp_replace(candidate, '@[^@]*$', ''), '=([^=]+)$', '@\\1') as candidate
            from candidates
            where contains(candidate, '=')
        ),

        parts as (
            select
                regexp_replace(candidate, '@[^@]*$', '') as local_part,
                rtrim(regexp_replace(candidate, '^.*@', ''), '.-') as named_domain,
                case
                    when strlen(named_domain) = length(named_domain) then named_domain
                    else idna_domain(named_domain)
                end as domain
            from addresses
        ),

        near as (
            select * from parts
            where
                domain in (select split_part(pseudonym, '@', -1) from erased)
                and length(local_part) <= {LONGEST_LOCAL}
        ),

        ends as (
            select distinct
                unnest(list_filter(
                    list_transform(
                        range(1, length(local_part) + 1),
                        lambda place: case
                            when place = 1 or regexp_matches(local_part[place - 1], '[^a-z0-9]')
                                then local_part[place:] || '@' || domain
                        end
                    ),
                    lambda address: address is not null
                )) as address
            from near
        ),

        hashed as (
            select address, {pseudonym_of("address")} as pseudonym from ends
        )

        select address, pseudonym from hashed where pseudonym in (select pseudonym from erased)
        """
    ).fetchall()
    return {str(address): str(pseudonym) for address, pseudonym in row_sets}
