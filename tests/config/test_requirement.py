"""A package that a user asks for."""

from __future__ import annotations

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.requirement import RequirementLine
from airflow_mltrain.errors import ConfigurationError

DIGEST = "0123456789abcdef" * 4
OTHER_DIGEST = "f" * 64


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("numpy", "numpy"),
        (" NumPy >= 1 , <2 ", "numpy<2,>=1"),
        ("a_b.C[Y,x]==1.0", "a-b-c[x,y]==1.0"),
        ("numpy==1.0;python_version<'3.9'", 'numpy==1.0 ; python_version < "3.9"'),
        ("a @ https://example.org/a.zip", "a @ https://example.org/a.zip"),
        ("a@https://example.org/a.zip", "a @ https://example.org/a.zip"),
        ("a @ git+https://example.org/a@v1", "a @ git+https://example.org/a@v1"),
        ("a @ git+ssh://git@example.org/a", "a @ git+ssh://git@example.org/a"),
        (f"a==1\t--hash  sha256:{DIGEST.upper()}", f"a==1 --hash=sha256:{DIGEST}"),
        (
            f"a==1 --hash=sha256:{OTHER_DIGEST} --hash=sha256:{DIGEST}",
            f"a==1 --hash=sha256:{DIGEST} --hash=sha256:{OTHER_DIGEST}",
        ),
        (
            f"a @ mltrain-wheel:{DIGEST}/a-1.0-py3-none-any.whl",
            f"a @ mltrain-wheel:{DIGEST}/a-1.0-py3-none-any.whl",
        ),
    ],
)
def test_a_package_has_one_canonical_spelling(written: str, canonical: str) -> None:
    assert str(RequirementLine.parse(written)) == canonical
    assert str(RequirementLine.parse(canonical)) == canonical


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("numpy 1.2", "it should be a package as pip takes it"),
        ("numpy>=", "it should be a package as pip takes it"),
        ("numpy=1.26", "two equal signs: numpy==1.26"),
        ("-e .", "Environment.add_private_pip_wheel"),
        ("--editable=.", "Environment.add_private_pip_wheel"),
        (".", "Environment.add_private_pip_wheel"),
        ("./folder", "Environment.add_private_pip_wheel"),
        ("folder/mine", "Environment.add_private_pip_wheel"),
        ("C:\\mine", "Environment.add_private_pip_wheel"),
        ("mine-1.0-py3-none-any.whl", "Environment.add_private_pip_wheel"),
        ("a @ file:///mine.whl", "Environment.add_private_pip_wheel"),
        ("a @ ../mine", "Environment.add_private_pip_wheel"),
        ("-rrequirements.txt", "Environment.from_pip_requirements"),
        ("-c constraints.txt", "python.constraints"),
        ("--index-url https://example.org/", "python.index"),
        ("https://example.org/a.whl", "the package's name before its URL"),
        ("git+https://example.org/a", "the package's name before its URL"),
        ("a @ hg+https://example.org/a", "git+https://"),
        ("a @ git+file:///a", "git+https://"),
        ("a @ ftp://example.org/a.whl", "beginning with https://"),
        ("a @ mltrain-wheel:1/a.whl", "what Environment.add_private_pip_wheel returned"),
        (f"b @ mltrain-wheel:{DIGEST}/a-1.0-py3-none-any.whl", "the name of its wheel"),
        (f"a @ mltrain-wheel:{DIGEST}/a.whl", "the name of its wheel"),
        ("numpy # fast", "no comment"),
        ("numpy --pre", "--pre was found"),
        ("numpy --hash", "--hash was found"),
        ("numpy --hash=md5:00", "sha256, sha384 or sha512"),
        ("numpy --hash=sha256:00", "all its digits"),
        ("numpy\n--index-url https://example.org/", "without control characters"),
        ("a @ https://example.org/a\u2028--pre", "without control characters"),
        (" ", "it should not be empty"),
    ],
)
def test_what_is_no_package_is_refused_with_the_remedy(line: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Environment("e", python={"packages": ["numpy", line]})

    assert str(refusal.value).startswith("Environment.python.packages[1]: ")
    assert remedy in str(refusal.value)


def test_a_template_is_taken_as_it_is_until_it_was_rendered() -> None:
    packages = ["numpy=={{ params.numpy }}", "{% if params.fast %}numba{% endif %}"]

    assert Environment("e", python={"packages": packages}).python.packages == packages


def test_packages_stay_as_they_were_written() -> None:
    packages = ["NumPy>= 1", "pandas"]

    assert Environment("e", python={"packages": packages}).python.packages == packages


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("numpy==1", "has no --hash"),
        (f"numpy --hash=sha256:{DIGEST}", "no exact version"),
        (f"numpy>=1 --hash=sha256:{DIGEST}", "no exact version"),
        (f"numpy==1.* --hash=sha256:{DIGEST}", "no exact version"),
        ("a @ git+https://example.org/a", "has no --hash"),
        ("a @ https://example.org/a.zip", "has no --hash"),
    ],
)
def test_one_hash_asks_for_hashes_and_exact_versions_everywhere(line: str, fault: str) -> None:
    packages = [f"scipy==1 --hash=sha256:{DIGEST}", line]

    with pytest.raises(ConfigurationError, match=rf"python\.packages: .* {fault}"):
        Environment("e", python={"packages": packages})


@pytest.mark.parametrize(
    "line",
    [
        f"a @ mltrain-wheel:{DIGEST}/a-1.0-py3-none-any.whl",
        f"a @ https://example.org/a.zip#sha256={DIGEST}",
        f"a @ https://example.org/a.zip#subdirectory=b&sha256={DIGEST}",
    ],
)
def test_a_url_that_says_its_hash_needs_no_other(line: str) -> None:
    packages = [f"scipy==1 --hash=sha256:{DIGEST}", line]

    assert Environment("e", python={"packages": packages}).python.packages == packages
    assert RequirementLine.parse(line).with_hashes().hashes == (f"sha256:{DIGEST}",)


@pytest.mark.parametrize(
    ("constraint", "remedy"),
    [
        (f"numpy==1 --hash=sha256:{DIGEST}", "it should have no --hash"),
        ("numpy[fast]==1", "it should have no extras"),
        ("-r more.txt", "from_pip_requirements"),
    ],
)
def test_what_cannot_limit_a_version_is_refused_as_a_constraint(
    constraint: str, remedy: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Environment("e", python={"constraints": [constraint]})

    assert str(refusal.value).startswith("Environment.python.constraints[0]: ")
    assert remedy in str(refusal.value)
