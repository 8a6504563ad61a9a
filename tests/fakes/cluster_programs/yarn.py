"""In place of Hadoop's program `yarn`, for the applications that `yarn_submit` began."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from tests.fakes.cluster_programs import begun_driver

_HEADER = (
    "Total number of applications (application-types: [], states: [NEW, NEW_SAVING, SUBMITTED, "
    "ACCEPTED, RUNNING, FINISHED, FAILED, KILLED] and tags: [{}]):{}\n"
    "                Application-Id\t    Application-Name\t    Application-Type\t      User\t"
    "     Queue\t             State\t       Final-State\t       Progress\t"
    "                       Tracking-URL"
)


def main(folder: Path, argv: list[str]) -> None:
    if (folder / "is-deaf").exists():
        begun_driver.fail("java.net.ConnectException: Call From here to rm:8032 failed")
    if "-status" in argv and (folder / "is-silent").exists():
        (folder / "was-asked").touch()
        time.sleep(300)
    if (folder / "wants-tickets").exists() and not Path(os.environ["KRB5CCNAME"]).exists():
        begun_driver.fail("java.io.IOException: Client cannot authenticate via:[TOKEN, KERBEROS]")
    words = dict(zip(argv[1::2], argv[2::2], strict=False))
    if argv[:2] == ["application", "-list"]:
        assert argv[2::2] == ["-appTags", "-appStates"]
        assert argv[5] == "ALL"
        _list(folder, argv[3])
    elif argv[0] == "application" and "-status" in words:
        _show(folder, words["-status"])
    elif argv[0] == "application" and "-kill" in words:
        _kill(folder, words["-kill"])
    elif argv[0] == "logs" and words["-am"] == "1" and words["-log_files"] == "stdout,stderr":
        _log(folder, words["-applicationId"])
    else:
        begun_driver.fail(f"Invalid Command Usage : {argv}")


def _list(folder: Path, tag: str) -> None:
    hidden = folder / "hides-once"
    found = sorted((folder / "drivers").iterdir())
    if hidden.exists():
        hidden.unlink()
        found = []
    tagged = [one for one in found if tag in json.loads((one / "facts.json").read_text())["tags"]]
    print(_HEADER.format(tag, len(tagged)))
    for one in tagged:
        state, final, _ = _state(one)
        print(
            f"{one.name:>30}\t{'run':>20}\t{'SPARK':>20}\t{'me':>10}\t{'default':>10}\t"
            f"{state:>18}\t{final:>18}\t{'0%':>15}\t{'N/A':>35}"
        )


def _show(folder: Path, name: str) -> None:
    application = folder / "drivers" / name
    if not application.exists():
        print(f"Application with id '{name}' doesn't exist in RM or Timeline Server.")
        sys.exit(255)
    state, final, diagnosis = _state(application)
    print(
        f"Application Report : \n\tApplication-Id : {name}\n\tApplication-Name : run\n"
        f"\tUser : me\n\tQueue : default\n\tState : {state}\n\tFinal-State : {final}\n"
        f"\tTracking-URL : N/A\n\tRPC Port : -1\n\tAM Host : N/A\n"
        f"\tLog Aggregation Status : DISABLED\n\tDiagnostics : {diagnosis}\n"
        "\tUnmanaged Application : false\n\tApplicationTimeoutType : LIFETIME"
    )


def _state(application: Path) -> tuple[str, str, str]:
    (place,) = application.glob("container_*")
    if (application / "killed").exists():
        return "KILLED", "KILLED", "Application was killed by user me at 10.0.0.1"
    if not (place / "pid").exists():
        return "ACCEPTED", "UNDEFINED", "AM container is not yet allocated"
    code = begun_driver.exit_code(place)
    if code is None:  # a driver that makes no session does not come further
        return "ACCEPTED", "UNDEFINED", ""
    if code == 0:
        return "FINISHED", "SUCCEEDED", ""
    said = (
        f"Application failed 1 times due to AM Container for {place.name} exited with  exitCode: "
        f"{137 if code < 0 else code}\nFailing this attempt. Failing the application."
    )
    return "FAILED", "FAILED", said


def _kill(folder: Path, name: str) -> None:
    application = folder / "drivers" / name
    (place,) = application.glob("container_*")
    if _state(application)[0] in ("FINISHED", "FAILED", "KILLED"):
        print(f"Application {name} has already finished ")
        return
    (application / "killed").touch()
    begun_driver.end(place)
    print(f"Killing application {name}")


def _log(folder: Path, name: str) -> None:
    (place,) = (folder / "drivers" / name).glob("container_*")
    text = (place / "stderr").read_text()
    print(
        f"Container: {place.name} on host_45454\nLogAggregationType: AGGREGATED\n"
        f"LogType:stderr\nLogLength:{len(text)}\nLogContents:\n{text}\nEnd of LogType:stderr"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
