"""The scripts of bench/ run, and keep what they measure: nobody would notice otherwise until figures are wanted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.dbt_project import find_project_directory

pytestmark = pytest.mark.long


def test_everything_is_measured(tmp_path: Path) -> None:
    kept = tmp_path / "bench.json"
    script = find_project_directory() / "bench" / "all.py"
    run = subprocess.run(
        [sys.executable, script, "--size", "tiny", "--json", kept], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    measures = json.loads(kept.read_text())["found"]["measures"]
    assert len(measures) == 14
    assert all(measure["found"] for measure in measures.values())
    [size] = measures["whole"]["found"]["sizes"]
    assert set(size["peers"]) >= {"whole", "floor"}
    assert size["peers"]["floor"]["ratio_to_floor"] == 1
    [home] = measures["whole"]["found"]["history"]
    assert home["records"] > 0
    assert all(home[what]["seconds"]["build"] > 0 for what in ("first", "day", "late", "late_whole"))
    assert measures["days"]["found"][1]["ratio"] > 0
    assert measures["least"]["found"]["records"] > 0
    assert min(measures["least"]["found"]["seconds"].values()) > 0
    landed = [each["source"] for each in measures["sources"]["found"]]
    assert landed[:3] == ["kumomta", "ses", "sendgrid"]
