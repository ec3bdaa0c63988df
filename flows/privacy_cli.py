"""The commands of privacy. Imports that take time are made inside them, as in flows/cli.py."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_options import HomeOption, make_settings, say, to_json
from flows.problems import WrongUsageError

if TYPE_CHECKING:
    from flows.erasure.places import Place
    from flows.settings import Settings

PLACES_SHOWN = 20


def erase(
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS...", show_default=False)],
    by: Annotated[str | None, typer.Option(help="Who decides.", show_default=False)] = None,
    reason: Annotated[str | None, typer.Option(help="Why.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show where the addresses stand.")] = False,
    home: HomeOption = None,
) -> None:
    """Replace addresses by their keyed hash wherever they stand in the home, then search it to prove them gone.

    What an address was on the lists, it stays: a mailing list that names it is still stopped. Everything is built anew.
    """
    from flows.erasure.erase import erase, find_everywhere

    settings = make_settings(home)
    if dry_run:
        places = find_everywhere(settings, addresses)
        show_places(settings, places)
        say(f"named in {len(places):,} files; nothing was changed")
        return
    if by is None or reason is None:
        raise WrongUsageError("--by and --reason are missing", "an erasure is recorded with who decided it, and why")
    erased = erase(settings, addresses, by=by, reason=reason)
    if not erased.pseudonyms:
        say("named nowhere in the home; nothing was changed")
        return
    show_places(settings, erased.places)
    for pseudonym in erased.pseudonyms:
        print(pseudonym)
    say(f"erased from {len(erased.places):,} files; a search of the whole home finds nothing any more")
    if erased.raw_logs:
        say("The raw logs are yours, and still name them. Remove or rewrite:")
        for path in erased.raw_logs:
            say(f"  {path}")


def show_places(settings: "Settings", places: "list[Place]") -> None:
    """Say how often which files name the addresses."""
    for place in places[:PLACES_SHOWN]:
        say(f"  {place.path.relative_to(settings.root)}: {place.count:,}")
    if len(places) > PLACES_SHOWN:
        say(f"  and {len(places) - PLACES_SHOWN:,} more")


def retention(
    home: HomeOption = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, help="Days to keep. Default: BOUNCEHOUSE_RETENTION_DAYS.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Show what the next run would drop for its age. Changes nothing: the runs drop it, for good."""
    from dataclasses import asdict
    from datetime import UTC, datetime

    from flows.lock import hold_lock
    from flows.retention import find_due_day, preview
    from flows.tables import make_console, print_table

    settings = make_settings(home)
    kept_days = days or settings.retention_days
    if not kept_days:
        raise WrongUsageError(
            "everything is kept for ever: BOUNCEHOUSE_RETENTION_DAYS is not set",
            "give --days to see what a retention period would drop",
        )
    with hold_lock(settings):
        plan = preview(settings, kept_days)
    if as_json:
        print(json.dumps(asdict(plan), indent=2, default=to_json))
        return
    console = make_console()
    what = f"what ended before {plan.cutoff:%Y-%m-%d} (UTC)"
    supposed = "" if kept_days == settings.retention_days else f", with BOUNCEHOUSE_RETENTION_DAYS={kept_days},"
    due_day = find_due_day(settings, kept_days)
    if due_day and due_day > datetime.now(UTC).date():
        console.print(f"No run drops anything before {due_day}; today one would drop{supposed} {what}.")
    else:
        console.print(f"The next run {f'would drop{supposed}' if supposed else 'drops'} {what}.")
    rows = [asdict(source) for source in plan.sources]
    if not rows:
        console.print("That is nothing.")
        return
    headers = list(rows[0])
    numeric = [name.replace("_", " ") for name in headers if not name.endswith(("_name", "_at"))]
    print_table(
        console,
        [name.removesuffix("_at").replace("_", " ") for name in headers],
        ([row[name] for name in headers] for row in rows),
        numeric=numeric,
    )
