"""The packages that are installed here, to be installed elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.installed_packages import freeze
from airflow_mltrain.errors import ConfigurationError


def install(
    folder: Path, name: str, version: str, origin: dict[str, object] | None = None
) -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))


def test_packages_are_listed_exactly_without_those_that_install_packages(tmp_path: Path) -> None:
    for name, version in [("B_b", "2.0"), ("a", "1.0+cpu"), ("c", "odd-1"), ("pip", "26.0")]:
        install(tmp_path, name, version)
    install(tmp_path, "setuptools", "80.0")
    install(tmp_path, "wheel", "0.45")

    assert freeze(folders=[str(tmp_path)]) == ["a==1.0+cpu", "b-b==2.0", "c===odd-1"]


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        (
            {
                "url": "https://me:hunter2@example.org/a",
                "vcs_info": {"vcs": "git", "commit_id": "abc"},
            },
            "a @ git+https://example.org/a@abc",
        ),
        (
            {
                "url": "ssh://git@example.org/a",
                "vcs_info": {"vcs": "git", "commit_id": "abc"},
                "subdirectory": "b",
            },
            "a @ git+ssh://git@example.org/a@abc#subdirectory=b",
        ),
        (
            {"url": "https://example.org/a.zip", "archive_info": {"hashes": {"sha256": "00"}}},
            "a @ https://example.org/a.zip#sha256=00",
        ),
        (
            {"url": "https://example.org/a.zip", "archive_info": {}},
            "a @ https://example.org/a.zip",
        ),
    ],
)
def test_what_came_from_a_url_is_had_from_there_again(
    tmp_path: Path, origin: dict[str, object], line: str
) -> None:
    install(tmp_path, "a", "1.0", origin)

    assert freeze(folders=[str(tmp_path)]) == [line]


def test_what_came_from_this_machine_is_refused_all_at_once_with_the_remedy(
    tmp_path: Path,
) -> None:
    install(tmp_path, "a", "1.0")
    install(tmp_path, "mine", "1.0", {"url": "file:///m", "dir_info": {"editable": True}})
    install(tmp_path, "yours", "1.0", {"url": "file:///y.whl", "archive_info": {}})
    (tmp_path / "Old_One.egg-link").write_text("/old\n")

    with pytest.raises(ConfigurationError) as refusal:
        freeze(folders=[str(tmp_path)])

    assert str(refusal.value).startswith("mine, old-one, yours: installed from a folder or a file")
    assert "exclude=['mine', 'old-one', 'yours']" in str(refusal.value)
    assert freeze(folders=[str(tmp_path)], exclude=["Mine", "old.one", "yours"]) == ["a==1.0"]


def test_of_a_package_that_is_there_twice_the_imported_one_counts(tmp_path: Path) -> None:
    install(tmp_path / "first", "a", "1.0")
    install(tmp_path / "second", "a", "2.0")

    folders = [str(tmp_path / "first"), str(tmp_path / "second")]

    assert freeze(folders=folders) == ["a==1.0"]


def test_an_environment_is_made_of_what_is_installed_as_pip_lists_it() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "freeze", "--exclude-editable", "--exclude", "setuptools"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    local = [line.partition(" @ file:")[0] for line in listed if " @ file:" in line]

    environment = Environment.from_existing_environment(
        "mine", exclude=["airflow-mltrain", *local]
    )

    assert environment.python.version == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert {line.replace("_", "-").replace(".", "-") for line in environment.python.packages} == {
        line.lower().replace("_", "-").replace(".", "-")
        for line in listed
        if " @ file:" not in line and not line.startswith("airflow-mltrain")
    }
