"""What the published data stands on, for files that are made of it."""

from pathlib import Path

from flows import __version__
from flows.report import open_published


def describe_publication(database: Path) -> dict[str, object]:
    """Tell what the published data stands on: the newest time it knows, rules, policy, and when it was published.

    That is when its files were made, too, as far as they tell: the same data gives the same files on any day.
    """
    with open_published(database) as connection:
        data_through = connection.execute("select max(data_through_at)::timestamp from marts.ops_sources").fetchone()
        published = connection.execute(
            "select rule_set_version, suppression_policy, published_at from marts.ops_publication"
        ).fetchone()
    rule_set, policy, published_at = published or (None, None, None)
    return {
        "data_through_at_utc": data_through[0] if data_through else None,
        "rule_set_version": None if rule_set is None else str(rule_set),
        "suppression_policy": policy,
        "made_at_utc": published_at.replace(microsecond=0) if published_at else None,
        "bouncehouse_version": __version__,
    }
