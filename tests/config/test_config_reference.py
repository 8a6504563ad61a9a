"""The reference page for users says what the code does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from airflow_mltrain.config.docker_configuration import DockerConfiguration
from airflow_mltrain.config.docker_section import DockerBuildContext, DockerSection
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.python_section import IndexSection, PythonSection
from airflow_mltrain.config.resources import ResourcesSection
from airflow_mltrain.config.run_configuration import RunConfiguration
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.config.spark import SparkConfiguration, SparkSection
from airflow_mltrain.errors import ConfigurationError

PAGE = (Path(__file__).parents[2] / "docs" / "script-run-config.md").read_text()
SECTIONS: dict[str, type[BaseModel]] = {
    "ScriptRunConfig": ScriptRunConfig,
    "RunConfiguration": RunConfiguration,
    "resources": ResourcesSection,
    "Environment": Environment,
    "python": PythonSection,
    "index": IndexSection,
    "docker": DockerSection,
    "build_context": DockerBuildContext,
    "spark": SparkSection,
    "SparkConfiguration": SparkConfiguration,
    "DockerConfiguration": DockerConfiguration,
}


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_lists_every_field_with_its_default(heading: str) -> None:
    section = re.split(rf"^##+ {heading}$", PAGE, flags=re.MULTILINE)[1].split("\n##")[0]
    rows = re.findall(r"^\| `(\w+)` \| .+? \| (.+?) \| .+ \|$", section, flags=re.MULTILINE)

    assert dict(rows) == _written_defaults(SECTIONS[heading])


def test_the_examples_of_the_page_run() -> None:
    examples = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))

    finished = subprocess.run([sys.executable, "-W", "error", "-c", examples], check=False)

    assert examples
    assert finished.returncode == 0


def test_the_messages_of_the_page_are_the_real_ones() -> None:
    content = {
        "source_directory": "project",
        "script": "train.py",
        "arguments": ["--alpha", None],
        "framework": "PySpark",
    }

    with pytest.raises(ConfigurationError) as refusal:
        ScriptRunConfig.model_validate(content)

    shown = re.findall(r"^```text\n(.*?)\n```", PAGE, re.DOTALL | re.MULTILINE)
    assert sorted(shown[0].splitlines()) == sorted(str(refusal.value).splitlines())


def _written_defaults(model: type[BaseModel]) -> dict[str, str]:
    return {
        name: _write(field.get_default(call_default_factory=True, validated_data={}))
        for name, field in model.model_fields.items()
    }


def _write(default: object) -> str:
    if default is PydanticUndefined:
        return "required"
    if isinstance(default, BaseModel):
        return "a new one"
    return f"`{json.dumps(default) if isinstance(default, str) else repr(default)}`"
