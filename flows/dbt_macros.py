"""The project's dbt macros outside dbt: SQL that commands share with the models is written once, in `macros/`."""

import warnings
from functools import cache
from typing import Any

from flows.dbt_project import find_project_directory


@cache
def read_macros() -> Any:
    """All macros of the project, each a function of the name it has in dbt that gives SQL.

    Those that speak of dbt itself (`ref`, `config`) cannot be called here; materializations, which are in dbt's own
    dialect of Jinja, are left out.
    """
    from jinja2 import Environment, StrictUndefined

    paths = [
        path for path in find_project_directory().glob("macros/**/*.sql") if path.parent.name != "materializations"
    ]
    environment = Environment(undefined=StrictUndefined)  # noqa: S701 - SQL, not HTML
    with warnings.catch_warnings():
        # regexes in strings (`\d`): an unknown escape stays as it is, in dbt too
        warnings.simplefilter("ignore", DeprecationWarning)
        return environment.from_string("\n".join(path.read_text(encoding="utf-8") for path in sorted(paths))).module
