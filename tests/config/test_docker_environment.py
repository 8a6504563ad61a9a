"""An environment in an image, as a user makes it."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.config.docker_section import DockerBuildContext
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.errors import ConfigurationError

_CONTEXT = {"snapshot_id": "0123456789abcdef" * 4}
_ORIGINS: dict[str, Any] = {
    "base_image": "python:3.12",
    "base_dockerfile": "FROM python:3.12",
    "build_context": _CONTEXT,
}


def test_an_image_by_itself_is_used_with_the_python_that_it_has() -> None:
    environment = Environment.from_docker_image("e", "python:3.12")

    assert environment.docker.base_image == "python:3.12"
    assert environment.python.user_managed_dependencies is True


def test_packages_of_a_requirements_file_are_asked_for_in_the_image(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("numpy==2.2.6\n")

    environment = Environment.from_docker_image(
        "e", "python:3.12", pip_requirements=tmp_path / "requirements.txt"
    )

    assert environment.python.packages == ["numpy==2.2.6"]
    assert environment.python.user_managed_dependencies is False
    assert environment.docker.base_image == "python:3.12"


def test_packages_of_a_conda_specification_are_asked_for_in_the_image(tmp_path: Path) -> None:
    (tmp_path / "conda.yml").write_text("dependencies: [libgcc, pip: [numpy]]\n")

    environment = Environment.from_dockerfile(
        "e", "FROM python:3.12", conda_specification=tmp_path / "conda.yml"
    )

    assert environment.python.conda_packages == ["libgcc"]
    assert environment.docker.base_dockerfile == "FROM python:3.12"


@pytest.mark.parametrize("dockerfile", ["FROM python:3.12", "from scratch", "# é\nFROM scratch\n"])
def test_a_dockerfile_may_be_given_as_its_text_or_by_its_path(
    tmp_path: Path, dockerfile: str
) -> None:
    (tmp_path / "Dockerfile").write_text(dockerfile)

    from_text = Environment.from_dockerfile("e", dockerfile)
    from_path = Environment.from_dockerfile("e", tmp_path / "Dockerfile")
    from_text_path = Environment.from_dockerfile("e", str(tmp_path / "Dockerfile"))

    assert from_text.docker.base_dockerfile == dockerfile
    assert from_text == from_path == from_text_path


def test_a_build_context_is_used_as_it_is() -> None:
    context = DockerBuildContext(**_CONTEXT)

    environment = Environment.from_docker_build_context("e", context)

    assert environment.docker.build_context == context
    assert environment.python.user_managed_dependencies is True


def test_packages_come_from_one_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'e': pip_requirements and conda_specification"):
        Environment.from_docker_image(
            "e", "python:3.12", pip_requirements=tmp_path, conda_specification=tmp_path
        )


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read: No such file or directory; give the path of a Dockerfile, or"),
        (b"RUN true\n", "it should have a FROM"),
        (b"# FROM scratch\n", "it should have a FROM"),
        (b"\xff", "is not text in UTF-8"),
    ],
)
def test_a_file_that_begins_no_image_is_refused(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    path = tmp_path / "Dockerfile"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=f"^Dockerfile: {path}.* {fault}"):
        Environment.from_dockerfile("e", path)


def test_a_text_that_begins_no_image_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"base_dockerfile: .* it should have a FROM"):
        Environment("e", docker={"base_dockerfile": "RUN true"})


@pytest.mark.parametrize(("first", "second"), list(permutations(_ORIGINS, 2)))
def test_an_image_has_one_origin(first: str, second: str) -> None:
    environment = Environment("e", docker={first: _ORIGINS[first]})

    with pytest.raises(ConfigurationError, match=f"it contradicts {first}; give one of them"):
        setattr(environment.docker, second, _ORIGINS[second])

    assert getattr(environment.docker, second) is None


def test_an_origin_takes_the_place_of_one_that_was_taken_away() -> None:
    environment = Environment("e", docker={"base_image": "python:3.12"})

    environment.docker.base_image = None
    environment.docker.build_context = DockerBuildContext(**_CONTEXT)

    assert environment.docker.build_context.snapshot_id == _CONTEXT["snapshot_id"]


def test_an_environment_in_an_image_is_the_same_when_it_was_saved(tmp_path: Path) -> None:
    environment = Environment.from_dockerfile("e", "FROM python:3.12\nRUN pip install numpy\n")
    environment.docker.arguments = ["--network", "host", "--user", 1000]
    environment.docker.shm_size = "8g"

    environment.save_to_directory(tmp_path)

    assert Environment.load_from_directory(tmp_path) == environment


def test_credentials_of_an_index_are_kept_with_an_image(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("--index-url https://me:hunter2@packages.example.org/index/\nnumpy\n")

    environment = Environment.from_docker_image("e", "python:3.12", pip_requirements=file)

    assert [user for _, user in environment.python.index.list_user_parts()] == ["me:hunter2"]
    assert "hunter2" not in environment.model_dump_json()
