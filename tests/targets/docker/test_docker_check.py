"""What a look at a Docker engine says of it, and of what runs need there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from docker import DockerClient

from airflow_mltrain.targets.check import Finding, FindingLevel, has_fault, summarize
from airflow_mltrain.targets.registry import connect
from tests.services.docker_engine import DockerEngine
from tests.services.docker_image import bare_image
from tests.services.docker_jobs import forget_engines

if TYPE_CHECKING:
    from airflow_mltrain.settings import Settings

    Check = Callable[..., dict[str, Finding]]


@pytest.fixture
def check(engine: DockerEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Looks at a target that is as the settings say, and gives the findings by subject."""

    def check(**mltrain: Any) -> dict[str, Finding]:
        told = {"image": "mltrain-test/python:3", "volume": "checked", **mltrain}
        monkeypatch.setenv("AIRFLOW_CONN_ENGINE", engine.connection_json(**told))
        findings = connect("engine", settings).check()
        assert [one for one in findings if one.level is FindingLevel.OK and one.remedy] == []
        found = {one.subject: one for one in findings}
        assert len(found) == len(findings)
        return found

    return check


@pytest.fixture
def empty_engine() -> Iterator[DockerEngine]:
    with DockerEngine() as engine:
        yield engine
        forget_engines()


def test_an_engine_tells_what_jobs_need_and_nothing_of_the_agent_s_own_container(
    check: Check, client: DockerClient
) -> None:
    # when
    found = check(network="host")

    # then
    assert not has_fault([*found.values()])
    assert set(found) == {
        *("engine", "transport", "restart", "limits", "gpu devices", "image", "network"),
        *("supervision", "volume", "disk space", "clock"),
    }
    assert client.info()["Name"] in found["engine"].text
    assert found["volume"].text.startswith("/mltrain on ")
    assert found["clock"].text.startswith("right within")


def test_the_words_behind_the_test_button_begin_with_the_engine(check: Check) -> None:
    # when
    words = summarize([*check().values()])

    # then
    assert words.startswith("Docker ")
    assert "mltrain-test/python:3 (sha256:" in words
    assert " free on /mltrain" in words


def test_an_engine_that_has_no_image_yet_is_ready_and_was_not_tried_out(
    check: Check, empty_engine: DockerEngine
) -> None:
    # when
    found = check(engine=empty_engine.socket_url)

    # then
    assert not has_fault([*found.values()])
    assert "the first run pulls it" in found["image"].text
    assert found["job agent"].level is FindingLevel.WARNING
    assert "volume" not in found


def test_an_image_in_which_no_job_agent_can_begin_is_a_fault(
    check: Check, empty_engine: DockerEngine
) -> None:
    # given
    with closing(empty_engine.client()) as client:
        bare_image(client, "mltrain-test/bare:1")

    # when
    found = check(engine=empty_engine.socket_url, image="mltrain-test/bare:1")

    # then
    assert found["job agent"].level is FindingLevel.FAULT
    assert "Python" in found["job agent"].text


@pytest.mark.parametrize(
    ("mltrain", "subject", "level", "text", "remedy"),
    [
        ({"network": "nowhere"}, "network", "fault", "'nowhere'", "docker network create nowhere"),
        ({"runtime": "nvidia"}, "runtime", "fault", "'nvidia'", "runc"),
        ({"gpus": 2}, "gpu devices", "warning", "0, 1", "NVIDIA container toolkit"),
        ({"image": "nothing:1"}, "image", "ok", "nothing:1 is not there yet", ""),
        ({}, "restart", "warning", "ends its runs", "live-restore"),
    ],
)
def test_what_is_to_be_mended_is_told_with_its_remedy(
    check: Check, mltrain: dict[str, Any], subject: str, level: str, text: str, remedy: str
) -> None:
    # when
    found = check(**mltrain)[subject]

    # then
    assert found.level == level
    assert text in found.text
    assert remedy in (found.remedy or "")


def test_an_engine_behind_tls_is_told_so(check: Check, engine: DockerEngine) -> None:
    # when
    found = check(
        engine=engine.tls_url,
        tls_ca=str(engine.tls_folder / "ca.pem"),
        tls_cert=str(engine.tls_folder / "cert.pem"),
        tls_key=str(engine.tls_folder / "key.pem"),
    )

    # then
    assert found["transport"].level is FindingLevel.OK
    assert "both sides verified" in found["transport"].text
