"""The erasure of addresses in a home: what is found, in which order it goes, and the search that proves it gone."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows import landing
from flows.addresses import normal_form
from flows.build import build
from flows.erasure.patterns import Target
from flows.erasure.places import Place, find_digests, find_places
from flows.erasure.pseudonyms import make_pseudonyms, read_pseudonyms, record_erasures
from flows.erasure.rewrite import rewrite_file, rewrite_landed, rewrite_parquet
from flows.exports import dated
from flows.exports.dated import mend_manifests
from flows.exports.exporting import export_all
from flows.landing.damage import ASIDE
from flows.landing.loads import landing_path, rejects_path
from flows.landing.temporary import remove_leftovers
from flows.lock import hold_lock
from flows.problems import ActionableError
from flows.publish import publish
from flows.settings import ACTIONS, Settings
from flows.suppression.actions import check_address, check_note


class NotErasedError(ActionableError):
    """Something in the home still names an address, and nothing that we may change."""


@dataclass(frozen=True)
class Erased:
    """What an erasure found. `places` named the addresses before, `raw_logs` in the inbox may still do.

    `pseudonyms` is empty where no address stood anywhere, and then nothing was changed or recorded.
    """

    pseudonyms: list[str]
    places: list[Place]
    raw_logs: list[Path]


def find_everywhere(settings: Settings, addresses: Sequence[str]) -> list[Place]:
    """Find what names one of the addresses, and change nothing."""
    return find_places(settings, [Target(normal_form(check_address(address)), "") for address in addresses])


def erase(settings: Settings, addresses: Sequence[str], *, by: str, reason: str) -> Erased:
    """Put pseudonyms in the place of addresses everywhere in the home, build, publish and export it anew, and search.

    Killed anywhere, it is brought to its end by the next run (which then builds everything and erases again what it
    finds by hash) or by asking again. `NotErasedError` names what still holds an address at the end.
    """
    by, reason = check_note(by, "--by"), check_note(reason, "--reason")
    wanted = sorted({normal_form(check_address(address)) for address in addresses})
    with hold_lock(settings):
        read_pseudonyms(settings)  # a lost key is told of before anything is looked through
        places = find_everywhere(settings, wanted)
        if not places:
            return Erased([], [], [])
        pseudonyms = make_pseudonyms(settings)
        targets = [Target(address, pseudonyms.of(address)) for address in wanted]
        raw_logs = find_raw_logs(settings, {place.path for place in places}, targets)
        # Without it the next run builds everything, from the erasures recorded then: whatever happens to this one.
        remove_private_databases(settings)
        rewrite_copies(settings, {place.path for place in places}, targets)
        new = [target.pseudonym for target in targets if target.pseudonym not in pseudonyms.known]
        record_erasures(settings, new, by=by, reason=reason)
        rewrite(settings, {place.path for place in places}, targets)
        land_actions(settings)
        build(settings)
        publish(settings)
        export_all(settings)
        rest = find_places(settings, targets)
        forget(settings, {place.path for place in rest})
        rest = find_places(settings, targets)
        if rest:
            raise NotErasedError(
                "still named in " + ", ".join(str(place.path) for place in rest),
                "these files are not ours to change: remove them, then erase again",
            )
        return Erased([target.pseudonym for target in targets], places, raw_logs)


def rewrite(settings: Settings, paths: set[Path], targets: Sequence[Target]) -> None:
    """Erase from what everything else is made of, and from the exports that the next export may not write again."""
    remove_leftovers(settings)
    for path in settings.landing.rglob(f"*{ASIDE}"):  # nobody can tell what it holds
        path.unlink()
    rewrite_landed(settings, paths, targets)
    done = (settings.landing, settings.exports / dated.FOLDER)
    for path in sorted(paths):
        if not path.exists() or any(map(path.is_relative_to, done)):
            continue
        if path.is_relative_to(settings.rejects) or (
            path.suffix == ".parquet" and path.is_relative_to(settings.retained)
        ):
            rewrite_parquet(path, targets)
        elif path.is_relative_to(settings.actions):
            rewrite_file(path, targets)
        elif path.is_relative_to(settings.exports):
            rewrite_export(path, targets)
    mend_manifests(settings)


def rewrite_copies(settings: Settings, paths: set[Path], targets: Sequence[Target]) -> None:
    """Erase from the dated copies of exports, before the erasure is recorded: the next run makes all but these anew."""
    for path in sorted(paths):
        if path.is_relative_to(settings.exports / dated.FOLDER):
            rewrite_export(path, targets)
    mend_manifests(settings)


def rewrite_export(path: Path, targets: Sequence[Target]) -> None:
    """Write an exported file anew; workbooks and pages go, as nothing but new ones can be made of them."""
    if path.suffix == ".parquet":
        rewrite_parquet(path, targets)
    elif path.suffix in {".xlsx", ".html"}:
        path.unlink()
    else:
        rewrite_file(path, targets)


def land_actions(settings: Settings) -> None:
    """Land the rewritten files of actions, so that the next run finds nothing new in them."""
    arrivals = landing.find_actions(settings).files
    landing.remember(settings, zip(arrivals, landing.land_files(settings, arrivals), strict=True))


def find_raw_logs(settings: Settings, paths: set[Path], targets: Sequence[Target]) -> list[Path]:
    """The files of the inbox from which records landed that name an address, as far as they are still there."""
    digests: dict[Path, set[str]] = {}
    found = set()
    for load in landing.read_loads(settings):
        for path in (each(settings, load.source_name, load.landing_name) for each in (landing_path, rejects_path)):
            if load.source_name == ACTIONS or path not in paths:
                continue
            if path not in digests:
                digests[path] = find_digests(path, targets)
            if load.file_digest in digests[path]:
                found.add(settings.inbox / load.source_file)  # an absolute one is of a folder that sources.yml names
    return sorted(path for path in found if path.exists())


def forget(settings: Settings, paths: set[Path]) -> None:
    """Remove caches and logs that name an address: they are made again."""
    for path in paths:
        if path.is_relative_to(settings.state):
            top = settings.state / path.relative_to(settings.state).parts[0]
            if top.is_dir():
                shutil.rmtree(top, ignore_errors=True)
            else:
                top.unlink(missing_ok=True)


def remove_private_databases(settings: Settings) -> None:
    """Remove `work.duckdb` and `marts.duckdb`, what is not yet in their files, any set aside or half written, and the
    file that was published before the last.

    The work database goes first: marts without one are removed by the next build, and kept by none.
    """
    settings.former_database.unlink(missing_ok=True)
    settings.work_database.unlink(missing_ok=True)
    for name in (settings.work_database.stem, settings.marts_database.stem):
        for path in [*settings.root.glob(f"{name}.*duckdb*"), *settings.root.glob(f".{name}.duckdb.new*")]:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
