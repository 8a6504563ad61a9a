"""What is made of a spark-submit that put nothing on its cluster."""

from __future__ import annotations

import pytest

from airflow_mltrain.runtime.job_agent.spark.master import MasterError, UnheardError
from airflow_mltrain.runtime.job_agent.spark.submission import Answer, judge_failure

_MAIN = 'Exception in thread "main" '
_KUBERNETES = f"{_MAIN}io.fabric8.kubernetes.client.KubernetesClientException: "


@pytest.mark.parametrize(
    "said",
    [
        f"{_MAIN}java.net.ConnectException: Call From a to rm:8032 failed",
        f"{_MAIN}java.net.UnknownHostException: rm",
        f"{_KUBERNETES}failed.\nCaused by: java.net.SocketTimeoutException: timeout",
        f"{_KUBERNETES}Received status: Status(apiVersion=v1, code=503, details=null)",
    ],
)
def test_a_connection_that_failed_is_no_refusal(said: str) -> None:
    assert isinstance(judge_failure(Answer(1, said), "not taken"), UnheardError)


@pytest.mark.parametrize(
    "said",
    [
        f"{_KUBERNETES}Received status: Status(apiVersion=v1, code=403, details=null)",
        f"WARN Client: java.net.ConnectException: rm1\n{_MAIN}Required AM memory is too much",
        f"{_MAIN}[unresolved dependency: org.a#b;1.0: not found]\njava.net.ConnectException: x",
    ],
)
def test_a_refusal_is_one_though_a_connection_failed_on_the_way(said: str) -> None:
    failure = judge_failure(Answer(1, said), "not taken")

    assert isinstance(failure, MasterError)
    assert "not taken (spark-submit ended with exit code 1)" in str(failure)
