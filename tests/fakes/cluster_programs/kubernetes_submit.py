"""In place of spark-submit with a Kubernetes: pods are folders, and it can lose the answer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from shutil import rmtree

from tests.fakes.cluster_programs import begun_driver

_POD = """Application status (driver):

\t pod name: {name}
\t namespace: training
\t labels: mltrain-run-id -> {label}, spark-role -> driver
\t pod uid: 1c9f
\t creation time: 2026-11-28T09:00:00Z
\t service account name: default
\t volumes: spark-local-dir-1
\t node name: {node}
\t start time: N/A
\t phase: {phase}
\t container status:
\t\t container name: spark-kubernetes-driver
\t\t container image: spark:4.2.0
\t\t container state: {state}
\t\t {more}"""


def main(folder: Path, argv: list[str]) -> None:
    assert argv[argv.index("--master") + 1] == "k8s://https://127.0.0.1:1"
    for verb, do in (("--status", _show), ("--kill", _kill)):
        if verb in argv:
            assert "--properties-file" in argv
            namespace, _, name = argv[argv.index(verb) + 1].partition(":")
            assert namespace == "training"
            if (folder / "is-deaf-to-questions").exists():
                begun_driver.fail("io.fabric8.kubernetes.client.KubernetesClientException: error")
            do(folder / "drivers" / name)
            return
    _submit(folder, argv)


def _submit(folder: Path, argv: list[str]) -> None:
    with (folder / "submissions").open("a") as file:
        file.write(json.dumps(argv) + "\n")
    properties = begun_driver.read_properties(argv)
    assert properties["spark.kubernetes.submission.waitAppCompletion"] == "false"
    assert properties["spark.kubernetes.namespace"] == "training"
    at = argv.index("spark-internal")
    assert argv[at - 2 : at] == ["--class", "org.apache.spark.deploy.PythonRunner"]
    runs, files, program = argv[at + 1 :]
    assert files == ""
    pod = folder / "drivers" / properties["spark.kubernetes.driver.pod.name"]
    if pod.exists():
        begun_driver.fail(
            "io.fabric8.kubernetes.client.KubernetesClientException: Failure executing: POST at: "
            f'.../pods. Message: pods "{pod.name}" already exists. Received status: code=409'
        )
    draft = folder / "draft"
    (draft / "work-dir").mkdir(parents=True)
    mark = "spark.kubernetes.driverEnv."
    facts = {
        "properties": properties,
        "argv": [properties["spark.pyspark.driver.python"], runs, program],
        "variables": {
            name.removeprefix(mark): value
            for name, value in properties.items()
            if name.startswith(mark)
        },
    }
    (draft / "facts.json").write_text(json.dumps(facts))
    for fault in ("loses-answer", "loses-answer-to-pod"):
        if (folder / fault).exists():
            (folder / fault).unlink()
            if fault.endswith("to-pod"):  # it waits for settings that nobody makes any more
                (draft / "is-incomplete").touch()
            draft.rename(pod)
            begun_driver.fail("java.io.IOException: Connection reset by peer")
    draft.rename(pod)


def _show(pod: Path) -> None:
    if not pod.exists():
        print("Application not found.")
        return
    properties = json.loads((pod / "facts.json").read_text())["properties"]
    phase, state, more = _state(pod)
    print(
        _POD.format(
            name=pod.name,
            label=properties["spark.kubernetes.driver.label.mltrain-run-id"],
            node="N/A" if phase == "Pending" else "node-1",
            phase=phase,
            state=state,
            more=more,
        )
    )


def _state(pod: Path) -> tuple[str, str, str]:
    place = pod / "work-dir"
    if not (place / "pid").exists():
        return "Pending", "waiting", "pending reason: ImagePullBackOff"
    code = begun_driver.exit_code(place)
    if code is None:
        return "Running", "running", "container started at: 2026-11-28T09:00:01Z"
    phase, reason = ("Succeeded", "Completed") if code == 0 else ("Failed", "OOMKilled")
    shown = 137 if code < 0 else code
    return phase, "terminated", f"exit code: {shown}\n\t\t termination reason: {reason}"


def _kill(pod: Path) -> None:
    if not pod.exists():
        print("Application not found.")
        return
    (pod / "killed").touch()
    begun_driver.end(pod / "work-dir")
    rmtree(pod.rename(pod.parents[1] / f"removed-{pod.name}"))  # at once, for whoever looks


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
