"""Private wheels on a target: they are installed as they left, or not at all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.environment.private_wheel import materialise
from airflow_mltrain.runtime.job_agent.installer.tool import InstallError

_CONTENT = b"a wheel"
_DIGEST = hashlib.sha256(_CONTENT).hexdigest()
_NAME = "foo-1.0-py3-none-any.whl"


@dataclass(frozen=True)
class Target:
    """Where wheels arrive, and where they get their names."""

    root: Path

    @property
    def blob(self) -> Path:
        return self.root / "blobs" / _DIGEST[:2] / _DIGEST

    @property
    def wheels(self) -> Path:
        return self.root / "envs" / "wheels"

    def receive(self, content: bytes) -> None:
        self.blob.parent.mkdir(parents=True, exist_ok=True)
        self.blob.write_bytes(content)

    def materialise(self) -> list[str]:
        line = f"foo @ mltrain-wheel:{_DIGEST}/{_NAME}"
        return materialise([line], str(self.root / "blobs"), str(self.wheels))


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(tmp_path)


def test_a_wheel_gets_its_name_back(target: Target) -> None:
    # given
    target.receive(_CONTENT)

    # when
    first, again = target.materialise(), target.materialise()

    # then
    place = target.wheels / _DIGEST
    assert first == again == [f"foo @ file://{place}/{_NAME}"]
    assert [path.name for path in place.iterdir()] == [_NAME]
    assert (place / _NAME).read_bytes() == _CONTENT


def test_a_wheel_that_never_arrived_is_named_with_what_to_do(target: Target) -> None:
    # when, then
    with pytest.raises(InstallError, match=rf"{_NAME} .*{_DIGEST} is missing.*submit the run"):
        target.materialise()


def test_a_damaged_wheel_is_not_installed(target: Target) -> None:
    # given
    target.receive(b"a whale")

    # when
    with pytest.raises(InstallError, match=rf"{_NAME} is damaged: remove .*{_DIGEST}"):
        target.materialise()

    # then
    assert not [path for path in target.wheels.rglob("*") if path.is_file()]
    assert target.blob.read_bytes() == b"a whale"


def test_a_wheel_that_was_damaged_is_installed_once_it_came_anew(target: Target) -> None:
    # given
    target.receive(b"a whale")
    with pytest.raises(InstallError):
        target.materialise()

    # when
    target.receive(_CONTENT)
    target.materialise()

    # then
    assert (target.wheels / _DIGEST / _NAME).read_bytes() == _CONTENT
