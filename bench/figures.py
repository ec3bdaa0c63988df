"""What a script of this folder measured, kept as JSON beside what it prints: `--json FILE`."""

import argparse
import json
import os
from pathlib import Path
from typing import Any


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add `--json`, which `keep` gets."""
    parser.add_argument("--json", type=Path, help="where to keep the figures, for machines")


def keep(target: Path | None, found: Any) -> None:
    """Write what was measured, where that is asked for."""
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps({"processors": os.cpu_count(), "found": found}, indent=1) + "\n")
