from datetime import datetime

import pytest

from flows.settings import Settings
from tests.conftest import give_exposures
from tests.published_database import Bounce, NonDelivery, Suppressed, make_published


@pytest.fixture
def home(tmp_path):
    """A home with something published, in which no dbt ever was."""
    settings = Settings(home=tmp_path / "home")
    make_published(
        settings.published_database,
        [Bounce(datetime(2026, 3, 5), from_domain=text) for text in ["a.example", None, "=1+1"] for _ in range(2)]
        + [Bounce(datetime(2026, 3, 5), bounce_class="hard")]
        + [Bounce(datetime(2026, 2, 1))],
        [NonDelivery(datetime(2026, 3, 5)), NonDelivery(datetime(2026, 3, 5), bounce_class="soft", cause="expired")],
        [Suppressed("=ann@mail.example", bounce_text="=550 gone"), Suppressed("bob@mail.example")],
    )
    give_exposures(settings)
    return settings
