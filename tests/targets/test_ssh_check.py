"""What a look at an SSH host says of its login."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.targets.check import FindingLevel, has_fault
from airflow_mltrain.targets.registry import connect

if TYPE_CHECKING:
    from airflow_mltrain.settings import Settings
    from tests.services.ssh_host import SshHost


def test_login_and_verified_host_key_are_shown(
    login_host: SshHost, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", login_host.connection_json())

    # when
    findings = connect("gpu_box", settings).check()

    # then
    by_subject = {finding.subject: finding for finding in findings}
    assert not has_fault(findings)
    assert "trainer on host-" in by_subject["login"].text
    assert by_subject["host key"].level is FindingLevel.OK
    assert "SHA256:" in by_subject["host key"].text
    assert {"python", "disk space", "clock", "gpus", "sshd", "root folder"} <= set(by_subject)


@pytest.mark.filterwarnings("ignore")  # the provider warns too
def test_a_host_key_that_nobody_looks_at_is_a_warning(
    login_host: SshHost, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    connection = login_host.connection_json(host_key=None, no_host_key_check="true")
    monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", connection)

    # when
    findings = connect("gpu_box", settings).check()

    # then
    [host_key] = [finding for finding in findings if finding.subject == "host key"]
    assert host_key.level is FindingLevel.WARNING
    assert "no_host_key_check" in str(host_key.remedy)
