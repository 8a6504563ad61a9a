"""In place of spark-submit with a YARN: it puts a driver there, and can lose the answer."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tests.fakes.cluster_programs import begun_driver

_CLUSTER = 1764300000000


def main(folder: Path, argv: list[str]) -> None:
    with (folder / "submissions").open("a") as file:
        file.write(json.dumps(argv) + "\n")
    assert argv[argv.index("--master") + 1] == "yarn"
    assert argv[argv.index("--deploy-mode") + 1] == "cluster"
    unreached = folder / "is-unreached-once"
    if unreached.exists():
        unreached.unlink()
        begun_driver.fail(
            'Exception in thread "main" java.net.ConnectException: Call to rm:8032 failed',
            "\tat org.apache.hadoop.ipc.Client.call(Client.java:1508)",
        )
    if (folder / "refuses").exists():
        begun_driver.fail(
            'Exception in thread "main" java.lang.IllegalArgumentException: Required AM memory '
            "(65536+6553 MB) is above the max threshold (8192 MB) of this cluster!",
            "\tat org.apache.spark.deploy.yarn.Client.verifyClusterResources(Client.scala:396)",
        )
    properties = begun_driver.read_properties(argv)
    assert properties["spark.yarn.submit.waitAppCompletion"] == "false"
    assert properties["spark.yarn.maxAppAttempts"] == "1"
    number = len(list((folder / "drivers").iterdir())) + 1
    application = f"application_{_CLUSTER}_{number:04d}"
    draft = folder / f"draft-{number}"
    place = draft / f"container_e17_{_CLUSTER}_{number:04d}_01_000001"
    place.mkdir(parents=True)
    shutil.copy(argv[-1], place / "program.py")
    mark = "spark.yarn.appMasterEnv."
    facts = {
        "tags": properties["spark.yarn.tags"].lower().split(","),
        "properties": properties,
        "argv": [properties["spark.pyspark.driver.python"], "program.py"],
        "variables": {
            name.removeprefix(mark): value
            for name, value in properties.items()
            if name.startswith(mark)
        },
    }
    (draft / "facts.json").write_text(json.dumps(facts))
    draft.rename(folder / "drivers" / application)
    lost = folder / "loses-answer"
    if lost.exists():
        lost.unlink()
        begun_driver.fail("java.io.IOException: Connection reset by peer")
    print(
        f"25/11/28 09:00:00 INFO Client: Submitting application {application} to "
        f"ResourceManager\n\t tracking URL: http://rm.example.org:8088/proxy/{application}/",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
