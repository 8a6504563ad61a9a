"""An environment as a user writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.errors import ConfigurationError
from tests.config.environment_shelf import EnvironmentShelf


def test_an_environment_is_made_with_its_name_and_filled_attribute_by_attribute() -> None:
    environment = Environment("user-managed-env")

    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = "/opt/python/bin/python"

    assert environment.name == "user-managed-env"
    assert environment.python.interpreter_path == "/opt/python/bin/python"


def test_the_interpreter_may_be_assigned_before_the_dependencies_are_called_user_managed() -> None:
    environment = Environment("e")

    environment.python.interpreter_path = "/opt/python/bin/python"

    assert environment.python.user_managed_dependencies is False


def test_a_new_environment_carries_no_example_variable() -> None:
    assert Environment("e").environment_variables == {}


def test_changing_the_defaults_of_one_environment_leaves_the_next_one_alone() -> None:
    changed = Environment("a")

    changed.docker.arguments.append("--gpus=all")
    changed.environment_variables["SEED"] = "1"
    changed.python.packages.append("scikit-learn")

    assert Environment("b").docker.arguments == []
    assert Environment("b").environment_variables == {}
    assert Environment("b").python.packages == []


@pytest.mark.parametrize("name", ["a", "sklearn-1.5_py311", "A" * 255, "0.1", "MLTrain-Mine"])
def test_an_environment_may_be_called(name: str) -> None:
    assert Environment(name).name == name


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", "a b", "A" * 256, "é", "a\n", "a:1"])
def test_an_environment_may_not_be_called(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Environment\.name: .* 1 to 255 letters"):
        Environment(name)


def test_a_misspelt_section_is_answered_with_the_name_that_was_meant() -> None:
    with pytest.raises(ConfigurationError, match=r"Environment\.pyhton: .* did you mean python\?"):
        Environment("e", pyhton={})


def test_a_setting_of_a_section_that_is_given_one_level_too_high_is_pointed_to_its_place() -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean docker\.base_image\?"):
        Environment("e", base_image="python:3.12")


def test_a_misspelt_attribute_is_refused_when_it_is_assigned() -> None:
    environment = Environment("e")

    with pytest.raises(ConfigurationError, match="did you mean interpreter_path"):
        environment.python.interpreter_pth = "python3"  # type: ignore[attr-defined] # the slip


def test_a_value_of_the_wrong_type_is_refused_when_it_is_assigned_and_changes_nothing() -> None:
    environment = Environment("e")

    with pytest.raises(ConfigurationError, match=r"PythonSection\.interpreter_path: None was"):
        environment.python.interpreter_path = None  # type: ignore[assignment] # the slip

    assert environment.python.interpreter_path == "python"


def test_packages_that_are_text_instead_of_a_list_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"python\.packages: 'scikit-learn' was given"):
        Environment("e", python={"packages": "scikit-learn"})


def test_an_image_and_a_dockerfile_contradict_each_other_from_the_start() -> None:
    with pytest.raises(ConfigurationError, match="contradicts base_image"):
        Environment("e", docker={"base_image": "python:3.12", "base_dockerfile": "FROM scratch"})


def test_a_dockerfile_is_not_put_over_an_image_that_stands() -> None:
    environment = Environment("e", docker={"base_image": "python:3.12"})

    with pytest.raises(ConfigurationError, match="contradicts base_image"):
        environment.docker.base_dockerfile = "FROM scratch"

    assert environment.docker.base_dockerfile is None


def test_a_dockerfile_takes_the_place_of_an_image_that_was_taken_away() -> None:
    environment = Environment("e", docker={"base_image": "python:3.12"})

    environment.docker.base_image = None
    environment.docker.base_dockerfile = "FROM scratch"

    assert environment.docker.base_dockerfile == "FROM scratch"


@pytest.mark.parametrize("size", ["2 GB", "", "-1g", "g", "0"])
def test_a_shared_memory_size_that_no_engine_takes_is_refused(size: str) -> None:
    with pytest.raises(ConfigurationError, match="such as '2g'"):
        Environment("e", docker={"shm_size": size})


def test_numbers_in_a_spark_configuration_are_taken_as_text() -> None:
    spark = {"configuration": {"spark.executor.instances": 4}}

    environment = Environment("e", spark=spark)

    assert environment.spark.configuration == {"spark.executor.instances": "4"}


@pytest.mark.parametrize("name", ["A B", "1A", "A-B", "", "Ä", "MLTRAIN_RUN_ID", "A\0"])
def test_a_variable_may_not_be_called(name: str) -> None:
    with pytest.raises(ConfigurationError, match="its name should"):
        Environment("e", environment_variables={name: "1"})


@pytest.mark.parametrize(
    "variables",
    [
        {"TOKEN": "hunter2\0"},
        {"TOKEN": ["hunter2"]},
        {"TOKEN": b"hunter2\xff"},
        {"TO KEN": "hunter2"},
        {"TOKEN=hunter2": ""},
        ["TOKEN=hunter2"],
        "TOKEN=hunter2",
        {"TOKEN": "hunter2" * 20_000},
    ],
)
def test_no_message_shows_the_value_of_a_variable(variables: object) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Environment("e", environment_variables=variables)

    assert "environment_variables" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_printing_an_environment_shows_no_variable() -> None:
    environment = Environment("e", environment_variables={"TOKEN": "hunter2"})

    assert "hunter2" not in f"{environment} {environment!r}"


def test_a_clone_is_independent_and_has_no_version() -> None:
    original = Environment("a", version="3", python={"packages": ["numpy"]})

    clone = original.clone("b")
    clone.python.packages.append("scipy")

    assert (clone.name, clone.version) == ("b", None)
    assert (original.name, original.version) == ("a", "3")
    assert original.python.packages == ["numpy"]


def test_a_clone_needs_a_name_that_an_environment_may_have() -> None:
    with pytest.raises(ConfigurationError, match=r"Environment\.name: 'a/b'"):
        Environment("a").clone("a/b")


@pytest.mark.parametrize("version", ["3.8", "3.10", "3.11.7", "{{ params.python }}"])
def test_a_python_is_asked_for_by_its_version(version: str) -> None:
    assert Environment("e", python={"version": version}).python.version == version


@pytest.mark.parametrize("version", ["3", "3.7", "2.7", "4.0", "3.11.x", ">=3.9", "", "3.\u0661"])
def test_what_is_no_version_of_python_is_refused(version: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Environment\.python\.version: .* it should be"):
        Environment("e", python={"version": version})


def test_a_version_that_a_file_turned_into_a_number_is_refused_for_3_10_is_not_3_1() -> None:
    with pytest.raises(ConfigurationError, match=r"'3\.10'; the number 3\.10 is 3\.1"):
        Environment("e", python={"version": 3.10})


@pytest.mark.parametrize("host", ["packages.example.org", "127.0.0.1:8080", "[::1]:8080"])
def test_a_host_may_be_trusted(host: str) -> None:
    environment = Environment("e", python={"index": {"trusted_hosts": [host]}})

    assert environment.python.index.trusted_hosts == [host]


@pytest.mark.parametrize("host", ["https://packages.example.org", "a b", "a:b", "a/b", "*"])
def test_what_is_no_host_is_not_trusted(host: str) -> None:
    with pytest.raises(ConfigurationError, match="it should be a host"):
        Environment("e", python={"index": {"trusted_hosts": [host]}})


def test_packages_that_are_built_from_source_are_named_as_indexes_name_them() -> None:
    index = {"no_binary": ["Some_Package", ":all:"], "only_binary": ["numpy"]}

    environment = Environment("e", python={"index": index})

    assert environment.python.index.no_binary == ["some-package", ":all:"]


def test_what_is_no_package_cannot_be_built_from_source() -> None:
    with pytest.raises(ConfigurationError, match=r"index\.no_binary\[0\]: 'a,b' was given"):
        Environment("e", python={"index": {"no_binary": ["a,b"]}})


@pytest.mark.parametrize("channel", ["conda-forge", "defaults", "https://conda.example.org/mine"])
def test_a_channel_is_a_name_or_a_url(channel: str) -> None:
    assert Environment("e", python={"conda_channels": [channel]}).python.conda_channels == [
        channel
    ]


@pytest.mark.parametrize(
    "channel",
    ["https://me:hunter2@conda.example.org/mine", "https://conda.example.org/t/hunter2/mine"],
)
def test_a_channel_with_a_secret_in_it_is_refused_with_the_remedy(channel: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\.condarc"):
        Environment("e", python={"conda_channels": [channel]})


@pytest.mark.parametrize(
    "package", ["", "-c evil", "a b c", "https://example.org/a.conda", "a\nb"]
)
def test_what_conda_would_not_take_is_refused(package: str) -> None:
    with pytest.raises(ConfigurationError, match=r"conda_packages\[0\]: .* it should"):
        Environment("e", python={"conda_packages": [package]})


def test_a_registered_environment_is_found_by_name_version_and_label() -> None:
    shelf = EnvironmentShelf()

    registered = Environment("sklearn").register(workspace=shelf)
    Environment.label(shelf, "sklearn", version=1, labels=["production"])

    assert Environment.get(workspace=shelf, name="sklearn") == registered
    assert Environment.get(workspace=shelf, name="sklearn", version=1) == registered
    assert Environment.get(workspace=shelf, name="sklearn", label="production") == registered
    assert Environment.list(workspace=shelf) == {"sklearn": registered}


def test_an_environment_is_saved_and_loaded_with_its_version(tmp_path: Path) -> None:
    environment = Environment("mine", version="3", environment_variables={"A": "é"})

    environment.save_to_directory(tmp_path / "a" / "b")

    assert Environment.load_from_directory(tmp_path / "a" / "b") == environment
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["environment.json"]


def test_a_saved_environment_is_overwritten_only_when_asked_for(tmp_path: Path) -> None:
    Environment("first").save_to_directory(tmp_path)

    with pytest.raises(ConfigurationError, match=r"environment\.json exists; .* overwrite=True"):
        Environment("second").save_to_directory(tmp_path)

    assert Environment.load_from_directory(tmp_path).name == "first"
    Environment("second").save_to_directory(tmp_path, overwrite=True)
    assert Environment.load_from_directory(tmp_path).name == "second"


def test_an_environment_cannot_be_saved_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(
        ConfigurationError, match=r"environment\.json cannot be written: Not a dir"
    ):
        Environment("e").save_to_directory(tmp_path / "file" / "folder")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read: No such file"),
        ("{", "is not JSON"),
        ("[]", "environment.json: Environment: a list was given"),
        ('{"name": "e", "pyhton": {}}', "did you mean python"),
    ],
)
def test_a_saved_environment_that_is_damaged_is_refused_by_its_file(
    tmp_path: Path, content: str | None, fault: str
) -> None:
    if content is not None:
        (tmp_path / "environment.json").write_text(content)

    with pytest.raises(ConfigurationError) as refusal:
        Environment.load_from_directory(tmp_path)

    assert str(tmp_path) in str(refusal.value)
    assert fault in str(refusal.value)


def test_what_was_made_wrong_in_place_is_not_saved(tmp_path: Path) -> None:
    environment = Environment("e")
    environment.python.packages.append("numpy=1 !!")

    with pytest.raises(ConfigurationError, match=r"python\.packages\[0\]: 'numpy=1 !!'"):
        environment.save_to_directory(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_saved_file_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text("[" * 100_000)

    with pytest.raises(ConfigurationError, match="is not JSON"):
        Environment.load_from_directory(tmp_path)


def test_a_directory_that_is_no_path_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="it should be the path of a file"):
        Environment("e").save_to_directory("a\0b")
