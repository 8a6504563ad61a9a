"""What an environment comes down to when a job is started."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mltrain.config.docker_section import ContainerOptions, DockerSection
from airflow_mltrain.config.environment import Environment, look_again
from airflow_mltrain.config.package_url import Credentials, find_host
from airflow_mltrain.config.text import is_template
from airflow_mltrain.environments.recipe import list_wheel_digests, write_recipe
from airflow_mltrain.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_mltrain.config.python_section import PythonSection

_BUILT_INTERPRETER = "python"  # first on the PATH that a built environment gives its job
_IMAGE_INTERPRETER = "python"  # the one that an image has


class ImagePlan(NamedTuple):
    """The image that the script runs in, and what its container gets.

    It has one origin: a reference, the text of a Dockerfile, or a build context, which is a
    snapshot whose Dockerfile is at `dockerfile_path`. Without any it is the target's own image.
    """

    reference: str | None
    dockerfile: str | None
    context_id: str | None
    dockerfile_path: str
    options: ContainerOptions


@dataclass(frozen=True)
class EnvironmentPlan:
    """The interpreter that runs the script, the variables its processes get, what is built.

    `recipe` is plain data, the same for every environment with the same content; None where
    nothing is built. It holds no credentials. `image` is None where the environment says nothing
    of Docker.
    """

    interpreter: str
    environment_variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    recipe: Mapping[str, Any] | None = None
    image: ImagePlan | None = None

    @property
    def recipe_id(self) -> str:
        """The sha256 of the recipe, in hex; it means something only where there is a recipe."""
        text = json.dumps(self.recipe, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @property
    def wheel_digests(self) -> frozenset[str]:
        """The sha256 of each private wheel that has to travel to the target."""
        return frozenset() if self.recipe is None else list_wheel_digests(self.recipe)


def plan_environment(
    environment: Environment | None,
    *,
    default_interpreter: str,
    runs_images: bool = False,
    runs_spark: bool = False,
) -> EnvironmentPlan:
    """Decide what the environment means for a job; without one it is the default interpreter.

    A user-managed environment is its interpreter as it is; every other one is built, isolated,
    with its packages and nothing else. On a target that runs images the interpreter is the
    image's, and one that asks for no packages and no Python is the image as it is; on one that
    runs Spark, such an environment is the Python that the cluster's machines have. Raises
    ConfigurationError where the environment contradicts itself, or something in it would be left
    out without a word.
    """
    if environment is None:
        return EnvironmentPlan(default_interpreter)
    environment = look_again(environment)
    _check_possible(environment, runs_images=runs_images, runs_spark=runs_spark)
    variables = dict(environment.environment_variables)
    image = _plan_image(environment)
    if environment.python.user_managed_dependencies:
        interpreter = environment.python.interpreter_path
        return EnvironmentPlan(interpreter, variables, image=image)
    recipe = write_recipe(environment)
    if not any(recipe[key] for key in ("python", "packages", "conda")):
        if runs_images:
            return EnvironmentPlan(_IMAGE_INTERPRETER, variables, image=image)
        if runs_spark:
            return EnvironmentPlan(default_interpreter, variables)
    return EnvironmentPlan(_BUILT_INTERPRETER, variables, recipe, image)


def collect_credentials(
    environment: Environment | None, variables: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Login and password for each host that a URL of the environment names credentials for.

    Literal ones are those that this very object was given; `${NAME}` is looked up in `variables`.
    Raises ConfigurationError, which shows no credentials, where a variable is missing, a host has
    two, they cannot be sent to a compute target, or the environment is not valid.
    """
    found: dict[str, tuple[str, str]] = {}
    if environment is None or environment.python.user_managed_dependencies:
        return found
    python = look_again(environment).python
    for url, user_part in [*python.index.list_user_parts(), *python.list_user_parts()]:
        place = f"environment {environment.name!r}: {url}"
        if url.startswith("git+"):
            raise ConfigurationError(
                f"{place}: git gets no credentials this way; give it its own on the compute "
                "target, by its credential helper or with git+ssh"
            )
        credentials = _read_credentials(place, user_part, variables)
        host = find_host(url)
        if found.setdefault(host, credentials) != credentials:
            raise ConfigurationError(
                f"{place}: there are other credentials for {host} in another URL; "
                "a host can have one user name and password"
            )
    return found


def _read_credentials(place: str, user_part: str, variables: Mapping[str, str]) -> tuple[str, str]:
    try:
        credentials = Credentials.read(user_part, variables)
    except LookupError as error:
        name = error.args[0]
        raise ConfigurationError(
            f"{place}: the variable {name} is not set; set it where the run is submitted"
        ) from None
    except ValueError as error:
        raise ConfigurationError(f"{place}: {error}") from None
    return credentials.login, credentials.password


def _plan_image(environment: Environment) -> ImagePlan | None:
    docker = environment.docker
    if docker == DockerSection():
        return None
    context = docker.build_context
    dockerfile_path = "Dockerfile" if context is None else context.dockerfile_path
    _check_rendered(environment.name, "docker.base_image", docker.base_image)
    _check_rendered(environment.name, "docker.build_context.dockerfile_path", dockerfile_path)
    try:
        options = docker.options
    except ConfigurationError as error:
        raise ConfigurationError(f"environment {environment.name!r}: {error}") from None
    return ImagePlan(
        reference=docker.base_image,
        dockerfile=docker.base_dockerfile,
        context_id=None if context is None else context.snapshot_id,
        dockerfile_path=dockerfile_path,
        options=options,
    )


def _check_rendered(name: str, key: str, text: str | None) -> None:
    if text is not None and is_template(text):
        raise ConfigurationError(
            f"environment {name!r}: {key} has a Jinja template that nothing has rendered; "
            "templates are rendered in a Dag, elsewhere write the value"
        )


def _check_possible(environment: Environment, *, runs_images: bool, runs_spark: bool) -> None:
    python, name = environment.python, environment.name
    plain = Environment(name)
    if not runs_images and (images := _list_given(environment, plain, "docker")):
        raise ConfigurationError(
            f"environment {name!r}: {', '.join(images)} was given, and this compute target runs "
            "no images; leave it out and list what the script needs in python.packages, or "
            "choose a Docker compute target"
        )
    settings = [] if runs_spark else _list_given(environment, plain, "spark")
    if settings:
        raise ConfigurationError(
            f"environment {name!r}: {', '.join(settings)} was given, and this compute target sets "
            "up no Spark; leave it out, and list what the script needs in python.packages"
        )
    if python.user_managed_dependencies:
        _check_user_managed(name, python)
    elif python.interpreter_path != plain.python.interpreter_path:
        raise ConfigurationError(
            f"environment {name!r}: python.interpreter_path = {python.interpreter_path!r} counts "
            "only with python.user_managed_dependencies = True; set that too, or leave it out "
            "and ask for a python.version"
        )


def _check_user_managed(name: str, python: PythonSection) -> None:
    own = {"user_managed_dependencies", "interpreter_path"}
    plain = type(python)()
    given = [key for key, value in python if key not in own and value != getattr(plain, key)]
    if given:
        raise ConfigurationError(
            f"environment {name!r}: {', '.join(f'python.{key}' for key in given)} was given, and "
            "nothing is installed with python.user_managed_dependencies = True; install what "
            f"{python.interpreter_path} needs yourself, or leave user_managed_dependencies out"
        )


def _list_given(environment: Environment, plain: Environment, section: str) -> list[str]:
    return [
        f"{section}.{key}"
        for key, value in getattr(environment, section)
        if value != getattr(getattr(plain, section), key)
    ]
