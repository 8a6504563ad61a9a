"""Credentials in the URLs of packages and package indexes."""

from __future__ import annotations

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.environments.plan import collect_credentials, plan_environment
from airflow_mltrain.errors import ConfigurationError

SIGNED = "https://me:hunter2@packages.example.org/index/"
BARE = "https://packages.example.org/index/"


MIXED = "https://${LOGIN}:hunter2@packages.example.org/index/"


def everything_shown(environment: Environment) -> str:
    config = ScriptRunConfig("project", "train.py", environment=environment)
    return (
        f"{environment} {environment!r} {environment.model_dump()} {config!r} "
        f"{environment.model_dump_json()} {config.model_dump(mode='json')} "
        f"{plan_environment(environment, default_interpreter='python3')}"
    )


@pytest.mark.parametrize(
    "python",
    [
        {"index": {"url": SIGNED}},
        {"index": {"extra_urls": [BARE, SIGNED]}},
        {"index": {"find_links": [SIGNED]}},
        {"packages": [f"a @ {SIGNED}a.zip ; python_version > '3'"]},
        {"constraints": [f"a @ {SIGNED}a.zip"]},
    ],
)
def test_credentials_in_a_url_are_kept_and_shown_nowhere(python: dict[str, object]) -> None:
    environment = Environment("e", python=python)

    assert "hunter2" not in everything_shown(environment)
    assert BARE in everything_shown(environment)
    assert collect_credentials(environment, {}) == {"packages.example.org": ("me", "hunter2")}


def test_credentials_that_are_assigned_are_kept_apart_at_once() -> None:
    environment = Environment("e")

    environment.python.index.url = SIGNED

    assert environment.python.index.url == BARE
    assert collect_credentials(environment, {}) == {"packages.example.org": ("me", "hunter2")}


def test_credentials_that_are_put_into_a_list_in_place_are_shown_nowhere() -> None:
    environment = Environment("e")

    environment.python.index.extra_urls.append(SIGNED)
    environment.python.packages.append(f"a @ {SIGNED}a.zip")

    assert "hunter2" not in everything_shown(environment)
    assert collect_credentials(environment, {}) == {"packages.example.org": ("me", "hunter2")}


def test_a_clone_has_the_credentials_too() -> None:
    clone = Environment("e", python={"index": {"url": SIGNED}}).clone("another")

    clone.python.packages.append("numpy")

    assert collect_credentials(clone, {}) == {"packages.example.org": ("me", "hunter2")}


def test_an_environment_that_was_stored_and_read_has_no_literal_credentials() -> None:
    environment = Environment("e", python={"index": {"url": SIGNED}})

    stored = Environment.model_validate_json(environment.model_dump_json())

    assert stored.python.index.url == BARE
    assert collect_credentials(stored, {}) == {}


def test_the_credentials_that_were_assigned_last_count() -> None:
    environment = Environment("e", python={"index": {"url": SIGNED}})

    environment.python.index.url = SIGNED.replace("hunter2", "hunter3")

    assert collect_credentials(environment, {}) == {"packages.example.org": ("me", "hunter3")}


def test_the_credentials_of_a_url_that_was_replaced_are_left_out() -> None:
    environment = Environment("e", python={"index": {"url": SIGNED}})

    environment.python.index.url = "https://other.example.org/"

    assert collect_credentials(environment, {}) == {}


def test_a_url_that_is_assigned_without_its_credentials_loses_them() -> None:
    environment = Environment("e", python={"index": {"url": SIGNED}})

    environment.python.index.url = BARE

    assert collect_credentials(environment, {}) == {}


def test_a_url_that_another_setting_has_too_keeps_its_credentials() -> None:
    index = {"url": SIGNED, "extra_urls": [SIGNED]}
    environment = Environment("e", python={"index": index})

    environment.python.index.url = BARE

    assert collect_credentials(environment, {}) == {"packages.example.org": ("me", "hunter2")}


def test_a_url_that_comes_back_after_another_one_has_no_credentials() -> None:
    environment = Environment("e", python={"index": {"extra_urls": [SIGNED]}})

    environment.python.index.extra_urls = []
    environment.python.index.extra_urls = [BARE]

    assert collect_credentials(environment, {}) == {}


def test_a_list_of_urls_that_was_made_longer_keeps_its_credentials() -> None:
    environment = Environment("e", python={"index": {"extra_urls": [SIGNED]}})
    index = environment.python.index

    index.extra_urls = [*index.extra_urls, "https://other.example.org/"]

    assert collect_credentials(environment, {}) == {"packages.example.org": ("me", "hunter2")}


def test_a_refused_url_leaves_the_credentials_of_the_one_before() -> None:
    environment = Environment("e", python={"index": {"url": SIGNED}})

    with pytest.raises(ConfigurationError):
        environment.python.index.url = "not a URL"

    assert collect_credentials(environment, {}) == {"packages.example.org": ("me", "hunter2")}


def test_environments_that_differ_in_credentials_alone_are_equal() -> None:
    signed = Environment("e", python={"index": {"extra_urls": [SIGNED]}})
    added = Environment("e")
    added.python.index.extra_urls.append(SIGNED)

    assert signed == added == Environment("e", python={"index": {"extra_urls": [BARE]}})
    assert signed != Environment("e", python={"index": {"url": BARE}})
    assert signed.python != signed.python.index


@pytest.mark.parametrize(
    ("user_part", "credentials"),
    [
        ("${LOGIN}:${TOKEN}", ("me", "p@ss%")),
        ("other:${TOKEN}", ("other", "p@ss%")),
        ("${TOKEN}", ("p@ss%", "")),
        ("${TOKEN}:", ("p@ss%", "")),
        ("${TOKEN}:x-oauth-basic", ("p@ss%", "x-oauth-basic")),
    ],
)
def test_variables_named_in_a_url_are_looked_up_when_the_run_is_started(
    user_part: str, credentials: tuple[str, str]
) -> None:
    environment = Environment("e", python={"index": {"url": f"https://{user_part}@a.example/"}})

    stored = Environment.model_validate_json(environment.model_dump_json())
    found = collect_credentials(stored, {"LOGIN": "me", "TOKEN": "p@ss%"})

    assert found == {"a.example": credentials}


@pytest.mark.parametrize(
    "python", [{"index": {"url": MIXED}}, {"packages": [f"a @ {MIXED}a.zip"]}]
)
def test_a_literal_password_behind_a_variable_is_refused_and_not_shown(
    python: dict[str, object],
) -> None:
    with pytest.raises(ConfigurationError, match="as its password too") as refusal:
        Environment("e", python=python)

    assert "ter2" not in str(refusal.value)


def test_a_literal_password_behind_a_variable_that_came_into_a_list_is_refused_later() -> None:
    environment = Environment("e")
    environment.python.index.extra_urls.append(MIXED)

    with pytest.raises(ConfigurationError, match="as its password too") as refusal:
        plan_environment(environment, default_interpreter="python3")

    assert "ter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:{{ var.value.token }}@a.example/",
        "https://${TOKEN}@{{ conn['x'].host }}/",
        "https://${TOKEN}@a.example/{{ ds }}/",
    ],
)
def test_a_url_that_was_not_rendered_has_no_credentials_yet(url: str) -> None:
    environment = Environment("e", python={"index": {"url": url}})

    assert collect_credentials(environment, {"TOKEN": "hunter2"}) == {}


@pytest.mark.parametrize("user_part", [":hunter2", "${NOTHING}:hunter2", "${NOTHING}", ""])
def test_credentials_without_a_user_name_are_refused_where_the_run_is_submitted(
    user_part: str,
) -> None:
    user_part = user_part.replace("hunter2", "${TOKEN}")
    environment = Environment("e", python={"index": {"url": f"https://{user_part}@a.example/"}})

    with pytest.raises(ConfigurationError, match="has no user name") as refusal:
        collect_credentials(environment, {"NOTHING": "", "TOKEN": "hunter2"})

    assert "ter2" not in str(refusal.value)


def test_a_literal_password_alone_is_refused_where_the_run_is_submitted() -> None:
    environment = Environment("e", python={"index": {"url": "https://:hunter2@a.example/"}})

    with pytest.raises(ConfigurationError, match="has no user name") as refusal:
        collect_credentials(environment, {})

    assert "ter2" not in str(refusal.value)


def test_variables_named_in_a_url_survive_storage_and_are_in_no_recipe() -> None:
    url = "https://${LOGIN}:${TOKEN}@a.example/"
    environment = Environment("e", python={"index": {"url": url}, "packages": [f"a @ {url}a.zip"]})

    stored = Environment.model_validate_json(environment.model_dump_json())
    plan = plan_environment(stored, default_interpreter="python3")

    assert stored == environment
    assert stored.python.index.url == url
    assert plan.recipe is not None
    assert "TOKEN" not in str(plan.recipe)
    assert plan.recipe["packages"] == ["a @ https://a.example/a.zip"]


def test_a_variable_that_is_missing_is_named_with_the_url() -> None:
    url = "https://me:${TOKEN}@a.example/index/"
    environment = Environment("e", python={"index": {"url": url}})

    with pytest.raises(ConfigurationError) as refusal:
        collect_credentials(environment, {"LOGIN": "me"})

    assert "environment 'e': https://a.example/index/: the variable TOKEN" in str(refusal.value)


@pytest.mark.parametrize(
    ("user_part", "credentials"),
    [("me:p%40ss%2Fword", ("me", "p@ss/word")), ("t0ken", ("t0ken", "")), ("me:", ("me", ""))],
)
def test_credentials_are_decoded_as_in_every_url(
    user_part: str, credentials: tuple[str, str]
) -> None:
    url = f"https://{user_part}@A.example:8080/"

    environment = Environment("e", python={"index": {"url": url}})

    assert collect_credentials(environment, {}) == {"a.example": credentials}
    assert environment.python.index.url == "https://A.example:8080/"


@pytest.mark.parametrize("password", ["hun%20ter2", "hun%22ter2", "hun%5Cter2", "hun%0Ater2"])
def test_credentials_that_cannot_be_sent_are_refused_without_showing_them(password: str) -> None:
    url = f"https://me:{password}@a.example/"
    environment = Environment("e", python={"index": {"url": url}})

    with pytest.raises(ConfigurationError, match="which a netrc file cannot hold") as refusal:
        collect_credentials(environment, {})

    assert "ter2" not in str(refusal.value)


def test_two_credentials_for_one_host_are_refused_without_showing_them() -> None:
    index = {"url": SIGNED, "extra_urls": ["https://me:hunter3@packages.example.org/other/"]}
    environment = Environment("e", python={"index": index})

    with pytest.raises(ConfigurationError, match="other credentials for packages") as refusal:
        collect_credentials(environment, {})

    assert "hunter" not in str(refusal.value)


def test_the_same_credentials_may_stand_in_several_urls() -> None:
    index = {"url": SIGNED, "extra_urls": [SIGNED.replace("index", "other")]}

    environment = Environment("e", python={"index": index})

    assert collect_credentials(environment, {}) == {"packages.example.org": ("me", "hunter2")}


@pytest.mark.parametrize(
    "url",
    [
        "https://${INDEX}/",
        "https://a.example/${TEAM}/",
        "https://x${TOKEN}@a.example/",
        "https://${TO-KEN}@a.example/",
        "https://me:hun/ter2@a.example/",
        "https://me:1/ter2@a.example/",
        "https://me:ter2@/",
        "https://me:my ter2@a.example/",
        "https://me:my@ ter2@a.example/",
        "me:ter2@a.example/",
        "ftp://me:ter2@a.example/",
        "https://me:ter2@a.example:port/",
        "https://me:ter2@a.example/ index",
    ],
)
def test_a_url_that_no_one_could_follow_is_refused_without_showing_credentials(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"python\.index\.url: .* it should") as refusal:
        Environment("e", python={"index": {"url": url}})

    assert "ter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    [
        "git+https://ter2@example.org/a",
        "git+https://me:ter2@example.org/a",
        "git+https://${TOKEN}@example.org/a",
        "git+ssh://me:ter2@example.org/a",
    ],
)
def test_credentials_for_git_are_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"it should have no (cred|pass)") as refusal:
        Environment("e", python={"packages": [f"a @ {url}"]})

    assert "ter2" not in str(refusal.value)


def test_credentials_for_git_that_came_into_a_list_in_place_are_refused_later() -> None:
    environment = Environment("e")
    environment.python.packages.append("a @ git+https://me:hunter2@example.org/a")

    assert "hunter2" not in everything_shown(environment)
    with pytest.raises(ConfigurationError, match="git gets no credentials this way"):
        collect_credentials(environment, {})


def test_a_password_that_a_template_brings_is_taken_out_once_it_was_rendered() -> None:
    url = "https://me:{{ conn.packages.password }}@a.example/"

    assert Environment("e", python={"index": {"url": url}}).python.index.url == url


def test_an_interpreter_of_the_users_own_needs_no_credentials() -> None:
    environment = Environment("e", python={"user_managed_dependencies": True})

    assert collect_credentials(environment, {}) == {}
    assert collect_credentials(None, {}) == {}
