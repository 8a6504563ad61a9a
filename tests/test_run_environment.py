"""The environment of a run: resolved once, recorded, and built again exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_mltrain import (
    Environment,
    Experiment,
    Run,
    ScriptRunConfig,
    Workspace,
    progress,
    submission,
)
from airflow_mltrain.environments.pin import pin_environment
from airflow_mltrain.environments.plan import plan_environment
from airflow_mltrain.errors import ConfigurationError, RunFailedError, TargetUnreachableError
from airflow_mltrain.recording import Occasion
from airflow_mltrain.runs.record import SubmissionKey
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from tests.services.package_index import Package, PackageIndex, package_index, write_wheel
from tests.services.patience import PATIENCE_SECONDS


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    """Offers alpha 1.0, which needs beta."""
    with package_index(tmp_path / "index") as index:
        index.add("alpha", "1.0", requires=["beta"])
        index.add("beta", "1.0")
        yield index


@pytest.fixture
def environment(index: PackageIndex) -> Environment:
    environment = Environment("greek", python={"packages": ["alpha"]})
    environment.python.index.url = index.url
    return environment


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text("import alpha\nprint('alpha', alpha.__version__)\n")
    return project


def train(workspace: Workspace, project: Path, environment: Environment | str) -> Run:
    config = ScriptRunConfig(project, "train.py", environment=environment)
    run = Experiment(workspace, "greek").submit(config)
    run.wait_for_completion()
    return run


def elsewhere(settings: Settings, tmp_path: Path) -> Workspace:
    """The same run history, and a target that has built nothing yet."""
    return Workspace(replace(settings, local_root=tmp_path / "elsewhere"))


def log_of(run: Run, tmp_path: Path) -> str:
    run.download_file("log", tmp_path / "log")
    return (tmp_path / "log").read_text()


def test_a_run_gives_back_the_exact_packages_it_used(
    settings: Settings, project: Path, environment: Environment
) -> None:
    # given
    environment.environment_variables = {"SEED": "1"}

    # when
    used = train(Workspace(settings), project, environment).get_environment()

    # then
    assert used is not None
    assert [line.partition(" ")[0] for line in used.python.packages] == ["alpha==1.0", "beta==1.0"]
    assert all("--hash=sha256:" in line for line in used.python.packages)
    assert used.environment_variables == {"SEED": "1"}
    assert used.name == "greek"


def test_what_a_run_gives_back_builds_the_same_after_the_index_moved_on(
    settings: Settings,
    project: Path,
    environment: Environment,
    index: PackageIndex,
    tmp_path: Path,
) -> None:
    # given
    first = train(Workspace(settings), project, environment)
    used = first.get_environment()
    assert used is not None
    index.add("alpha", "2.0")

    # when
    again = train(elsewhere(settings, tmp_path), project, used.clone("a-year-later"))

    # then
    assert log_of(again, tmp_path).endswith("alpha 1.0\n")
    assert again.get_environment() == used.clone("a-year-later")


def test_an_environment_is_resolved_once_for_all_targets(
    settings: Settings,
    project: Path,
    environment: Environment,
    index: PackageIndex,
    tmp_path: Path,
) -> None:
    # given
    train(Workspace(settings), project, environment)
    index.add("alpha", "2.0")

    # when
    run = train(elsewhere(settings, tmp_path), project, environment)

    # then
    assert log_of(run, tmp_path).endswith("alpha 1.0\n")


def test_experiments_share_what_is_built(
    settings: Settings, project: Path, environment: Environment, index: PackageIndex
) -> None:
    # given
    workspace = Workspace(settings)
    train(workspace, project, environment)
    index.stop()

    # when
    config = ScriptRunConfig(project, "train.py", environment=environment.clone("other"))
    run = Experiment(workspace, "another").submit(config)
    run.wait_for_completion()

    # then
    assert run.get_status() is RunStatus.COMPLETED
    assert len(workspace.get_target("local").list_environments()) == 1


@pytest.mark.parametrize("reference", ["greek", "greek:1", "greek@prod"])
def test_a_registered_environment_is_named_in_a_config(
    settings: Settings, project: Path, environment: Environment, reference: str
) -> None:
    # given
    workspace = Workspace(settings)
    environment.register(workspace)
    Environment.label(workspace, "greek", 1, ["prod"])

    # when
    run = train(workspace, project, reference)

    # then
    used = run.get_environment()
    assert used is not None
    assert used.version is None  # its content is another than that version's
    assert used.name == "greek"


def test_a_private_wheel_travels_with_the_run(
    settings: Settings, project: Path, environment: Environment, tmp_path: Path
) -> None:
    # given
    workspace = Workspace(settings)
    wheel = write_wheel(tmp_path, Package("gamma", "3.0"))
    environment.python.packages = [
        "alpha",
        Environment.add_private_pip_wheel(workspace, str(wheel)),
    ]
    wheel.unlink()
    (project / "train.py").write_text("import alpha, gamma\nprint('gamma', gamma.__version__)\n")

    # when
    run = train(workspace, project, environment)

    # then
    assert log_of(run, tmp_path).endswith("gamma 3.0\n")
    used = run.get_environment()
    assert used is not None
    assert any(line.startswith("gamma @ mltrain-wheel:") for line in used.python.packages)
    assert train(elsewhere(settings, tmp_path), project, used).get_status() is RunStatus.COMPLETED


def test_a_failed_preparation_tells_the_resolvers_words_first(
    settings: Settings, project: Path, environment: Environment
) -> None:
    # given
    environment.python.packages = ["alpha", "beta==7.0"]

    # when / then
    with pytest.raises(RunFailedError, match=r"preparation failed: error: No solution"):
        train(Workspace(settings), project, environment)


def test_a_python_that_the_target_lacks_is_named_with_those_it_has(
    settings: Settings, project: Path, environment: Environment
) -> None:
    # given
    environment.python.version = "3.99"

    # when / then
    with pytest.raises(RunFailedError, match=r"3\.99"):
        train(Workspace(settings), project, environment)


def test_credentials_in_a_requirements_file_open_the_index_and_are_kept_nowhere(
    settings: Settings, project: Path, tmp_path: Path
) -> None:
    # given
    with package_index(tmp_path / "closed", credentials=("trainer", "s3cr3t-t0ken")) as index:
        index.add("alpha", "1.0")
        requirements = tmp_path / "requirements.txt"
        requirements.write_text(f"--index-url {index.url_with_credentials}\nalpha  # first\n")
        environment = Environment.from_pip_requirements("closed", str(requirements))
        requirements.unlink()
        workspace = Workspace(settings)

        # when
        run = train(workspace, project, environment)

    # then
    assert run.get_status() is RunStatus.COMPLETED
    assert environment.register(workspace).version == "1"
    workspace.history.close()
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"s3cr3t-t0ken" in path.read_bytes()]


def test_a_variable_that_credentials_refer_to_is_read_when_the_run_starts(
    settings: Settings, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    with package_index(tmp_path / "closed", credentials=("trainer", "s3cr3t-t0ken")) as index:
        index.add("alpha", "1.0")
        environment = Environment("closed", python={"packages": ["alpha"]})
        environment.python.index.url = index.url.replace("://", "://trainer:${INDEX_TOKEN}@")
        workspace = Workspace(settings)
        with pytest.raises(ConfigurationError, match="INDEX_TOKEN"):
            train(workspace, project, environment)
        assert workspace.history.list_runs() == []

        # when
        monkeypatch.setenv("INDEX_TOKEN", "s3cr3t-t0ken")
        run = train(workspace, project, environment)

    # then
    assert run.get_status() is RunStatus.COMPLETED


def test_a_token_alone_opens_an_index(settings: Settings, project: Path, tmp_path: Path) -> None:
    # given
    with package_index(tmp_path / "closed", credentials=("t0ken-0nly", "")) as index:
        index.add("alpha", "1.0")
        environment = Environment("closed", python={"packages": ["alpha"]})
        environment.python.index.url = index.url.replace("://", "://t0ken-0nly@")

        # when
        run = train(Workspace(settings), project, environment)

    # then
    assert run.get_status() is RunStatus.COMPLETED


def test_what_a_run_had_from_conda_can_be_asked_for_again() -> None:
    # given
    asked = Environment("e", python={"conda_packages": ["numpy=1.26"], "packages": ["alpha"]})
    base = "https://conda.example.org/forge/linux-64"
    resolved = {
        "python": "3.11.7",
        "packages": ["alpha==1.0"],
        "conda": [f"{base}/python-3.11.7-h0_0.conda#md5", f"{base}/numpy-1.26.4-py311_0.tar.bz2"],
    }

    # when
    pinned = pin_environment(asked, resolved)

    # then
    recipe = plan_environment(pinned, default_interpreter="python").recipe
    assert recipe is not None
    assert recipe["conda"]["packages"] == ["numpy=1.26.4=py311_0", "python=3.11.7=h0_0"]
    assert recipe["packages"] == ["alpha==1.0"]


def test_a_private_wheel_of_another_workspace_is_refused_before_anything_is_recorded(
    settings: Settings, project: Path
) -> None:
    # given
    workspace = Workspace(settings)
    wheel = f"gamma @ mltrain-wheel:{'0' * 64}/gamma-1.0-py3-none-any.whl"

    # when / then
    with pytest.raises(ConfigurationError, match="gamma @ mltrain-wheel"):
        train(workspace, project, Environment("e", python={"packages": [wheel]}))
    assert workspace.history.list_runs() == []


def test_a_run_that_goes_on_is_adopted_by_who_lacks_its_credentials(
    settings: Settings, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    workspace = Workspace(settings)
    occasion = Occasion(SubmissionKey("dag", "run", "task"), "first/0")
    monkeypatch.setenv("INDEX_TOKEN", "s3cr3t-t0ken")
    with package_index(tmp_path / "closed", credentials=("trainer", "s3cr3t-t0ken")) as index:
        index.add("alpha", "1.0")
        environment = Environment("closed", python={"packages": ["alpha"]})
        environment.python.index.url = index.url.replace("://", "://trainer:${INDEX_TOKEN}@")
        config = ScriptRunConfig(project, "train.py", environment=environment)
        first = submission.submit(workspace, "greek", config, occasion)
        monkeypatch.delenv("INDEX_TOKEN")

        # when
        adopted = submission.submit(workspace, "greek", config, occasion)

        # then
        assert adopted.run_id == first.run_id
        ended = progress.await_end(workspace, first.run_id, timeout_seconds=PATIENCE_SECONDS)
        assert ended.status is RunStatus.COMPLETED


def test_a_run_that_its_submitter_could_not_start_gets_the_credentials_of_its_own_environment(
    settings: Settings, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    workspace = Workspace(settings)
    occasion = Occasion(SubmissionKey("dag", "run", "task"), "first/0")
    monkeypatch.setenv("INDEX_TOKEN", "s3cr3t-t0ken")
    with package_index(tmp_path / "closed", credentials=("trainer", "s3cr3t-t0ken")) as index:
        index.add("alpha", "1.0")
        environment = Environment("moved", python={"packages": ["alpha"]})
        environment.python.index.url = index.url.replace("://", "://trainer:${INDEX_TOKEN}@")
        environment.register(workspace)
        config = ScriptRunConfig(project, "train.py", environment="moved")
        obstacle = settings.local_root / "blobs"
        obstacle.parent.mkdir()
        obstacle.touch()  # the run is recorded, and its snapshot cannot arrive
        with pytest.raises(TargetUnreachableError):
            submission.submit(workspace, "greek", config, occasion)
        obstacle.unlink()
        Environment("moved").register(workspace)

        # when
        record = submission.submit(workspace, "greek", config, occasion)
        ended = progress.await_end(workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS)

    # then
    assert ended.status is RunStatus.COMPLETED, ended.error
