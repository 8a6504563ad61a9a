"""The JSON schemas for editors: in step with what is loaded, and with what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from airflow_mltrain import ScriptRunConfig
from airflow_mltrain.config.file_schema import SCHEMAS, make_schema
from airflow_mltrain.errors import ConfigurationError

CLONE = Path(__file__).parents[2]
FILES = Path(__file__).parent / "files"


def faults_of(name: str, content: Any) -> list[str]:
    """What a schema has against a file."""
    schema = json.loads((CLONE / "docs" / "schemas" / name).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    return [error.message for error in validator.iter_errors(content)]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_of_the_documentation_are_those_of_the_code(name: str) -> None:
    kept = (CLONE / "docs" / "schemas" / name).read_text()

    assert kept == json.dumps(make_schema(name), indent=2) + "\n", "run `make schemas`"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("runconfig.schema.json", "fresh.runconfig"),
        ("runconfig.schema.json", "cluster.runconfig"),
        ("command-job.schema.json", "job.yml"),
    ],
)
def test_a_good_file_is_valid(name: str, file: str) -> None:
    assert faults_of(name, yaml.safe_load((FILES / file).read_text())) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("runconfig.schema.json", "script: a\nnodecount: 1"),
        ("runconfig.schema.json", "script: a\nnodeCount: two"),
        ("runconfig.schema.json", "script: a\nmaxRunDurationSeconds: 0"),
        ("runconfig.schema.json", "script: a\nenvironment: {python: {conda: 1}}"),
        ("runconfig.schema.json", "script: a\narguments: [[b]]"),
        ("runconfig.schema.json", "script: a\ndocker: {useDocker: 'yes'}"),
        ("runconfig.schema.json", "script: a\nspark: {executorCores: 0}"),
        ("command-job.schema.json", "code: .\ncompute: a"),
        ("command-job.schema.json", "command: a\ncode: .\ncomput: a"),
        ("command-job.schema.json", "command: a\ncode: .\ntype: sweep"),
        ("command-job.schema.json", "command: a\ncode: .\nlimits: {timeout: PT1H}"),
        ("command-job.schema.json", "command: a\ncode: .\ninputs: {a: {paht: b}}"),
    ],
)
def test_a_bad_file_is_refused_by_its_schema_and_when_it_is_loaded(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / "file").write_text(text)

    assert faults_of(name, yaml.safe_load(text))
    with pytest.raises(ConfigurationError):
        ScriptRunConfig.load(tmp_path / "file")
