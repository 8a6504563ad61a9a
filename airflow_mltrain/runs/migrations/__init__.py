"""How the run history's tables came to be, one revision a file, applied by Alembic."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

if TYPE_CHECKING:
    from sqlalchemy import Connection

_one_at_a_time = Lock()  # Alembic keeps the migration that runs in a global


def is_known(version: str) -> bool:
    """Whether this package has the revision that made the tables what they are."""
    return version in {script.revision for script in _revisions().walk_revisions()}


def upgrade(connection: Connection) -> None:
    """Bring the tables to the newest revision, within the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", _folder().replace("%", "%%"))
    config.attributes["connection"] = connection
    # Its steps are of no interest to somebody who submits a run.
    logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)
    with _one_at_a_time:
        command.upgrade(config, "head")


def _revisions() -> ScriptDirectory:
    return ScriptDirectory(_folder())


def _folder() -> str:
    return str(Path(__file__).parent)
