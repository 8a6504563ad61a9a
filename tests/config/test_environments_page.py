"""The page about environments says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.environments.curated import CURATED_NAMES, find_curated
from airflow_mltrain.errors import ConfigurationError
from tests.config.environment_shelf import EnvironmentShelf
from tests.config.test_private_wheel import make_wheel

PAGE = (Path(__file__).parents[2] / "docs" / "environments.md").read_text()


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dist").mkdir()
    make_wheel(tmp_path / "dist" / "churn-1.0-py3-none-any.whl")
    (tmp_path / "images" / "churn").mkdir(parents=True)
    (tmp_path / "images" / "churn" / "Dockerfile").write_text("FROM python:3.12\n")
    examples = "\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    workspace = EnvironmentShelf()
    names: dict[str, object] = {"workspace": workspace}

    exec(compile(examples, "environments.md", "exec"), names)  # noqa: S102 - our own documentation

    assert names["registered"] == Environment.get(workspace, "churn")


def test_the_message_of_the_page_is_the_real_one(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n-e .\n")
    [shown] = re.findall(r"^```text\n(.*?)\n```", PAGE, re.DOTALL | re.MULTILINE)

    with pytest.raises(ConfigurationError) as refusal:
        Environment.from_pip_requirements("churn", tmp_path / "requirements.txt")

    assert str(refusal.value) == f"{tmp_path}/{shown}"


def test_the_page_lists_every_flag_of_docker_run_that_is_understood() -> None:
    section = PAGE.split("### Flags of docker run")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`-.*?) \|", section, re.MULTILINE)
    listed = {flag for cell in cells for flag in re.findall(r"`(--?[a-z-]+)", cell)}

    with pytest.raises(ConfigurationError) as refusal:
        Environment("churn", docker={"arguments": ["--sparkle"]})

    assert listed == set(str(refusal.value).partition("what is: ")[2].split(", "))


@pytest.mark.parametrize("name", CURATED_NAMES)
def test_the_page_says_what_a_curated_environment_has(name: str) -> None:
    environment = find_curated(name)
    [contents] = re.findall(rf"^\| `{name}` \| (.*) \|$", PAGE, re.MULTILINE)

    shown = re.findall(r"([\w-]+) (\d[\d.]*)[,;]", f"{contents},")

    assert environment is not None
    assert {"==".join(pin) for pin in shown} <= set(environment.python.packages)
    assert environment.version == "1"
