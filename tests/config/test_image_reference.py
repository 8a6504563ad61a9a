"""The name of an image, as `docker pull` takes it."""

from __future__ import annotations

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.errors import ConfigurationError

_DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "image",
    [
        *("python", "python:3.12-slim", "library/python", "a/b/c/d:V1.0_x"),
        *("mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1", "a__b.c-d---e"),
        *("localhost/train", "localhost:5000/train", "registry.example.org:5000/team/train:1.4"),
        *("[::1]:5000/train", "REGISTRY/train:Tag", f"python@{_DIGEST}", f"python:3@{_DIGEST}"),
        *("{{ params.image }}", "python:{{ params.version }}"),
    ],
)
def test_an_image_may_be_called(image: str) -> None:
    assert Environment("e", docker={"base_image": image}).docker.base_image == image


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        ("https://registry.example.org/train", "without https://"),
        ("python 3.12", "no spaces"),
        ("python:3.12\n", "no spaces"),
        ("team/Train:1", "its repository should be in lower case"),
        ("Python", "its repository should be in lower case"),
        ("python:", "its tag, behind the last ':'"),
        ("python:-1", "its tag, behind the last ':'"),
        (f"python:{'1' * 129}", "its tag, behind the last ':'"),
        ("python@sha256:12", "its digest, behind the '@'"),
        ("python@", "its digest, behind the '@'"),
        ("python@latest", "its digest, behind the '@'"),
        ("registry.example.org:port/train", "its registry should be a host"),
        ("-host.example/train", "its registry should be a host"),
        ("team//train", "with '.', '_', '-' and '/' between them"),
        ("/train", "with '.', '_', '-' and '/' between them"),
        ("train-", "with '.', '_', '-' and '/' between them"),
        ("a" * 256, "at most 255"),
        ("$IMAGE", "lower-case letters"),
    ],
)
def test_what_no_engine_takes_for_an_image_is_refused_in_words(image: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Environment("e", docker={"base_image": image})

    assert str(refusal.value).startswith("Environment.docker.base_image: ")
    assert fault in str(refusal.value)
