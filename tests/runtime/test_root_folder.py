"""What the folder of all jobs can do, tried out on real file systems."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.runtime.job_agent import root_folder
from airflow_mltrain.runtime.job_agent.root_folder import (
    find_mount,
    look_at_root,
    read_quota,
    try_out,
)
from tests.services.requirement import require

_LOOK = (
    "import json, sys; sys.path.insert(0, sys.argv[1]); "
    "from job_agent.root_folder import look_at_root; print(json.dumps(look_at_root(sys.argv[2])))"
)
_RUNTIME = Path(root_folder.__file__).parents[1]


def look_at_mounted(folder: Path, options: str) -> dict[str, Any]:
    """The facts of a folder on which a small file system was mounted, in its own namespace."""
    namespace = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode != 0:
        require("ssh", "this user may not make a namespace to mount something in")
    folder.mkdir()
    mount = 'mount -t tmpfs -o "$1" none "$2" && shift 2 && exec "$0" -c "$@"'
    answer = subprocess.run(
        [*namespace, "sh", "-c", mount, sys.executable, options, folder, _LOOK, _RUNTIME, folder],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(answer.stdout))


def test_a_folder_on_a_disk_lacks_nothing(tmp_path: Path) -> None:
    assert try_out(str(tmp_path)) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_says_why() -> None:
    # when
    facts = look_at_root("/sys/kernel/mltrain")

    # then
    assert facts["lacks"] in ({"write": "Operation not permitted"}, {"write": "Permission denied"})
    assert facts["mount"]["kind"] == "sysfs"


@pytest.mark.parametrize("below", ["", "/runs"], ids=["in its place", "above it"])
def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path, below: str) -> None:
    # given
    (tmp_path / "file").touch()

    # when / then
    with pytest.raises(NotADirectoryError, match=r"no folder.*file"):
        look_at_root(f"{tmp_path}/file{below}")


def test_a_file_system_that_runs_no_programs_is_found_out(tmp_path: Path) -> None:
    # when
    facts = look_at_mounted(tmp_path / "mounted here", "noexec")

    # then
    assert list(facts["lacks"]) == ["execute"]
    assert facts["space"]["is_noexec"]
    assert facts["mount"] == {
        "point": str(tmp_path / "mounted here"),
        "kind": "tmpfs",
        "source": "none",
    }


def test_a_file_system_that_is_read_only_is_found_out(tmp_path: Path) -> None:
    # when
    facts = look_at_mounted(tmp_path / "mounted", "ro")

    # then
    assert list(facts["lacks"]) == ["write"]
    assert facts["space"]["is_read_only"]


def test_the_room_that_is_left_is_told_in_bytes_and_files(tmp_path: Path) -> None:
    # when
    facts = look_at_mounted(tmp_path / "mounted", "size=1m,nr_inodes=100")

    # then
    assert facts["lacks"] == {}
    assert facts["space"]["total_bytes"] == 1024 * 1024
    assert facts["space"]["free_bytes"] <= 1024 * 1024
    assert 0 < facts["space"]["free_files"] < 100


def test_of_two_file_systems_at_one_place_the_later_one_shows(tmp_path: Path) -> None:
    # given
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "30 22 0:31 / /home rw - autofs auto.home rw\n"
        "31 30 0:44 / /home rw shared:9 master:2 - nfs4 server:/home rw\n"
        "32 22 0:45 / /home/alice\\040b rw - xfs /dev/sdb rw\n"
    )

    # when
    found = [
        find_mount(path, str(mounts)).source
        for path in ("/srv", "/homes", "/home", "/home/x", "/home/alice b/root")
    ]

    # then
    assert found == ["/dev/sda1", "/dev/sda1", "server:/home", "server:/home", "/dev/sdb"]


@pytest.mark.parametrize(
    ("row", "quota"),
    [
        (
            "server:/home 2048* 1000 3000 1795500000 12 0 0 0",
            {
                "used_bytes": 2 << 20,
                "limit_bytes": 3_072_000,
                "used_files": 12,
                "limit_files": None,
            },
        ),
        (
            "/dev/sda1 10 1000 0 0 12 500 600 0",
            {"used_bytes": 10240, "limit_bytes": 1_024_000, "used_files": 12, "limit_files": 600},
        ),
    ],
    ids=["over the soft limit", "a soft limit only"],
)
def test_a_quota_is_read_from_its_program_s_words(row: str, quota: dict[str, int | None]) -> None:
    # given
    headings = "Filesystem blocks quota limit grace files quota limit grace"
    words = f"Disk quotas for user alice (uid 1001): \n     {headings}\n{row}\n"

    # when
    found = read_quota(words)

    # then
    assert found == quota


def test_who_has_no_quota_has_none() -> None:
    assert read_quota("Disk quotas for user alice (uid 1001): none\n") is None
