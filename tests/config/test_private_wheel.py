"""A wheel of one's own, which travels with the run."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.errors import ConfigurationError
from tests.config.environment_shelf import EnvironmentShelf


def make_wheel(path: Path, content: str = "", built_as: str | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as wheel:
        name = (built_as or path.name).partition("-")[0]
        wheel.writestr(f"{name}.py", content)
        wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n")
    return path


def test_a_wheel_is_kept_by_its_content_and_asked_for_by_what_is_returned(tmp_path: Path) -> None:
    shelf = EnvironmentShelf()
    path = make_wheel(tmp_path / "my_package-1.0-py3-none-any.whl")
    environment = Environment("e")

    reference = Environment.add_private_pip_wheel(shelf, str(path))
    environment.python.packages = ["numpy", reference]

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert reference == f"my-package @ mltrain-wheel:{digest}/my_package-1.0-py3-none-any.whl"
    assert shelf.wheels == {digest: path.read_bytes()}


def test_another_file_of_the_same_name_is_another_wheel(tmp_path: Path) -> None:
    shelf = EnvironmentShelf()
    path = tmp_path / "my_package-1.0-py3-none-any.whl"

    first = Environment.add_private_pip_wheel(shelf, make_wheel(path), exist_ok=False)
    second = Environment.add_private_pip_wheel(shelf, make_wheel(path, "new"), exist_ok=False)

    assert first != second
    assert len(shelf.wheels) == 2


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("mine.whl", b"", r"mine\.whl is not named as a wheel is"),
        ("mine-1.0.tar.gz", b"", "is not named as a wheel is"),
        ("mine-1.0-py3-none-any.whl", b"not a zip", "has the name of a wheel and is none"),
        ("mine-1.0-py3-none-any.whl", None, "cannot be read: No such file"),
    ],
)
def test_what_is_no_wheel_is_refused_with_the_remedy(
    tmp_path: Path, name: str, content: bytes | None, fault: str
) -> None:
    shelf = EnvironmentShelf()
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigurationError, match=fault):
        Environment.add_private_pip_wheel(shelf, tmp_path / name)

    assert shelf.wheels == {}


def test_a_zip_without_metadata_is_no_wheel(tmp_path: Path) -> None:
    path = tmp_path / "mine-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mine.py", "")

    with pytest.raises(ConfigurationError, match="has the name of a wheel and is none"):
        Environment.add_private_pip_wheel(EnvironmentShelf(), path)


def test_a_wheel_that_was_renamed_to_another_package_is_refused(tmp_path: Path) -> None:
    path = make_wheel(tmp_path / "mine-1.0-py3-none-any.whl", built_as="yours-1.0")

    with pytest.raises(ConfigurationError, match=r"mine-1\.0-py3-none-any\.whl holds .* yours,"):
        Environment.add_private_pip_wheel(EnvironmentShelf(), path)


def test_a_wheel_may_spell_its_name_inside_in_another_way(tmp_path: Path) -> None:
    path = make_wheel(tmp_path / "my_package-1.0-py3-none-any.whl", built_as="My.Package-1.0")

    reference = Environment.add_private_pip_wheel(EnvironmentShelf(), path)

    assert reference.startswith("my-package @ ")
