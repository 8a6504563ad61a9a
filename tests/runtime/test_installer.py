"""Installing what a recipe asks for: uv and pip, real ones, make the same environment of it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.runtime.job_agent.installer import installation
from tests.services.installation import (
    BOTH,
    PIP,
    FindTools,
    Machine,
    base_python,
    find_uv,
    recipe,
)
from tests.services.package_index import Package, PackageIndex, package_index, write_wheel
from tests.services.requirement import require

_RUNTIME = Path(installation.__file__).parents[2]
_OLDEST = Path.home() / ".pyenv" / "versions" / "3.8.18" / "bin" / "python"
_INSTALL = """
import json, sys
sys.path.insert(0, sys.argv[1])
from job_agent.installer import installation
recipe, uv, tree, work = json.loads(sys.argv[2])
tools = installation.Tools(uv, None)
lock = installation.resolve(recipe, sys.executable, work, tools)
done = installation.build(tree, recipe, lock, sys.executable, work, tools)
print(json.dumps(done["packages"]))
"""


@dataclass(frozen=True)
class Case:
    """What is asked for, and what an environment has then."""

    asked: list[str]
    expected: list[str]
    facts: dict[str, Any] = field(default_factory=dict)


@BOTH
@pytest.mark.parametrize(
    "case",
    [
        Case([], []),
        Case(["alpha"], ["alpha==1.0", "beta==2.1"]),
        Case(["alpha"], ["alpha==1.0", "beta==2.0"], {"constraints": ["beta<2.1"]}),
        Case(["alpha"], ["alpha==1.0", "beta==3.0rc1"], {"index": {"pre": True}}),
        Case(["alpha[more]"], ["alpha==2.0", "gamma==1.0"]),
        Case(["alpha==1.0", "gamma ; python_version < '3'"], ["alpha==1.0", "beta==2.1"]),
        Case(["gamma==1.0"], ["gamma==1.0"], {"index": {"only_binary": [":all:"]}}),
        Case(["source"], ["source==1.0"], {"index": {"no_binary": ["source"]}}),
        Case(["tooled"], ["pip==1.0", "setuptools==1.0", "tooled==1.0"]),
    ],
    ids=["none", "needed", "constraint", "pre", "extra", "marker", "binary", "source", "tools"],
)
def test_an_environment_has_what_its_recipe_comes_down_to(
    index: PackageIndex, machine: Machine, find_tools: FindTools, case: Case
) -> None:
    # given
    index.add("gamma", "1.0")
    if "alpha[more]" in case.asked:
        index.add("alpha", "2.0", extras={"more": ["gamma"]})
    index.add_sdist("source", "1.0")
    index.add("tooled", "1.0", requires=["pip", "setuptools"])
    index.add("pip", "1.0")
    index.add("setuptools", "1.0")
    asked = recipe(*case.asked, **case.facts)
    asked["index"]["url"] = index.url

    # when
    done = machine.install(asked, find_tools())

    # then
    assert done.packages == case.expected
    assert [line.partition(" ")[0] for line in done.lock["packages"]] == case.expected


@BOTH
def test_of_two_indexes_the_newest_version_counts(
    index: PackageIndex, machine: Machine, find_tools: FindTools, tmp_path: Path
) -> None:
    with package_index(tmp_path / "other") as other:
        # given
        other.add("beta", "2.5")
        other.add("alpha", "0.9")
        places = {"url": other.url, "extra_urls": [index.url]}

        # when
        done = machine.install(recipe("alpha", index=places), find_tools())

    # then
    assert done.packages == ["alpha==1.0", "beta==2.5"]


@BOTH
def test_packages_come_from_a_folder_where_no_index_is_asked(
    machine: Machine, find_tools: FindTools, tmp_path: Path
) -> None:
    # given
    folder = tmp_path / "wheels, of ours"
    folder.mkdir()
    write_wheel(folder, Package("alpha", "1.0"))
    places = {"no_index": True, "find_links": [folder.as_uri()]}

    # when
    done = machine.install(recipe("alpha", index=places), find_tools())

    # then
    assert done.packages == ["alpha==1.0"]


@BOTH
def test_a_wheel_of_ones_own_brings_what_it_needs(
    index: PackageIndex, machine: Machine, find_tools: FindTools, tmp_path: Path
) -> None:
    # given
    wheel = write_wheel(tmp_path, Package("Our.Own", "1.0", requires=["beta"]))
    url = wheel.as_uri()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()

    # when
    done = machine.install(recipe(f"Our.Own @ {url}", index={"url": index.url}), find_tools())

    # then
    assert done.packages == ["Our.Own==1.0", "beta==2.1"]
    assert done.lock["packages"][1] == f"our-own @ {url} --hash=sha256:{digest}"


@BOTH
def test_programs_of_packages_run(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    scripts = {"greet": "greeter:greet"}
    words = "def greet(): print('hello')"
    index.offer(Package("greeter", "1.0", module=words, console_scripts=scripts))

    # when
    done = machine.install(recipe("greeter", index={"url": index.url}), find_tools())

    # then
    assert done.run("greet") == "hello\n"


@BOTH
def test_a_package_that_needs_another_python_is_passed_over(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    index.add("beta", "2.9", requires_python=">=4")

    # when
    done = machine.install(recipe("beta", index={"url": index.url}), find_tools())

    # then
    assert done.packages == ["beta==2.1"]


@BOTH
def test_variables_that_divert_an_install_do_not_count(
    index: PackageIndex,
    machine: Machine,
    find_tools: FindTools,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # given
    for name in ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "VIRTUAL_ENV", "PYTHONHOME"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    for name in ("PIP_USER", "PIP_REQUIRE_VIRTUALENV", "UV_SYSTEM_PYTHON", "UV_VENV_SEED"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("UV_PYTHON", "2.7")

    # when
    done = machine.install(recipe("alpha", index={"url": index.url}), find_tools())

    # then
    monkeypatch.delenv("PYTHONHOME")
    assert done.packages == ["alpha==1.0", "beta==2.1"]
    assert not (tmp_path / "elsewhere").exists()


def test_a_project_around_the_scratch_folder_does_not_count(
    index: PackageIndex, machine: Machine, tmp_path: Path
) -> None:
    # given
    settings = '[project]\nname = "around"\nversion = "1"\n[tool.uv]\nno-index = true\n'
    (tmp_path / "pyproject.toml").write_text(settings)
    (tmp_path / "uv.toml").write_text("no-index = true\n")

    # when
    done = machine.install(recipe("beta", index={"url": index.url}), find_uv())

    # then
    assert done.packages == ["beta==2.1"]


def test_editing_one_environment_edits_no_other(index: PackageIndex, machine: Machine) -> None:
    # given
    asked = recipe("beta", index={"url": index.url})
    first = machine.install(asked, find_uv())
    (module,) = first.tree.glob("lib/python*/site-packages/beta.py")

    # when
    with module.open("a") as file:
        file.write("print('edited')\n")
    second = machine.install(asked, find_uv())

    # then
    assert second.run("python", "-c", "import beta") == ""


@BOTH
def test_the_oldest_python_installs_the_same(
    index: PackageIndex, machine: Machine, find_tools: FindTools
) -> None:
    # given
    if not _OLDEST.exists():
        require("python3.8", f"there is no {_OLDEST}")
    asked = recipe("alpha", index={"url": index.url})
    machine.work.mkdir()
    told = json.dumps([asked, find_tools().uv, str(machine.folder / "tree"), str(machine.work)])

    # when
    argv = [str(_OLDEST), "-I", "-S", "-c", _INSTALL, str(_RUNTIME), told]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)

    # then
    lock = json.loads(done.stdout.splitlines()[-1])
    assert [line.partition(" ")[0] for line in lock] == ["alpha==1.0", "beta==2.1"]
    assert all("--hash=sha256:" in line for line in lock)


def test_only_building_tells_without_uv(machine: Machine) -> None:
    # given
    asked = recipe("alpha", index={"url": "http://127.0.0.1:9/index/"})

    # when
    lock = installation.resolve(asked, base_python(), str(machine.folder), PIP)

    # then
    assert lock is None
