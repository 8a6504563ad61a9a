"""An environment as a user writes it."""

from __future__ import annotations

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.errors import ConfigurationError


class Shelf:
    """Keeps environments in memory, as a workspace keeps them in its history."""

    def __init__(self) -> None:
        self.environments: dict[str, Environment] = {}

    def get_environment(self, name: str) -> Environment:
        return self.environments[name]

    def register_environment(self, environment: Environment) -> Environment:
        self.environments[environment.name] = environment
        self.environments[f"{environment.name}:1"] = environment
        return environment


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


def test_a_registered_environment_is_found_by_name_and_version() -> None:
    shelf = Shelf()

    registered = Environment("sklearn").register(workspace=shelf)

    assert Environment.get(workspace=shelf, name="sklearn") is registered
    assert Environment.get(workspace=shelf, name="sklearn", version=1) is registered
