"""How numbers are written on the pages."""

from __future__ import annotations

import pytest

from airflow_mltrain.plugin.kept_run import KeptRun
from airflow_mltrain.plugin.page import RunPage, format_duration, format_size
from tests.plugin.conftest import NOON, a_run


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (-5, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59.6, "1 min 0 s"),
        (754, "12 min 34 s"),
        (7260, "2 h 1 min"),
        (100 * 3600, "4 d 4 h"),
    ],
)
def test_a_duration_has_two_units(seconds: float, written: str) -> None:
    assert format_duration(seconds) == written


@pytest.mark.parametrize(
    ("size_bytes", "written"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1536, "1.5 KB"),
        (3 * 1024**3, "3.0 GB"),
        (5000 * 1024**4, "5000.0 TB"),
    ],
)
def test_a_size_has_the_unit_that_keeps_it_short(size_bytes: int, written: str) -> None:
    assert format_size(size_bytes) == written


@pytest.mark.parametrize(("work_seconds", "reload_seconds"), [(0.01, 5), (1.5, 30)])
def test_a_page_that_is_much_work_is_made_less_often(
    work_seconds: float, reload_seconds: int
) -> None:
    # given
    page = RunPage(a_run(), (), KeptRun(), "/", NOON, work_seconds)

    # when / then
    assert page.reload_seconds == reload_seconds


@pytest.mark.parametrize(
    ("config", "command"),
    [
        ({"script": "a b.py", "arguments": ["", "$HOME", 3]}, "'a b.py' '' '$HOME' 3"),
        ({"command": ["python", "-m", "train"], "arguments": ["x"]}, "python -m train x"),
        ({"command": "make && make train"}, "make && make train"),
        ({"script": None, "arguments": None, "command": 7}, ""),
        ({}, ""),
    ],
)
def test_the_command_is_shown_as_one_would_type_it(
    config: dict[str, object], command: str
) -> None:
    # given
    page = RunPage(a_run(config=config), (), KeptRun(), "/", NOON)

    # when / then
    assert page.command == command
