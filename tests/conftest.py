"""Every test has an Airflow home and a workspace of its own; nothing of the machine's is read."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from airflow_mltrain.settings import Settings
from airflow_mltrain.workspace import Workspace

# Time is no property here: a machine that is busy may take long over an example.
hypothesis_settings.register_profile(
    "here",
    deadline=None,
    max_examples=int(os.environ.get("MLTRAIN_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis_settings.load_profile("here")

pytest.register_assert_rewrite("tests.contracts", "tests.services")
pytest_plugins = ["tests.services.history", "tests.services.postgresql"]

_END_TO_END = "tests/end_to_end/"
_AIRFLOW_OF_ITS_OWN = "test_giving_up.py"
# What takes longest, which no other test should have to wait for in the end.
_LONGEST = (
    *(_END_TO_END, "tests/targets/spark/", "tests/crash/", "tests/targets/"),
    *("tests/environments/", "tests/triggers/"),
)

for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "_AIRFLOW_"))]:
    del os.environ[_name]


@pytest.fixture(autouse=True)
def airflow_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "airflow home"
    monkeypatch.setenv("AIRFLOW_HOME", str(home))
    return home


@pytest.fixture(autouse=True, scope="module")
def nothing_left_open() -> Iterator[None]:
    """What a module leaves open is found at its end, and not in some later test."""
    yield
    gc.collect()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An embedded workspace below the test's folder, with little patience."""
    return Settings(
        database_url=f"sqlite:///{tmp_path}/history.db",
        artifacts=tmp_path / "artifacts",
        local_root=tmp_path / "local",
        cancel_grace_seconds=1.0,
    )


@pytest.fixture
def workspace(settings: Settings) -> Workspace:
    return Workspace(settings)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty folder for a training script."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


class ServerScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist is untyped
    """Where several processes run the tests, those of a file share one, and so its servers.

    Those that share an Airflow do too.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = str(super()._split_scope(nodeid))
        is_shared = path.startswith(_END_TO_END) and not path.endswith(_AIRFLOW_OF_ITS_OWN)
        return _END_TO_END if is_shared else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ServerScheduling:
    """Say which tests stay together."""
    return ServerScheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a target's class does not select of a contract: see its `selection`.

    What takes longest comes first.
    """
    left_out = [item for item in items if not _is_selected(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    ranks = (n for n, folder in enumerate(_LONGEST) if item.nodeid.startswith(folder))
    return next(ranks, len(_LONGEST))


def _is_selected(item: pytest.Item) -> bool:
    """Whether it has the marker that its class selects by, with all that is said behind that."""
    selection = getattr(getattr(item, "cls", None), "selection", None)
    if selection is None:
        return True
    name, *words = selection.split()
    marker = item.get_closest_marker(name)
    return marker is not None and marker.kwargs.keys() >= {*words}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables that tests made, of whichever worker they were."""
    reports = [one for reports in terminalreporter.stats.values() for one in reports]
    for report in reports:
        for name, table in getattr(report, "user_properties", ()):
            if name == "table" and report.when == "call":
                terminalreporter.section(report.nodeid)
                terminalreporter.write_line(table)
