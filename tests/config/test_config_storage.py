"""A config as plain data: what the run history keeps and a Dag renders."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.run_configuration import RunConfiguration
from airflow_mltrain.config.script_run import ScriptRunConfig

patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
keys = words.filter(str.strip)
names = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,20}", fullmatch=True)
variables = st.dictionaries(st.from_regex(r"[A-LN-Z_][A-Z0-9_]{0,9}", fullmatch=True), words)
arguments = st.lists(words | st.integers() | st.floats() | words.map(lambda word: Path("d", word)))
requirements = st.from_regex(r"[a-z][a-z0-9]{0,9}(>=[1-9]|==1\.[0-9])?", fullmatch=True)
urls = st.from_regex(r"https://(\$\{[A-Z]{1,9}\}@)?[a-z]{1,9}\.example/[a-z]{0,9}", fullmatch=True)
indexes = st.fixed_dictionaries(
    {},
    optional={
        "url": st.none() | urls,
        "extra_urls": st.lists(urls),
        "no_index": st.booleans(),
        "no_binary": st.lists(st.just(":all:") | requirements.filter(str.isalnum)),
    },
)
sizes = st.from_regex(r"[1-9][0-9]{0,3}[kmgKMG]", fullmatch=True)
flags = st.sampled_from(
    [
        ["--user", 1000],
        ["-u", "me:100"],
        ["--network=host"],
        ["--ulimit", "nofile=1:2"],
        ["--dns=::1"],
    ]
)
origins = st.sampled_from(
    [
        ("base_image", "registry.example.org:5000/team/train:1.4"),
        ("base_dockerfile", "# é\nFROM python:3.12\nRUN echo '{{ not ours }}'\n"),
        ("build_context", {"snapshot_id": "0123456789abcdef" * 4}),
        (
            "build_context",
            {"snapshot_id": "f" * 64, "dockerfile_path": "a/é", "location": "/srv/images"},
        ),
    ]
)
coordinates = st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,5})?:[a-z_]{1,9}:[0-9.]{1,5}", fullmatch=True)
spark_properties = st.dictionaries(
    st.from_regex(r"spark\.[a-z]{1,9}\.(size|url)", fullmatch=True), words
)
environments = st.builds(
    Environment,
    name=names,
    version=st.none() | st.integers(0).map(str),
    environment_variables=variables,
    python=st.fixed_dictionaries(
        {},
        optional={
            "user_managed_dependencies": st.booleans(),
            "interpreter_path": keys,
            "version": st.sampled_from([None, "3.8", "3.10", "3.13.1"]),
            "packages": st.lists(requirements),
            "constraints": st.lists(requirements),
            "index": indexes,
            "conda_packages": st.lists(requirements),
        },
    ),
    docker=st.fixed_dictionaries(
        {},
        optional={
            "shm_size": sizes,
            "arguments": st.just([]) | flags,
        },
    )
    | st.builds(lambda origin: {origin[0]: origin[1]}, origins),
    spark=st.fixed_dictionaries(
        {},
        optional={
            "packages": st.lists(
                st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,5})?:[a-z_]{1,9}:[0-9.]{1,5}", fullmatch=True)
            ),
            "configuration": spark_properties,
        },
    ),
)
run_configurations = st.builds(
    RunConfiguration,
    target=keys,
    framework=st.sampled_from(["Python", "PySpark", "pyspark"]),
    environment=st.none() | names | environments,
    environment_variables=variables,
    resources=st.fixed_dictionaries(
        {},
        optional={
            "cpus": st.none() | st.floats(0.001, 512),
            "memory": st.none() | st.integers(6, 4000).map(lambda size: f"{size}m"),
            "gpus": st.integers(0, 16),
        },
    ),
    spark=st.fixed_dictionaries(
        {},
        optional={
            "executor_memory": st.none() | st.integers(1, 4000).map(lambda size: f"{size}m"),
            "executor_instances": st.none() | st.integers(1, 4000),
            "configuration": spark_properties,
        },
    ),
    max_run_duration_seconds=st.none() | st.integers(1, 2**31 - 1),
    exit_code_policy=st.dictionaries(
        st.integers(1, 255), st.sampled_from(["retry", "fail", "skip", "preempted"])
    ),
    max_preemptions=st.integers(0, 10_000),
    lease_seconds=st.none() | st.integers(120, 2**31 - 1),
    prepare_timeout_seconds=st.none() | st.integers(1, 2**31 - 1),
)
script_runs = st.builds(
    ScriptRunConfig,
    source_directory=keys,
    script=st.just("train.py"),
    arguments=arguments,
    run_config=run_configurations,
    tags=st.dictionaries(words, words | st.integers() | st.floats()),
)
command_runs = st.builds(
    ScriptRunConfig,
    source_directory=keys,
    command=keys | st.lists(keys, min_size=1),
    run_config=run_configurations,
)


@patiently
@given(config=script_runs | command_runs)
def test_every_config_survives_json(config: ScriptRunConfig) -> None:
    stored = json.loads(json.dumps(config.model_dump(mode="json"), allow_nan=False))

    assert ScriptRunConfig.model_validate(stored) == config
    assert ScriptRunConfig.model_validate_json(config.model_dump_json()) == config


@patiently
@given(config=script_runs)
def test_every_command_line_is_the_same_before_and_after_storage(config: ScriptRunConfig) -> None:
    restored = ScriptRunConfig.model_validate(config.model_dump(mode="json"))

    assert restored.argv("python") == config.argv("python")
