"""Named places where a process kills itself if it is told to: how tests learn what a kill leaves behind.

`BOUNCEHOUSE_FAILPOINT=landing.written` ends the process with SIGKILL where it comes to that place; `landing.written:3`
does when it comes there the third time, and `build.node:40:group` takes its whole process group along (a run and
its dbt, not the shell it was started from, where that gives each command a group of its own). Without the variable a
failpoint is one look into the environment.
"""

import os
import signal
from collections import Counter

VARIABLE = "BOUNCEHOUSE_FAILPOINT"

NAMES = (
    "lock.taken",  # and nobody has written who holds it
    "landing.written",  # a pack's files, still in their temporary folder
    "landing.rejects_named",
    "landing.records_named",  # Parquet without a load record
    "landing.recorded",
    "landing.seen_written",  # the cache of seen files, under its temporary name
    "build.versions_forgotten",  # for a rebuild
    "pair.announced",  # a new token, before and after dbt
    "pair.written",  # and not confirmed yet
    "build.batch_shown",
    "build.node",  # dbt turns to a model, seed or test, in its own process; some hundreds in a build
    "build.dbt_ended",
    "build.finishing",  # inside the transaction that ends a build
    "build.finished",
    "retention.replaced",  # one of the private databases
    "publish.compacted",  # the private marts, under another name
    "publish.copied",
    "publish.made",  # a table, of a view over what is private; once for each
    "publish.written",
    "publish.kept",  # a large file that was published, under a second name
    "publish.renamed",
    "export.written",  # one of the files, under its temporary name
    "export.staged",  # all of them, and none has taken its place
    "export.renamed",
    "export.copied",  # one of the dated copies
    "actions.opened",
    "actions.written",
    "actions.import_written",  # under its temporary name
)

_counts: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Kill this process, or its group, if the environment names this place and it has been come to often enough."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None or wanted.partition(":")[0] != name:
        return
    _, _, rest = wanted.partition(":")
    count, _, scope = rest.partition(":")
    _counts[name] += 1
    if _counts[name] == int(count or 1):
        (os.killpg if scope == "group" else os.kill)(0 if scope == "group" else os.getpid(), signal.SIGKILL)
