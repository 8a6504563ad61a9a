"""Where a machine looks for packages: uv is told what pip would find out for itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.runtime.job_agent.installer.machine_index import (
    places_for_uv,
    read_machine_index,
)
from tests.services.installation import (
    BOTH,
    FindTools,
    Machine,
    find_uv,
    forget_configuration,
    recipe,
)
from tests.services.package_index import PackageIndex, package_index

_NOWHERE = "http://127.0.0.1:1/index/"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    forget_configuration(monkeypatch, tmp_path / "home")
    monkeypatch.setenv("PIP_CONFIG_FILE", "")
    return tmp_path / "home"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with package_index(tmp_path / "index") as index:
        index.add("alpha", "1.0")
        yield index


def configure(home: Path, name: str, text: str) -> Path:
    path = home / ".config" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def places(environment: dict[str, str] | None = None, **index: Any) -> tuple[list[str], str]:
    """What uv is told: lines of the requirements file, and its default index."""
    lines, variables = places_for_uv(recipe(index=index)["index"], environment or {})
    return lines, variables.get("UV_DEFAULT_INDEX", "")


@BOTH
@pytest.mark.parametrize("name", [".config/pip/pip.conf", ".pip/pip.conf"])
def test_the_index_in_the_users_pip_configuration_counts(
    home: Path, index: PackageIndex, find_tools: FindTools, name: str
) -> None:
    # given
    (home / name).parent.mkdir(parents=True)
    (home / name).write_text(f"[global]\nindex-url = {index.url}\n")

    # when
    done = Machine(home).install(recipe("alpha"), find_tools())

    # then
    assert done.packages == ["alpha==1.0"]


@BOTH
def test_the_recipes_index_replaces_the_machines_indexes(
    home: Path,
    index: PackageIndex,
    find_tools: FindTools,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with package_index(tmp_path / "other") as other:
        # given
        other.add("alpha", "9.0")
        text = (
            f"[global]\nindex-url = {_NOWHERE}\nextra-index-url = {other.url}\nno-index = true\n"
        )
        configure(home, "pip/pip.conf", text)
        monkeypatch.setenv("UV_INDEX", other.url)

        # when
        done = Machine(home).install(recipe("alpha", index={"url": index.url}), find_tools())

    # then
    assert done.packages == ["alpha==1.0"]


@BOTH
def test_folders_and_further_indexes_of_the_machine_are_searched_too(
    home: Path, index: PackageIndex, find_tools: FindTools, tmp_path: Path
) -> None:
    with package_index(tmp_path / "a mirror") as other:
        # given
        other.add("beta", "1.0")
        text = f"[install]\nindex-url = {other.url}\nextra-index-url =\n  {index.url}\n"
        configure(home, "pip/pip.conf", text + f"find-links = {tmp_path}/index /gone/away\n")

        # when
        done = Machine(home).install(recipe("alpha", "beta"), find_tools())

    # then
    assert done.packages == ["alpha==1.0", "beta==1.0"]


def test_the_index_in_the_users_uv_configuration_counts_before_pips(
    home: Path, index: PackageIndex
) -> None:
    # given
    configure(home, "pip/pip.conf", f"[global]\nindex-url = {_NOWHERE}\n")
    configure(home, "uv/uv.toml", f'index-url = "{index.url}"\n')

    # when
    done = Machine(home).install(recipe("alpha"), find_uv())

    # then
    assert done.packages == ["alpha==1.0"]


def test_the_recipes_index_counts_before_the_users_uv_configuration(
    home: Path, index: PackageIndex
) -> None:
    # given
    configure(home, "uv/uv.toml", f'index-url = "{_NOWHERE}"\n')

    # when
    done = Machine(home).install(recipe("alpha", index={"url": index.url}), find_uv())

    # then
    assert done.packages == ["alpha==1.0"]


def test_a_variable_counts_before_files_and_install_before_global(home: Path) -> None:
    # given
    text = "[global]\nindex_url = one\ntrusted-host = a b\n[install]\nindex-url = two\ncert = c\n"
    configure(home, "pip/pip.conf", text)

    # when
    by_files = read_machine_index({})
    by_variable = read_machine_index({"PIP_INDEX_URL": "three", "PIP_NO_INDEX": "yes"})

    # then
    assert (by_files.url, by_files.trusted_hosts, by_files.cert) == ("two", ["a", "b"], "c")
    assert (by_variable.url, by_variable.no_index) == ("three", True)


def test_a_chosen_file_counts_in_place_of_the_users(home: Path, tmp_path: Path) -> None:
    # given
    configure(home, "pip/pip.conf", "[global]\nindex-url = one\nno-index = 1\n")
    chosen = tmp_path / "chosen.conf"
    chosen.write_text("[global]\nindex-url = two\n")

    # when
    found = read_machine_index({"PIP_CONFIG_FILE": str(chosen)})

    # then
    assert (found.url, found.no_index) == ("two", False)


def test_a_damaged_file_is_passed_over(home: Path) -> None:
    # given
    configure(home, "pip/pip.conf", "index-url = one\n")

    # when, then
    assert read_machine_index({"XDG_CONFIG_DIRS": str(home)}).url is None


def test_uvs_own_variables_count_before_pips_configuration() -> None:
    # given
    pip = {"PIP_INDEX_URL": "one", "PIP_EXTRA_INDEX_URL": "two", "PIP_FIND_LINKS": "http://three"}
    nothing = {"PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1"}

    # when
    lines, url = places({**nothing, **pip})
    told = places({**nothing, **pip, "UV_INDEX_URL": "x", "UV_INDEX": "y", "UV_FIND_LINKS": "z"})

    # then
    assert (lines, url) == (["--extra-index-url two", "--find-links http://three"], "one")
    assert told == ([], "")


def test_a_recipe_without_an_index_asks_none_of_the_machines() -> None:
    # given
    variables = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "one", "UV_INDEX": "two"}
    index = recipe(index={"no_index": True, "find_links": ["https://packages.example.org/"]})

    # when
    lines, kept = places_for_uv(index["index"], variables)

    # then
    assert lines == ["--no-index", "--find-links https://packages.example.org/"]
    assert not {"UV_INDEX", "UV_DEFAULT_INDEX"} & kept.keys()


def test_hosts_and_certificates_that_pip_trusts_are_trusted_by_uv(tmp_path: Path) -> None:
    # given
    bundle = tmp_path / "ours.pem"
    bundle.touch()
    nothing = {"PIP_CONFIG_FILE": "/dev/null", "UV_INSECURE_HOST": "a"}
    variables = {**nothing, "PIP_TRUSTED_HOST": "b", "PIP_CERT": str(bundle)}

    # when
    _, kept = places_for_uv(recipe(index={"trusted_hosts": ["c"]})["index"], variables)
    _, own = places_for_uv(recipe()["index"], {**variables, "SSL_CERT_FILE": "own"})

    # then
    assert kept["UV_INSECURE_HOST"] == "a b c"
    assert kept["SSL_CERT_FILE"] == str(bundle)
    assert own["SSL_CERT_FILE"] == "own"
