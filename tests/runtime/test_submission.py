"""How programs are run that ask a master: how much of them counts, and when they are ended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.spark.master import UnheardError
from airflow_mltrain.runtime.job_agent.spark.submission import Submission
from tests.fakes.local_yarn import LocalYarn
from tests.services.jobs import pids_carrying

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ENDLESS = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submission:
    yarn = LocalYarn(tmp_path / "a-yarn")
    monkeypatch.setenv("SPARK_HOME", str(yarn.folder / "spark"))
    monkeypatch.setenv("JAVA_HOME", str(yarn.folder / "java"))
    monkeypatch.setenv("MLTRAIN_RUN_ID", "run-of-questions")
    (tmp_path / "root/runs/run-1/code").mkdir(parents=True)
    folder = JobFolder(str(tmp_path / "root"), "run-1")
    told = {"run_id": "run-1", "master": "yarn", "command": ["spark-submit"]}
    return Submission(folder, told, {"properties": {}, "secret_names": [], "keytab": None})


def test_the_end_of_a_long_answer_counts(submission: Submission) -> None:
    program = "print('begin', 'x' * 5 * 2**20, 'end')"

    answer = submission.run([sys.executable, "-c", program], lambda: None)

    assert (answer.exit_code, answer.is_cut) == (0, True)
    assert len(answer.words) == 4 * 2**20
    assert answer.words.endswith("x end\n")


def test_a_question_that_takes_too_long_is_ended(submission: Submission) -> None:
    with pytest.raises(UnheardError, match="did not end in 1 s"):
        submission.run(_ENDLESS, lambda: None, 1.0)

    assert not pids_carrying("run-of-questions")


def test_a_question_is_ended_by_whoever_has_better_to_do(submission: Submission) -> None:
    with pytest.raises(KeyError):
        submission.run(_ENDLESS, _raise_after(3))

    assert not pids_carrying("run-of-questions")


def _raise_after(count: int) -> Callable[[], None]:
    left = iter(range(count))

    def check() -> None:
        if next(left, None) is None:
            raise KeyError

    return check
