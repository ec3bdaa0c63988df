"""One Chromium for all tests of the page: Debian's, or that of the environment. Nothing is downloaded."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.page import write_page
from flows.report import choose_period

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)


def find_chromium() -> str | None:
    given = os.environ.get("BOUNCEHOUSE_CHROMIUM")
    return given or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    """Goes with its module: as long as it is there an event loop runs, in which Prefect's states answer otherwise."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium: install it (apt-get install chromium), or name it in BOUNCEHOUSE_CHROMIUM")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=chromium, args=FLAGS.split())
        yield launched
        launched.close()


@contextmanager
def opened(browser, address: str, **options) -> Iterator:
    """Open a page and wait until it can be used; nothing may go wrong in it, nor may anything be asked of anybody."""
    with browser.new_context(viewport={"width": 1400, "height": 900}, accept_downloads=True, **options) as context:
        asked, wrong = [], []
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.goto(address)
        page.wait_for_selector("html[data-ready]")
        yield page
        page.wait_for_timeout(50)
        assert wrong == []
        assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [address.split("#")[0]]


@pytest.fixture(scope="session")
def page_file(warehouse, tmp_path_factory) -> Path:
    first_day, last_day = choose_period(warehouse.database, first_day=None, last_day=None, days=7)
    target = tmp_path_factory.mktemp("page") / "bounces.html"
    write_page(warehouse.database, target, first_day, last_day)
    return target


@pytest.fixture
def page(browser, page_file):
    with opened(browser, page_file.as_uri()) as shown:
        yield shown
