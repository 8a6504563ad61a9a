"""What the documentation says is true: its examples run, its links lead somewhere."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from airflow_mltrain.provider_info import get_provider_info

CLONE = Path(__file__).parents[1]
PAGES = [CLONE / "README.md", *sorted((CLONE / "docs").rglob("*.md"))]
EXAMPLES = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in (CLONE / "README.md", CLONE / "docs/airflow.md", CLONE / "docs/training-script.md")
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_home: Path
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "train.py").write_text("print('trained')")
    monkeypatch.chdir(tmp_path)
    assert not airflow_home.exists()

    names: dict[str, object] = {}
    exec(compile(example, "example", "exec"), names)  # noqa: S102 - our own documentation

    assert names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_leads_to_a_page(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())

    local = [link for link in links if "://" not in link]

    assert [link for link in local if not (page.parent / link).exists()] == []


def test_the_rooms_of_the_architecture_are_the_layers_that_are_checked() -> None:
    # given
    contracts = ConfigParser()
    contracts.read(CLONE / ".importlinter")
    layers = contracts["importlinter:contract:layers"]["layers"].strip().splitlines()
    level_of = {room: level for level, layer in enumerate(layers) for room in _names(layer)}

    # when
    page = (CLONE / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|", page.partition("## The life of a run")[0], re.MULTILINE)
    told = [room for row in rows for room in _names(row.replace(".py", ""))]

    # then
    assert sorted(told) == sorted(level_of)
    assert [level_of[room] for room in told] == sorted(level_of.values())


def _names(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_every_setting_is_documented() -> None:
    described = (CLONE / "docs" / "settings.md").read_text()

    options = get_provider_info()["config"]["mltrain"]["options"]

    assert [name for name in options if f"| `{name}` |" not in described] == []


def test_every_field_of_the_connection_is_documented() -> None:
    described = (CLONE / "docs" / "airflow.md").read_text()

    [connection] = get_provider_info()["connection-types"]

    assert [name for name in connection["conn-fields"] if f"| `{name}` |" not in described] == []


INTENTS = (CLONE / "docs" / "cancel-intent.md").read_text()


@pytest.mark.parametrize("row", re.findall(r"^\| (?!what|---)(.+) \|$", INTENTS, re.MULTILINE))
def test_every_row_of_the_cancel_intents_has_its_tests(row: str) -> None:
    *_, tests = row.split(" | ")

    named = re.findall(r"`([^`:]+)::([^`]+)`", tests)

    assert named
    for file, name in named:
        assert f"def {name}(" in (CLONE / file).read_text(), f"{file} has no {name}"


@pytest.mark.parametrize(
    "event",
    [
        *("person cancels", "marked failed", "marked success", "cleared", "execution_timeout"),
        *("timeout of a sensor", "max_run_duration", "dagrun_timeout", "last attempt", "drained"),
        *("triggerer restarts", "trigger moves", "scheduler restarts", "heartbeat"),
        "nobody watches",
    ],
)
def test_the_cancel_intents_are_all_there(event: str) -> None:
    assert len(re.findall(rf"^\| [^|]*{event}[^|]* \|", INTENTS, re.MULTILINE)) == 1
