from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import airflow_mltrain
from airflow_mltrain.cli import main
from airflow_mltrain.cli.catalogue import COMMANDS
from airflow_mltrain.cli.command import Command

_SLOW_TO_IMPORT = ("airflow.", "pydantic", "sqlalchemy", "structlog")
_CLI = [sys.executable, "-m", "airflow_mltrain.cli"]


def test_asking_for_help_imports_nothing_that_is_slow(tmp_path: Path) -> None:
    # given
    loaded = tmp_path / "modules"
    asking = (
        "import sys, contextlib\n"
        "from airflow_mltrain.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "open(sys.argv[1], 'w').write(' '.join(f'{name}.' for name in sys.modules))"
    )

    # when
    answer = subprocess.run(
        [sys.executable, "-c", asking, loaded], check=True, capture_output=True, text=True
    )

    # then
    assert "env " in answer.stdout
    assert [name for name in loaded.read_text().split() if name.startswith(_SLOW_TO_IMPORT)] == []


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    # when
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    # then
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"mltrain {airflow_mltrain.__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        "",
        "env",
        "dance",
        "env show",
        "env list --nothing",
        "env build tiny --prepare-timeout 0",
        "env build tiny --prepare-timeout soon",
        "gc --max-gigabytes -1",
        "gc --max-gigabytes nan",
        "gc --jobs-older-than -1",
        "gc --artifacts-older-than soon",
        "reconcile --cancel",
        "env gc --max-gigabytes much",
        "list --limit 0",
        "list --limit 99999999999999999999",
        "logs a --tail 1000001",
        "list --status sleeping",
        "show",
    ],
)
def test_a_wrong_usage_is_told_from_a_failure(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # when
    with pytest.raises(SystemExit) as ended:
        main(words.split())

    # then
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: mltrain")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words)
def test_every_command_explains_itself(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    # when
    with pytest.raises(SystemExit) as ended:
        main([*command.words.split(), "--help"])

    # then
    assert ended.value.code == 0
    assert command.summary.split(maxsplit=1)[0] in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words)
def test_every_command_is_there(command: Command) -> None:
    # given
    module, _, function = command.home.partition(":")

    # when
    found = getattr(import_module(module), function)

    # then
    assert callable(found)


@pytest.mark.parametrize(
    "words",
    [
        "env list --target mars",
        "env show unheard-of",
        "env build unheard-of",
        "gc --target mars",
        "show unheard-of",
    ],
)
def test_what_does_not_exist_is_one_message_on_standard_error(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # when
    exit_code = main(words.split())

    # then
    shown = capsys.readouterr()
    assert exit_code == 1
    assert shown.out == ""
    assert shown.err.startswith("mltrain: there is no ")
    assert shown.err.count("\n") == 1


def test_a_reader_who_has_seen_enough_gets_no_traceback(airflow_home: Path) -> None:
    # given
    assert not airflow_home.exists()
    listing = subprocess.Popen(
        [*_CLI, "env", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert listing.stdout is not None
    assert listing.stderr is not None

    # when
    listing.stdout.close()

    # then
    with listing:
        assert listing.stderr.read() == ""
    assert listing.returncode == 1


@pytest.mark.parametrize("is_unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["list"], ["env", "list"]])
def test_a_full_disk_is_one_message(
    words: list[str], is_unbuffered: str, airflow_home: Path
) -> None:
    # given
    assert not airflow_home.exists()
    environment = {**os.environ, "PYTHONUNBUFFERED": is_unbuffered}

    # when
    with Path("/dev/full").open("wb") as full:
        listing = subprocess.run(
            [*_CLI, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            check=False,
        )

    # then
    assert listing.stderr == "mltrain: could not write: No space left on device\n"
    assert listing.returncode == 1


def test_an_interrupt_before_the_command_has_begun_is_told_like_any_other() -> None:
    # given
    interrupted = (
        "import os, signal, sys\n"
        "from airflow_mltrain.cli import main\n"
        "def interrupt(frame, what, _):\n"
        "    if frame.f_code.co_name == 'parse_args':\n"
        "        sys.setprofile(None)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.setprofile(interrupt)\n"
        "sys.exit(main(['list']))"
    )

    # when
    listing = subprocess.run(
        [sys.executable, "-c", interrupted], capture_output=True, text=True, check=False
    )

    # then
    assert (listing.returncode, listing.stderr) == (130, "mltrain: interrupted\n")
