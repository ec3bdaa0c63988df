"""Where the dbt project lies: models, macros, seeds and data tests."""

from pathlib import Path


def find_project_directory() -> Path:
    """The folder of `dbt_project.yml`: inside an installed wheel, or the checkout of an editable install."""
    packaged = Path(__file__).parent / "project"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent
