"""Images that are built for a run: once, reused, given up, and told of where they fail."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from docker import DockerClient

from airflow_mltrain import Environment, ScriptRunConfig, Workspace, progress, submission
from airflow_mltrain.config.docker_configuration import DockerConfiguration
from airflow_mltrain.config.docker_section import DockerBuildContext, DockerSection
from airflow_mltrain.config.run_configuration import RunConfiguration
from airflow_mltrain.errors import JobStartError
from airflow_mltrain.runs.status import RunStatus
from tests.services.artifacts import folder_store
from tests.services.docker_jobs import processes_in
from tests.services.jobs import wait_for
from tests.services.patience import PATIENCE_SECONDS
from tests.targets.docker.conftest import ConnectTo

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.runs.record import RunRecord
    from airflow_mltrain.settings import Settings

_FROM = "FROM mltrain-test/python:3\n"


@pytest.fixture
def workspace(settings: Settings, connect_to: ConnectTo) -> Workspace:
    connect_to()
    return Workspace(settings)


class _Project:
    """A script, and environments to run it in."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self._workspace = workspace
        self._folder = folder / "project"
        self._folder.mkdir()
        (self._folder / "train.py").write_text("print(open('/made').read(), end='')\n")

    def config(self, **docker: Any) -> ScriptRunConfig:
        environment = Environment("made", docker=DockerSection(**docker))
        run_config = RunConfiguration(target="engine", environment=environment)
        return ScriptRunConfig(self._folder, "train.py", run_config=run_config)

    def run(self, config: ScriptRunConfig) -> tuple[RunRecord, str]:
        """The record of a run that ended, and its log."""
        record = submission.submit(self._workspace, "build", config)
        ended = progress.await_end(
            self._workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS
        )
        return ended, log_of(self._workspace, ended)


@pytest.fixture
def project(workspace: Workspace, tmp_path: Path) -> _Project:
    return _Project(workspace, tmp_path)


def log_of(workspace: Workspace, record: RunRecord) -> str:
    return (folder_store(workspace).run_folder(record.run_id) / "log").read_text()


def test_an_image_is_built_once_for_its_content_and_its_building_is_in_the_first_runs_log(
    project: _Project,
) -> None:
    # given
    dockerfile = f"{_FROM}RUN echo building-it; echo once > /made\n"

    # when
    first, first_log = project.run(project.config(base_dockerfile=dockerfile))
    second, second_log = project.run(project.config(base_dockerfile=dockerfile))
    other, other_log = project.run(
        project.config(base_dockerfile=dockerfile.replace("once", "twice"))
    )

    # then
    assert {one.status for one in (first, second, other)} == {RunStatus.COMPLETED}
    assert "building-it\n" in first_log
    assert first_log.endswith("once\n")
    assert second_log == "once\n"
    assert other_log.endswith("twice\n")
    ids = [one.properties["mltrain.image_id"] for one in (first, second, other)]
    assert ids[0] == ids[1] != ids[2]


def test_a_docker_configuration_of_a_run_says_what_its_container_gets(
    project: _Project, workspace: Workspace
) -> None:
    # given
    dockerfile = f"{_FROM}RUN echo made > /made\n"
    config = project.config(base_dockerfile=dockerfile, arguments=["--user", "2"])
    config.command, config.script = ["sh", "-c", "id -u; df -k /dev/shm | tail -1"], None
    config.docker_runtime_config = DockerConfiguration(
        use_docker=True, arguments=["--user", "1234"], shm_size="64m"
    )

    # when
    ended, log = project.run(config)

    # then
    assert ended.status is RunStatus.COMPLETED
    user, shared_memory = log.splitlines()[-2:]
    assert user == "1234"
    assert shared_memory.split()[1] == str(64 << 10)
    assert workspace.history.get(ended.run_id).config["run_config"]["docker"]["use_docker"]


def test_a_built_image_that_was_removed_is_built_again(
    project: _Project, client: DockerClient
) -> None:
    # given
    config = project.config(base_dockerfile=f"{_FROM}RUN echo again > /made\n")
    first, _ = project.run(config)
    wait_for(lambda: not processes_in(client, first.run_id))
    client.api.remove_image(first.properties["mltrain.image"], force=True)

    # when
    second, log = project.run(config)

    # then
    assert second.status is RunStatus.COMPLETED
    assert log.endswith("again\n")


def test_an_image_that_cannot_be_built_fails_the_run_and_its_log_says_why(
    project: _Project, workspace: Workspace
) -> None:
    # given
    dockerfile = f"{_FROM}RUN echo first-step\nRUN echo to-stderr >&2; exit 3\n"

    # when
    with pytest.raises(JobStartError, match=r"could not be built.*3"):
        project.run(project.config(base_dockerfile=dockerfile))

    # then
    (record,) = workspace.history.list_runs()
    assert record.status is RunStatus.FAILED
    assert record.error is not None
    assert "the image could not be built" in record.error
    log = log_of(workspace, record)
    assert "first-step\n" in log
    assert "to-stderr\n" in log


def test_a_base_image_that_does_not_exist_fails_the_run(
    project: _Project, workspace: Workspace
) -> None:
    # when
    with pytest.raises(JobStartError, match="no-such-base"):
        project.run(project.config(base_dockerfile="FROM 127.0.0.1:9/no-such-base:1\n"))

    # then
    (record,) = workspace.history.list_runs()
    assert record.status is RunStatus.FAILED


def test_a_directory_is_built_from_without_what_it_ignores(
    project: _Project, workspace: Workspace, tmp_path: Path
) -> None:
    # given
    context = tmp_path / "context"
    (context / "docker").mkdir(parents=True)
    (context / "parts/deep").mkdir(parents=True)
    (context / "docker/Dockerfile").write_text(
        f"{_FROM}COPY parts /parts\nCOPY tool.sh /tool.sh\n"
        "RUN /tool.sh; find /parts | sort > /made; cat /parts/deep/link >> /made\n"
    )
    (context / "tool.sh").write_text("#!/bin/sh\necho the-tool-ran\n")
    (context / "tool.sh").chmod(0o755)
    (context / "parts/deep/data").write_text("data\n")
    (context / "parts/deep/link").symlink_to("data")
    (context / "parts/secret.key").write_text("secret")
    (context / ".dockerignore").write_text("**/*.key\n")
    built = DockerBuildContext.from_local_directory(workspace, context, "docker/Dockerfile")
    (context / "parts/deep/data").write_text("changed afterwards\n")

    # when
    record, log = project.run(project.config(build_context=built))

    # then
    assert record.status is RunStatus.COMPLETED
    assert "the-tool-ran\n" in log
    paths = ["/parts", "/parts/deep", "/parts/deep/data", "/parts/deep/link"]
    assert log.endswith("".join(f"{path}\n" for path in paths) + "data\n")


def test_a_run_that_is_canceled_while_its_image_is_built_never_begins(
    project: _Project, workspace: Workspace, client: DockerClient
) -> None:
    # given
    config = project.config(base_dockerfile=f"{_FROM}RUN echo slow; sleep 20; date > /made\n")
    records: list[RunRecord] = []
    submitter = threading.Thread(
        target=lambda: records.append(submission.submit(workspace, "build", config))
    )
    submitter.start()
    wait_for(workspace.history.list_runs)
    (record,) = workspace.history.list_runs()
    wait_for(lambda: _is_building(client, "sleep 20"))

    # when
    submission.cancel(workspace, record.run_id)
    submitter.join(15)

    # then
    assert not submitter.is_alive()
    ended = progress.await_end(workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS)
    assert ended.status is RunStatus.CANCELED
    assert records[0].run_id == record.run_id
    assert client.containers.list(all=True, filters={"name": record.run_id}) == []
    _stop_building(client, "sleep 20")


def test_an_image_that_takes_too_long_to_build_fails_the_run(
    project: _Project, workspace: Workspace, client: DockerClient
) -> None:
    # given
    config = project.config(base_dockerfile=f"{_FROM}RUN echo slow; sleep 21; date > /made\n")
    config.run_config.prepare_timeout_seconds = 5

    # when
    with pytest.raises(JobStartError, match="prepare_timeout_seconds = 5"):
        project.run(config)

    # then
    (record,) = workspace.history.list_runs()
    assert record.status is RunStatus.FAILED
    assert "sleep 21" in log_of(workspace, record)
    _stop_building(client, "sleep 21")


def _is_building(client: DockerClient, words: str) -> bool:
    return any(words in one["Command"] for one in client.api.containers())


def _stop_building(client: DockerClient, words: str) -> None:
    for one in client.api.containers():
        if words in one["Command"]:
            client.api.kill(one["Id"])
