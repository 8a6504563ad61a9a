"""What a person is told when packages cannot be installed: the tool's words, and what to do."""

from __future__ import annotations

import sys

import pytest

from airflow_mltrain.runtime.job_agent.installer import installation
from airflow_mltrain.runtime.job_agent.installer.installation import InstallError
from tests.services.installation import (
    BOTH,
    PIP,
    FindTools,
    Machine,
    recipe,
)
from tests.services.package_index import PackageIndex

_WITHOUT_PIP = """\
#!/bin/sh
case "$*" in
  *--without-pip*) ;;
  *"-m venv"*) echo "ensurepip is not available"; exit 1 ;;
  *"import os, pip"*) echo "No module named pip" >&2; exit 1 ;;
esac
exec {python} "$@"
"""


@BOTH
def test_packages_that_contradict_each_other_are_named_first(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    asked = recipe("alpha", "beta<2", index={"url": index.url})

    # when
    with pytest.raises(InstallError) as caught:
        machine.install(asked, find_tools())

    # then
    first, *_, last = str(caught.value).splitlines()
    assert first.lower().startswith("error: ")
    assert "beta>=2" in str(caught.value)
    assert "change" in last
    assert "index of the environment" in last


@BOTH
def test_a_package_that_the_index_lacks_is_named(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    asked = recipe("none-such", index={"url": index.url})

    # when, then
    with pytest.raises(InstallError, match=r"(?is)^error: .*none-such"):
        machine.install(asked, find_tools())


@BOTH
def test_a_package_that_does_not_build_has_the_last_word(
    index: PackageIndex,
    machine: Machine,
    find_tools: FindTools,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # given
    index.add_sdist("source", "1.0", build_fails_with="there is no Fortran here")

    # when
    with pytest.raises(InstallError, match="there is no Fortran here"):
        machine.install(recipe("source", index={"url": index.url}), find_tools())

    # then
    assert "there is no Fortran here" in capfd.readouterr().out


@BOTH
def test_a_file_with_another_hash_is_refused(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    line = f"beta==2.0 --hash=sha256:{'0' * 64}"

    # when, then
    with pytest.raises(InstallError, match="0" * 64):
        machine.install(recipe(line, index={"url": index.url}), find_tools())


@BOTH
def test_a_file_that_changed_since_it_was_locked_is_refused(
    index: PackageIndex,
    machine: Machine,
    find_tools: FindTools,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    asked = recipe("alpha", index={"url": index.url})
    lock = machine.install(asked, find_tools()).lock
    index.add("beta", "2.1", module="import evil")
    monkeypatch.setenv("UV_CACHE_DIR", str(machine.folder / "another cache"))

    # when, then
    with pytest.raises(InstallError, match=r"(?i)hash"):
        machine.install(asked, find_tools(), lock)


@BOTH
def test_a_list_with_hashes_must_be_complete(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    line = f"alpha==1.0 --hash=sha256:{index.add('alpha', '1.0', requires=['beta>=2'])}"

    # when, then
    with pytest.raises(InstallError, match=r"(?is)hash.*beta"):
        machine.install(recipe(line, index={"url": index.url}), find_tools())


@BOTH
def test_an_index_that_refuses_connections_is_named(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    index.stop()

    # when
    with pytest.raises(InstallError) as caught:
        machine.install(recipe("alpha", index={"url": index.url}), find_tools())

    # then
    assert "see that this machine reaches the index" in str(caught.value).splitlines()[-1]
    assert "alpha" in str(caught.value)


@BOTH
def test_an_index_that_never_answers_is_given_up(
    index: PackageIndex,
    machine: Machine,
    find_tools: FindTools,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    index.hang()
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "1")

    # when, then
    with pytest.raises(InstallError, match="alpha"):
        machine.install(recipe("alpha", index={"url": index.url}), find_tools())


def test_a_python_without_pip_says_what_to_install(index: PackageIndex, machine: Machine) -> None:
    # given
    python = machine.folder / "python"
    python.write_text(_WITHOUT_PIP.format(python=sys.executable))
    python.chmod(0o755)
    asked = recipe("alpha", index={"url": index.url})
    machine.work.mkdir()

    # when
    with pytest.raises(InstallError) as caught:
        installation.build(
            f"{machine.folder}/tree", asked, None, str(python), str(machine.work), PIP
        )

    # then
    assert str(caught.value).startswith("ensurepip is not available")
    assert "python3-venv" in str(caught.value)
    assert "uv" in str(caught.value).splitlines()[-1]


def test_a_python_that_is_gone_is_named(machine: Machine) -> None:
    # given
    machine.work.mkdir()
    tree, python = f"{machine.folder}/tree", "/gone/bin/python"

    # when, then
    with pytest.raises(InstallError, match="/gone/bin/python"):
        installation.build(tree, recipe(), None, python, str(machine.work), PIP)
