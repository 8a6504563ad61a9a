"""JSON schemas of the files that configs are loaded from, for editors.

`python -m airflow_mltrain.config.file_schema FOLDER` writes them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from airflow_mltrain.config.command_job_file import CommandJobKeys
from airflow_mltrain.config.run_config_file import RunConfigKeys

SCHEMAS: Final[Mapping[str, tuple[type[RunConfigKeys | CommandJobKeys], str]]] = {
    "runconfig.schema.json": (RunConfigKeys, "A .runconfig file"),
    "command-job.schema.json": (CommandJobKeys, "A command job"),
}
"""The keys of each kind of file, by the name of its schema."""


def make_schema(name: str) -> dict[str, Any]:
    """The schema of that name: which keys there are, and what they hold."""
    model, title = SCHEMAS[name]
    schema = model.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": title,
    }


def write_schemas(folder: Path) -> None:
    """Write each schema to a file of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        (folder / name).write_text(json.dumps(make_schema(name), indent=2) + "\n")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
