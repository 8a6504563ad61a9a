"""A project with run configurations, for who loads and saves them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.config.config_files import FILES


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(FILES, folder / ".azureml")
    (folder / "src").mkdir()
    (folder / "src" / "train.py").write_text("print('trained')")
    return folder
