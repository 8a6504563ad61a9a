"""Watching the runs of a machine that is told only what is new to it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Seen
from airflow_mltrain.targets.remote_machine import MachineSettings, RemoteMachine
from airflow_mltrain.targets.session_keeper import SessionKeeper
from tests.services.fragile_agent import FragileAgent
from tests.services.jobs import (
    JobBench,
    wait_for_log,
    wait_until_ended,
)

_UNTIL_RELEASED = 'while [ ! -e "$OUTSIDE/release" ]; do sleep 0.02; done'


def test_a_run_that_appears_while_it_is_asked_for_is_seen(
    target: RemoteMachine, bench: JobBench
) -> None:
    # given
    job = bench.job(target, "sh", "-c", "echo trained")
    before = [target.observe({job.run_id: Seen()}, 0.01) for _ in range(3)]

    # when
    target.start(job)

    # then
    assert before == [{}, {}, {}]
    assert wait_until_ended(target, job.run_id).log == b"trained\n"


def test_a_run_that_has_no_news_is_still_among_the_answers(
    target: RemoteMachine, bench: JobBench
) -> None:
    # given
    run_id = bench.shell(target, f"echo begun; {_UNTIL_RELEASED}")
    wait_for_log(target, run_id, b"begun\n")
    seen = Seen(RunStatus.RUNNING, log=6)

    # when
    answers = [target.observe({run_id: seen, "unknown": Seen()}, 0.01) for _ in range(3)]

    # then
    assert [list(answer) for answer in answers] == [[run_id]] * 3
    assert {answer[run_id].status for answer in answers} == {RunStatus.RUNNING}
    assert answers[0][run_id].started_at is not None
    (bench.outside / "release").touch()
    wait_until_ended(target, run_id)


def test_what_was_not_taken_in_is_told_again(target: RemoteMachine, bench: JobBench) -> None:
    # given
    run_id = bench.shell(target, f"echo begun; {_UNTIL_RELEASED}")
    wait_for_log(target, run_id, b"begun\n")

    # when
    answers = [target.observe({run_id: Seen(RunStatus.RUNNING)}, 5)[run_id] for _ in range(3)]

    # then
    assert [answer.log for answer in answers] == [b"begun\n"] * 3
    (bench.outside / "release").touch()
    wait_until_ended(target, run_id)


def test_what_is_asked_about_may_change_from_one_question_to_the_next(
    target: RemoteMachine, bench: JobBench
) -> None:
    # given
    first, second = (bench.shell(target, f"echo {number}") for number in (1, 2))
    _ = wait_until_ended(target, first), wait_until_ended(target, second)
    questions = [[first], [first, second], [second], [], [second, first], [first]]

    # when
    answers = [target.observe(dict.fromkeys(question, Seen()), 0.1) for question in questions]

    # then
    assert [sorted(answer) for answer in answers] == [sorted(question) for question in questions]
    assert {answer[first].log for answer in answers if first in answer} == {b"1\n"}
    assert {answer[second].log for answer in answers if second in answer} == {b"2\n"}


def test_threads_that_watch_different_runs_do_not_mix_them_up(
    target: RemoteMachine, bench: JobBench
) -> None:
    # given
    script = "for n in 1 2 3 4 5 6 7 8; do echo {0}-$n; sleep 0.05; done; exit {0}"
    run_ids = [bench.shell(target, script.format(number)) for number in range(8)]

    # when
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(lambda run_id: wait_until_ended(target, run_id), run_ids))

    # then
    assert [state.exit_code for state in states] == list(range(8))
    expected = ["".join(f"{number}-{n}\n" for n in range(1, 9)).encode() for number in range(8)]
    assert [state.log for state in states] == expected


def test_a_cancel_passes_an_observation_that_waits(target: RemoteMachine, bench: JobBench) -> None:
    # given
    run_id = bench.shell(target, "echo begun; sleep 1000")
    wait_for_log(target, run_id, b"begun\n")

    # when
    with ThreadPoolExecutor(1) as pool:
        seen = {run_id: Seen(RunStatus.RUNNING, log=6)}
        waiting = pool.submit(target.observe, seen, 60)
        target.cancel(run_id)
        answer = waiting.result(20)

    # then
    assert answer[run_id].status in (RunStatus.CANCEL_REQUESTED, RunStatus.CANCELED)
    assert wait_until_ended(target, run_id).status is RunStatus.CANCELED


def test_a_log_of_fifty_megabytes_comes_whole(target: RemoteMachine, bench: JobBench) -> None:
    # given
    script = (
        "import sys\n"
        "for number in range(50):\n"
        "    sys.stdout.buffer.write(b'%09d\\n' % number * 100_000)\n"
    )

    # when
    state = wait_until_ended(target, bench.python(target, script))

    # then
    assert state.log == b"".join(b"%09d\n" % number * 100_000 for number in range(50))


def test_two_targets_on_one_session_do_not_mix_up_what_they_have_seen(
    agent: FragileAgent, bench: JobBench
) -> None:
    # given
    keeper = SessionKeeper(agent.open_session)
    target, same_session = (
        RemoteMachine(name, keeper, MachineSettings(), label="a process")
        for name in ("one", "two")
    )
    run_id = bench.shell(target, f"echo begun; {_UNTIL_RELEASED}; echo over")
    other_id = bench.shell(target, "echo other")
    state = wait_for_log(target, run_id, b"begun\n")
    seen = Seen(state.status, len(state.log))

    # when
    behind_any_log = Seen(RunStatus.RUNNING, log=2**40)
    target.observe({run_id: seen}, 0)
    same_session.observe({run_id: behind_any_log, other_id: Seen()}, 0)
    answer = target.observe({run_id: seen}, 0)
    (bench.outside / "release").touch()
    news = target.observe({run_id: seen}, 30)

    # then
    assert list(answer) == [run_id]
    assert news[run_id].log == b"over\n"
    wait_until_ended(target, run_id)
