"""What a connection may say of an SSH host as a compute target."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.targets.config import overlay, read_extra
from airflow_mltrain.targets.ssh_config import SshFormConfig, SshTargetConfig

_SAID: dict[str, Any] = {
    "root": "/data/mltrain",
    "python": "python3.11",
    "max_concurrent_runs": 2,
    "environment_variables": {"SSL_CERT_FILE": "/etc/ssl/corporate.pem"},
    "jump_host": "bastion",
}


def test_a_host_needs_no_settings() -> None:
    assert (
        read_extra(SshTargetConfig, "gpu_box", {"private_key": "..."}).root_folder == "~/.mltrain"
    )


@pytest.mark.parametrize("written", [_SAID, json.dumps(_SAID)])
def test_settings_are_a_mapping_or_the_json_of_one(written: object) -> None:
    assert read_extra(SshTargetConfig, "gpu_box", {"mltrain": written}) == SshTargetConfig(**_SAID)


@pytest.mark.parametrize("empty", [None, "", " "])
def test_settings_left_empty_are_none(empty: object) -> None:
    assert read_extra(SshTargetConfig, "gpu_box", {"mltrain": empty}) == SshTargetConfig()


@pytest.mark.parametrize("root", ["/srv/runs", "~/runs", "~/my runs/é"])
def test_a_root_folder_is_absolute_or_below_the_home(root: str) -> None:
    assert SshTargetConfig(root=root).root_folder == root


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("root", "runs"),
        ("root", "~"),
        ("root", "~/"),
        ("root", "/"),
        ("root", "~trainer/runs"),
        ("root", "/a\0b"),
        ("root", ""),
        ("python", ""),
        ("python", "python\0"),
        ("max_concurrent_runs", 0),
        ("max_concurrent_runs", "2"),
        ("environment_variables", {"1ST": "x"}),
        ("environment_variables", {"NAME": 1}),
        ("environment_variables", {"NAME": "a\0b"}),
        ("environment_variables", "{"),
        ("environment_variables", "[]"),
        ("jump_host", ""),
        ("proxy_command", ""),
        ("pyhton", "python3"),
    ],
)
def test_a_setting_that_cannot_work_is_named_with_its_connection(key: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"'gpu_box'.*{key}"):
        read_extra(SshTargetConfig, "gpu_box", {"mltrain": {key: value}})


@pytest.mark.parametrize("written", ["{not json", [], 3, "[]"])
def test_settings_that_are_no_mapping_are_refused(written: object) -> None:
    with pytest.raises(ConfigurationError, match="'gpu_box', extra 'mltrain'"):
        read_extra(SshTargetConfig, "gpu_box", {"mltrain": written})


@pytest.mark.parametrize(
    "written",
    [
        {"TOKEN=hunter2": "x"},
        {"TOKEN": ["hunter2"]},
        {"TOKEN": "hunter2\0"},
        '{"TOKEN": "hunter2"',
        ["hunter2"],
        "hunter2",
    ],
)
def test_a_refusal_does_not_show_the_variables(written: object) -> None:
    with pytest.raises(ConfigurationError) as refused:
        SshTargetConfig.model_validate({"environment_variables": written})

    assert "hunter2" not in str(refused.value)


def test_settings_do_not_show_their_variables() -> None:
    assert "hunter2" not in repr(SshTargetConfig(environment_variables={"TOKEN": "hunter2"}))


def test_the_form_wins_over_the_connection_that_it_names() -> None:
    form = SshFormConfig.model_validate(
        {
            "kind": "ssh",
            "connection": "gpu_box",
            "root": "~/other",
            "python": None,
            "environment_variables": '{"A": "b"}',
        }
    )

    joined = overlay(form, SshTargetConfig(**_SAID))

    assert joined == SshTargetConfig(
        **{**_SAID, "root": "~/other", "environment_variables": {"A": "b"}}
    )


def test_the_form_needs_a_connection() -> None:
    with pytest.raises(ConfigurationError, match="connection"):
        SshFormConfig.model_validate({"kind": "ssh"})
