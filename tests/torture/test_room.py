"""Full disks, file systems without inodes, read-only homes and limits: told in two lines, with nothing lost or halved.

Real ones, on file systems of their own in memory; where mounting is not permitted these tests are skipped.
"""

import os
import random
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.problems import CannotWriteError
from flows.settings import Settings
from flows.suppression.actions import write_action
from tests.torture.homes import COMMAND, Truth, copy_home, run

Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a file system with these options below the test's folder."""
    mounted: list[Path] = []

    def make(options: str, kind: str = "tmpfs", source: str = "tmpfs") -> Path:
        folder = tmp_path / f"mount-{len(mounted)}"
        folder.mkdir()
        arguments = ["-t", kind] if kind != "bind" else ["--bind"]
        made = subprocess.run(
            ["mount", *arguments, "-o", options, source, str(folder)], capture_output=True, text=True, check=False
        )
        if made.returncode:
            pytest.skip(f"mounting is not permitted here: {made.stderr.strip()}")
        mounted.append(folder)
        return folder

    try:
        yield make
    finally:
        for folder in reversed(mounted):
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def check_refused(code: int, said: str, reason: str) -> None:
    """Exit code 6, a line of cause and one of what to do, and no traceback."""
    assert code == 6, said
    cause, remedy = said.splitlines()
    assert reason in cause
    assert remedy.startswith("-> ")


@pytest.mark.parametrize(
    ("options", "reason"), [("size=512k", "No space left on device"), ("nr_inodes=2", "No space left on device")]
)
def test_a_run_without_room_says_so_at_once(mount: Mount, options: str, reason: str) -> None:
    home = mount(options) / "home"
    code, _, said = run(home, "run")
    check_refused(code, said, reason)
    assert not (home / ".probe").exists()


def test_a_read_only_home_is_told_and_can_be_looked_at(mount: Mount, tmp_path: Path) -> None:
    (tmp_path / "home" / "inbox").mkdir(parents=True)
    home = mount("ro", "bind", str(tmp_path / "home"))
    code, _, said = run(home, "run")
    check_refused(code, said, "Read-only file system")
    assert run(home, "status")[0] == 0
    code, _, said = run(home, "suppression", "add", "a@b.example", "--by", "eve", "--reason", "t")
    check_refused(code, said, "nothing was recorded")


def test_a_limit_of_file_sizes_is_told(tmp_path: Path) -> None:
    process = subprocess.run(
        [*COMMAND, "run", "--home", str(tmp_path)], capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )  # fmt: skip
    check_refused(process.returncode, process.stderr, "File too large")


def test_an_action_that_does_not_fit_leaves_no_half_line(mount: Mount) -> None:
    """The first page of the file has room for a few bytes more, and no second one is to be had."""
    settings = Settings(home=mount("size=64k"))
    path, _ = write_action(settings, "add", "ann@b.example", by="eve", reason="r")
    while path.stat().st_size < 3_700:
        write_action(settings, "add", "ann@b.example", by="eve", reason="r")
    before = path.read_bytes()
    with (settings.root / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(bytes(4096))
    with pytest.raises(CannotWriteError, match="nothing was recorded") as refused:
        write_action(settings, "add", "ann@b.example", by="eve", reason="r" * 900)
    assert refused.value.exit_code == 6
    assert path.read_bytes() == before
    (settings.root / "filler").unlink()
    write_action(settings, "remove", "ann@b.example", by="eve", reason="r")
    assert path.read_bytes().startswith(before)
    assert path.read_bytes().count(b"\n") == before.count(b"\n") + 1


LEFT = (2_000_000, 9_000_000, 10_000_000, 14_000_000, 20_000_000, 30_000_000)
"""Bytes that are free when a run starts; it wants some forty million."""


@pytest.mark.torture
@pytest.mark.parametrize("left", LEFT)
def test_a_disk_that_fills_up_in_mid_run(
    mount: Mount, truths: dict[str, tuple[Path, Truth, float]], left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends with what is missing, readers have the old state or the new one, and with room the next run ends well."""
    base, truth, _ = truths["daily"]
    if left == 9_000_000:
        monkeypatch.delenv("PREFECT_API_URL")  # its server too has its database on the full disk
    folder = mount("size=400m")
    home = copy_home(base, folder / "home")
    free = os.statvfs(folder)
    with (folder / "filler").open("wb") as filler:
        block = random.Random(1).randbytes(1 << 20)
        for _ in range((free.f_bavail * free.f_frsize - left) >> 20):
            filler.write(block)
    code, _, said = run(home, "run")
    print(f"\n{left:,} bytes left: exit code {code}: {said}")
    assert code in (4, 6), said
    assert "Traceback" not in said
    assert len(said.splitlines()) == 2
    if code == 6:
        assert "No space left on device" in said
    assert truth.check_reader(home) == ("new" if code == 4 else "old")
    (folder / "filler").unlink()
    code, _, said = run(home, "run")
    assert code == 0, said
    truth.check_end(home)
