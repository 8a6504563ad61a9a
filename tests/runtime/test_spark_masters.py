"""What masters and their programs say, and what is made of it when it is odd."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runtime.job_agent.spark.cluster import Cluster
from airflow_mltrain.runtime.job_agent.spark.diagnosis import diagnose
from airflow_mltrain.runtime.job_agent.spark.gateway import Gateway
from airflow_mltrain.runtime.job_agent.spark.kubernetes import label_of, pod_of
from airflow_mltrain.runtime.job_agent.spark.master import MasterError, UnheardError
from airflow_mltrain.runtime.job_agent.spark.yarn import read_list, read_report, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOST = "127.0.0.1"
_LIST = """26/11/28 09:00:00 INFO client.RMProxy: Connecting to ResourceManager at rm:8032
Total number of applications (application-types: [], states: [ACCEPTED] and tags: [a]):2
      Application-Id\t  Application-Name\t Application-Type\t User\t Queue\t State\t Final-State
application_1764300000000_0007\t a name, or two\t SPARK\t me\t default\t ACCEPTED\t UNDEFINED
application_1764300000000_0008\t            run\t SPARK\t me\t default\t   KILLED\t    KILLED
"""
_REPORT = """Application Report :
\tApplication-Id : application_1764300000000_0007
\tState : FAILED
\tFinal-State : FAILED
\tTracking-URL : http://rm:8088/cluster/app/application_1764300000000_0007
\tAM Host : N/A
\tDiagnostics : Application failed 1 times due to AM Container exited with  exitCode: 13
Failing this attempt.Diagnostics: [2026-11-28 09:00:00]State : odd
For more detailed output, check the application tracking page.
\tUnmanaged Application : false
"""


@contextmanager
def _page(content: bytes) -> Iterator[int]:
    """The port of one who answers every question with this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((_HOST, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "content",
    [
        b"<html>login</html>",
        b"\xff\xfe",
        b"[]",
        b"5",
        b'"ALIVE"',
        b"null",
        b'{"status": "ALIVE"}',
        b'{"status": "ALIVE", "workers": 5}',
        b'{"status": "ALIVE", "workers": [7]}',
        b'{"status": "ALIVE", "workers": [{"state": "ALIVE", "cores": "many"}]}',
        b'{"status": "ALIVE", "workers": [{"state": "ALIVE"}]}',
    ],
)
def test_an_odd_page_of_a_master_is_as_none(content: bytes) -> None:
    with _page(content) as port:
        cluster = Cluster("spark://127.0.0.1:1", f"http://{_HOST}:{port}")
        gateway = Gateway([(_HOST, port)])

        assert cluster.list_workers() is None
        assert cluster.find_version() is None
        assert "pages were not reached" in cluster.describe()
        with pytest.raises((UnheardError, MasterError)):
            gateway.create("", "python3", {}, {}, "")
        with suppress(UnheardError):  # as of a master that does not answer
            assert gateway.status("driver-1") is None


def test_a_master_of_another_version_is_told_by_its_pages() -> None:
    with _page(b'<img/><span class="version me-3">4.2.0</span>') as port:
        cluster = Cluster(f"spark://{_HOST}:{port}", f"http://{_HOST}:{port}")

        reason = diagnose("All masters are unresponsive! Giving up.", cluster, "4.0.1")

    assert "(4.0.1 here, 4.2.0 there)" in str(reason)
    assert "`spark_home`" in str(reason)


def test_pages_below_a_path_are_not_reached() -> None:
    assert Cluster("spark://127.0.0.1:1", "http://127.0.0.1:1/proxy").list_workers() is None


def test_applications_are_read_from_what_yarn_prints() -> None:
    first, second = read_list(_LIST)
    report = read_report(_REPORT)

    assert (first.application_id, first.is_over) == ("application_1764300000000_0007", False)
    assert (second.application_id, second.is_over) == ("application_1764300000000_0008", True)
    assert (report["State"], report["Final-State"], report["AM Host"]) == (
        "FAILED",
        "FAILED",
        "N/A",
    )
    assert "exitCode: 13 Failing this attempt." in report["Diagnostics"]
    assert report["Diagnostics"].endswith("tracking page.")


def test_names_are_such_as_a_master_takes() -> None:
    long = "Run_" + "x" * 200

    assert tag_of("Run_1/é").startswith("mltrain-run_1---")
    assert tag_of("Run_1/é") != tag_of("run_1--")
    assert len(tag_of(long)) <= 100
    assert pod_of("Run_1/a").startswith("mltrain-run-1-a-")
    assert pod_of("Run_1/a") != pod_of("run-1-a")
    assert len(pod_of(long)) <= 63
    assert label_of("_run/1_") == "run-1"
    assert len(label_of(long)) == 63
