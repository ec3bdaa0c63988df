"""What dbt-duckdb loads by `plugins` in profiles.yml: functions that the models need and SQL cannot write."""

from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

from flows import addresses
from flows.failpoints import failpoint


class Plugin(BasePlugin):
    """Of the name that dbt-duckdb looks for."""

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        addresses.register(conn)

    def configure_cursor(self, cursor: Any) -> None:
        failpoint("build.node")
