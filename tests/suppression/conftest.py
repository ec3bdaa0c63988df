from collections.abc import Callable
from pathlib import Path

import pytest

from flows.settings import Settings
from tests.suppression.published_lists import Fact, publish


@pytest.fixture
def home(tmp_path: Path) -> Callable[..., Settings]:
    """Gives a function that publishes facts into a home, and its settings."""

    def make(*facts: Fact, action_ids: list[str] | None = None) -> Settings:
        settings = Settings(home=tmp_path / "home", memory_limit="1GB", threads=2)
        publish(settings.published_database, list(facts), action_ids)
        return settings

    return make
