"""The flow's own parts, and what keeps runs apart. A whole run, from logs to exports, is tested with the warehouse."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flows.lock import HOLDER_NAME, LOCK_NAME, check_lock, describe_holder, find_active_run, hold_lock
from flows.problems import ActionableError, RunActiveError, WrongUsageError
from flows.publish import publish
from flows.run_result import run_without_news
from flows.settings import Settings
from flows.tables import escape_markdown, make_markdown_table, show_plainly
from tests.published_database import Bounce, make_published

ROOT = Path(__file__).parent.parent

HOLD = """
import sys, time
from pathlib import Path
from flows.lock import hold_lock
from flows.settings import Settings
with hold_lock(Settings(home=Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""

SERVER = """
import os, signal, sys, time
from pathlib import Path
from flows.prefect_server import set_environment, use_server
from flows.settings import Settings
settings = Settings(home=Path(sys.argv[1]))
set_environment(settings, verbose=False)
with use_server(settings) as address:
    from flows import daily
    import prefect.settings as prefect_settings
    print(prefect_settings.PREFECT_SERVER_ANALYTICS_ENABLED.value(), prefect_settings.PREFECT_HOME.value(), flush=True)
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        print(client.api_healthcheck(), flush=True)
        daily.daily.to_deployment("daily", cron="* * * * *").apply()
        for _ in range(300):
            scheduled = client.read_flow_runs(sort="ID_DESC", limit=1)
            if scheduled:
                break
            time.sleep(0.1)
        print(len(scheduled) > 0, flush=True)
    try:
        daily.daily(home=settings.root, report_days=0)
    except Exception as error:
        print(type(error).__name__, flush=True)
    try:
        daily.daily(home=settings.root)
    except Exception as error:
        print(error, flush=True)
    print(address, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True, scope="session")
def prefect_home(tmp_path_factory):
    """Keep Prefect, where a test imports it, out of the home of whoever runs the tests."""
    os.environ.setdefault("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_run_is_refused_and_told_of_the_first(tmp_path, holder):
    settings = Settings(home=tmp_path)
    with pytest.raises(RunActiveError) as refused, hold_lock(settings):
        pass
    assert f"pid {holder.pid}, since 20" in refused.value.cause
    assert refused.value.exit_code == 3
    assert f"pid {holder.pid}" in find_active_run(settings)
    # looking must not have taken the note away
    assert f"pid {holder.pid}" in describe_holder(settings)


def test_a_killed_run_leaves_no_lock(tmp_path, holder):
    settings = Settings(home=tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / HOLDER_NAME).exists()
    assert find_active_run(settings) is None
    with hold_lock(settings):
        assert f"pid {os.getpid()}" in describe_holder(settings)
    assert not (tmp_path / HOLDER_NAME).exists()


def test_a_waiting_run_starts_when_the_first_ends(tmp_path, holder):
    script = HOLD.replace("argv[1]))", "argv[1])), wait=True").replace("time.sleep(60)", "")
    waiting = subprocess.Popen([sys.executable, "-c", script, tmp_path], cwd=ROOT, stdout=subprocess.PIPE)
    time.sleep(0.7)
    assert waiting.poll() is None
    holder.kill()
    assert waiting.communicate(timeout=30)[0] == b"held\n"
    assert waiting.returncode == 0


def test_a_home_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    settings = Settings(home=tmp_path / "file" / "home")
    with pytest.raises(ActionableError, match="cannot write to the home"), hold_lock(settings):
        pass
    check_lock(settings)
    assert find_active_run(settings) is None


@pytest.mark.parametrize("note", ["", "{}", '{"pid": "x", "since": 3}', '{"pid": 1, "since": "\\u001b[31m"}', "[]"])
def test_a_damaged_note_beside_the_lock_is_no_trouble(tmp_path, note):
    (tmp_path / HOLDER_NAME).write_text(note)
    assert describe_holder(Settings(home=tmp_path)) == "it has just started, its pid is not written yet"
    assert LOCK_NAME != HOLDER_NAME


@hypothesis_settings(deadline=None)  # the first example imports Prefect
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 1 << 31)), max_size=300))
def test_batches_hold_each_file_once_and_stay_small(files):
    from flows.daily import BATCH_BYTES, BATCH_FILES, make_batches
    from flows.landing import Arrival

    arrivals = [
        Arrival(source, Path(str(number)), f"{source}/{number}", size, (size, 0, 0), True)
        for number, (source, size) in enumerate(files)
    ]
    batches = list(make_batches(arrivals))
    assert sorted((a.source_name, a.source_file) for batch in batches for a in batch) == sorted(
        (a.source_name, a.source_file) for a in arrivals
    )
    for batch in batches:
        assert len({arrival.source_name for arrival in batch}) == 1
        assert len(batch) <= BATCH_FILES
        assert len(batch) == 1 or sum(arrival.file_bytes for arrival in batch) <= BATCH_BYTES


@pytest.mark.parametrize(("raised", "is_tried_again"), [(OSError(5, "I/O"), True), (ValueError("rule"), False)])
def test_only_io_errors_are_tried_again(raised, is_tried_again):
    from prefect.states import Failed

    from flows.daily import _is_io_error, land

    assert _is_io_error(None, None, Failed(data=raised)) is is_tried_again
    assert land.retries == 3
    assert land.retry_condition_fn is _is_io_error


def test_a_wrong_cron_is_refused(tmp_path):
    from flows.daily import serve_daily

    with pytest.raises(WrongUsageError, match="61"):
        serve_daily(Settings(home=tmp_path), cron="61 * * * *")


HOSTILE = (
    "451 <img src=x onerror=alert(1)> | [a](http://evil.example) `x` **b** www.evil.example a@evil.example &lt;"
    " \x1b[31m\n# h"
)


@given(st.text(alphabet=st.sampled_from("ab<>&|[]()`*_~#!:/.@\\-+=\n\"' \x1b\u202e"), max_size=40))
def test_nothing_in_a_markdown_cell_is_markup(text):
    (document,) = [
        token for token in MarkdownIt("gfm-like", {"linkify": False}).parse(make_markdown_table(["a"], [[text]]))
        if token.type == "inline" and token.map == [2, 3]
    ] or [None]  # fmt: skip
    kinds = {child.type for child in (document.children if document else [])}
    assert kinds <= {"text", "text_special"}
    shown = "".join(child.content for child in document.children) if document else ""
    assert shown == show_plainly(text).strip()


def test_artifacts_show_hostile_text_harmlessly(tmp_path):
    from flows.daily import describe_loads, describe_report
    from flows.landing import Load, Unreadable

    settings = Settings(home=tmp_path)
    make_published(settings.published_database, [Bounce(datetime(2026, 3, 5), bounce_text=HOSTILE, from_domain="<b>")])
    load = Load("kumomta", "kumomta/<i>.log", "d" * 64, 1, "none", 3, 2, 1, 9, True, HOSTILE, "2026-03-05T00:00:00Z")
    loads = describe_loads([load], [Unreadable("kumomta/[x](y)", HOSTILE)])
    for markdown in (describe_report(settings), loads):
        assert not set("<>`\x1b\u202e@") & set(markdown)
        assert "](" not in markdown
        assert "www." not in markdown
    assert escape_markdown("<b>") in loads or escape_markdown("kumomta/<i>.log") in loads


def test_a_deployment_is_declared_for_a_daily_schedule_one_run_at_a_time():
    from flows import daily

    (deployment,) = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    path, _, name = deployment["entrypoint"].partition(":")
    assert (ROOT / path).samefile(daily.__file__)
    assert getattr(daily, name).name == "daily"
    assert deployment["concurrency_limit"] == 1
    assert [schedule["cron"] for schedule in deployment["schedules"]] == ["0 6 * * *"]
    assert set(deployment["parameters"]) <= set(daily.daily.parameters.properties)


def test_the_flow_runs_without_a_server_set_up_and_its_own_ends_with_it(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DO_NOT"))}
    ran = subprocess.run(
        [sys.executable, "-c", SERVER, tmp_path], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200
    )
    assert ran.returncode == -signal.SIGKILL
    settings_line, health, has_scheduled, wrong_parameter, missing_inbox, _, address = ran.stdout.splitlines()
    assert settings_line == f"False {tmp_path.resolve()}/state/prefect"
    assert health == "None"
    assert has_scheduled == "True", "the server's scheduler makes no runs; its log is state/prefect/server.log"
    assert wrong_parameter == "ParameterTypeError"
    assert "no inbox at" in missing_inbox
    port = int(address.rpartition(":")[2].removesuffix("/api"))
    deadline = time.monotonic() + 20
    while is_listening(port):
        assert time.monotonic() < deadline, "the server outlived the run that started it"
        time.sleep(0.1)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_holder_note_is_json(tmp_path):
    with hold_lock(Settings(home=tmp_path)):
        note = json.loads((tmp_path / HOLDER_NAME).read_text())
    assert note["pid"] == os.getpid()
    assert datetime.fromisoformat(note["since"]).tzinfo is not None


def test_a_run_without_news_needs_no_prefect(warehouse, tmp_path):
    """It writes what is missing of the exports; what is new, or begun, or damaged, is for the flow."""
    home = tmp_path / "home"
    shutil.copytree(warehouse.settings.root, home)
    settings = Settings(home=home, inbox_directory=warehouse.settings.inbox)
    assert run_without_news(settings) is None  # a copy is not the file that was published
    publish(settings)
    first = run_without_news(settings)
    manifest = settings.exports / "manifest.json"
    written = manifest.stat()
    again = run_without_news(settings)
    assert first and again and again.exports == first.exports
    assert manifest.stat().st_mtime_ns == written.st_mtime_ns
    (settings.exports / "bounces.html").unlink()
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['prefect'] = None\n")
    command = [sys.executable, "-c", "from flows.cli import main; main()", "run"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    options = ["--home", str(home), "--inbox", str(settings.inbox)]
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing new" in done.stdout and (settings.exports / "bounces.html").exists()
    settings.published_database.touch()
    assert run_without_news(settings) is None
    publish(settings)
    assert run_without_news(settings)
    next((settings.landing / "kumomta").glob("*.parquet")).write_bytes(b"")
    assert run_without_news(settings) is None
