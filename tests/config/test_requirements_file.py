"""A requirements file, read as pip reads it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.requirements_file import RequirementsFile, read_requirements_file
from airflow_mltrain.errors import ConfigurationError

DIGEST = "0123456789abcdef" * 4


def read(folder: Path, text: str) -> RequirementsFile:
    (folder / "requirements.txt").write_text(text)
    return read_requirements_file(folder / "requirements.txt")


def refuse(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        read(folder, text)
    return str(refusal.value).replace(f"{folder}/", "")


def test_comments_blank_lines_and_continued_lines_are_understood(tmp_path: Path) -> None:
    text = (
        "# what train.py needs\n\n"
        "numpy >=1 # fast\n"
        "scikit-\\\nlearn\\\n  ==1.7.2\n"
        "   \n"
        "a @ https://example.org/a.zip#subdirectory=b\n"
        "scipy\\\n# the end of it\n"
        "pandas"
    )

    assert read(tmp_path, text).packages == [
        "numpy >=1",
        "scikit-learn  ==1.7.2",
        "a @ https://example.org/a.zip#subdirectory=b",
        "scipy",
        "pandas",
    ]


def test_a_file_from_windows_is_understood(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes("\ufeffnumpy\r\nscipy # größer\r\n".encode())

    found = read_requirements_file(tmp_path / "requirements.txt")

    assert found.packages == ["numpy", "scipy"]


def test_hashes_over_several_lines_are_kept_with_their_package(tmp_path: Path) -> None:
    text = f"numpy==2.2.6 \\\n    --hash=sha256:{DIGEST} \\\n    --hash=sha256:{'f' * 64}\n"

    [package] = read(tmp_path, text).packages

    assert package.split() == [
        "numpy==2.2.6",
        f"--hash=sha256:{DIGEST}",
        f"--hash=sha256:{'f' * 64}",
    ]


def test_files_may_include_others_beside_them(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("numpy\n-r deeper.txt\n-cversions.txt\n")
    (tmp_path / "more" / "deeper.txt").write_text("scipy\n")
    (tmp_path / "more" / "versions.txt").write_text("joblib<2\n--constraint=older.txt\n")
    (tmp_path / "more" / "older.txt").write_text("six==1.17.0\n")

    found = read(tmp_path, "pandas\n--requirement more/base.txt\n")

    assert found.packages == ["pandas", "numpy", "scipy"]
    assert found.constraints == ["joblib<2", "six==1.17.0"]


def test_one_file_may_be_included_twice(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("numpy\n")

    assert read(tmp_path, "-r base.txt\n-r base.txt\n").packages == ["numpy", "numpy"]


def test_a_file_that_includes_itself_is_refused_with_the_chain(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("\n-r requirements.txt\n")

    assert refuse(tmp_path, "-r base.txt\n") == (
        "base.txt:2: requirements.txt includes base.txt includes requirements.txt; "
        "take one of these lines out"
    )


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("-i https://a.example/index/", {"url": "https://a.example/index/"}),
        ("--index-url=https://a.example/\n-ihttps://b.example/", {"url": "https://b.example/"}),
        (
            "--extra-index-url https://a.example/ --extra-index-url https://b.example/",
            {"extra_urls": ["https://a.example/", "https://b.example/"]},
        ),
        (
            "--no-index --find-links https://a.example/wheels",
            {"no_index": True, "find_links": ["https://a.example/wheels"]},
        ),
        ("--pre\n--prefer-binary", {"pre": True}),
        ("--trusted-host a.example:8080", {"trusted_hosts": ["a.example:8080"]}),
        ("--no-binary Some_Package,b", {"no_binary": ["some-package", "b"]}),
        ("--no-binary a --no-binary :all:", {"no_binary": [":all:"]}),
        ("--no-binary a --no-binary :none: --no-binary b", {"no_binary": ["b"]}),
        ("--no-binary=a,b\n--only-binary=a", {"no_binary": ["b"], "only_binary": ["a"]}),
        ("--only-binary a\n--no-binary :all:", {"only_binary": [], "no_binary": [":all:"]}),
    ],
)
def test_options_of_the_package_index_count_as_in_pip(
    tmp_path: Path, text: str, index: dict[str, object]
) -> None:
    assert read(tmp_path, f"{text}\nnumpy\n") == RequirementsFile(["numpy"], [], index)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("numpy\n\n-e .", "requirements.txt:3: an editable install is a folder of this machine"),
        ("--editable=git+https://example.org/a#egg=a", "requirements.txt:1: an editable install"),
        ("# a\n./wheels/mine.whl", "requirements.txt:2: './wheels/mine.whl' was given; it should"),
        ("numpy 1.0", "requirements.txt:1: 'numpy 1.0' was given; it should be a package"),
        ("a\\\nb c\nd", "requirements.txt:1: 'ab c' was given"),
        ("-r missing.txt", "requirements.txt:1: missing.txt cannot be read: No such file"),
        ("-r .", "cannot be read: Is a directory"),
        ("-r https://example.org/r.txt", "requirements.txt:1: --requirement should be a file"),
        ("-r", "requirements.txt:1: --requirement should be followed by its value"),
        ("-f wheels", "requirements.txt:1: 'wheels' is a folder of this machine; give --find"),
        ("-i example.org", "requirements.txt:1: 'example.org' was given; it should be a URL"),
        (
            "--trusted-host https://a/",
            "requirements.txt:1: 'https://a/' was given; it should be a",
        ),
        ("--no-binary a/b", "requirements.txt:1: 'a/b' was given; it should be a package's name"),
        ("--use-feature=x", "requirements.txt:1: option --use-feature is not taken here"),
        ("--pre=yes", "requirements.txt:1: option --pre is not taken here"),
        ("-x", "requirements.txt:1: option -x is not taken here"),
        ("--pre numpy", "requirements.txt:1: 'numpy' follows an option"),
        ("numpy=={{ ds }}", "requirements.txt:1: nothing renders a Jinja template in a file"),
        ("-i https://{{ host }}/", "requirements.txt:1: nothing renders a Jinja template"),
        ("-r a\0b", "requirements.txt:1: "),
        ("--index-url 'https://a", "requirements.txt:1: its quotes should match"),
        ("numpy --config-settings=a=b", "requirements.txt:1: 'numpy --config-settings=a=b' was"),
        ("numpy==${VERSION}", "requirements.txt:1: 'numpy==${VERSION}' was given"),
    ],
)
def test_what_cannot_be_had_is_refused_with_file_and_line(
    tmp_path: Path, text: str, fault: str
) -> None:
    assert fault in refuse(tmp_path, text)


def test_a_fault_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("numpy\nscipy[fast]\n")

    assert refuse(tmp_path, "-c base.txt").startswith("base.txt:2: 'scipy[fast]' was given; it")


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes("numpy # größer".encode("latin-1"))

    with pytest.raises(ConfigurationError, match=r"requirements\.txt: byte 10 is not UTF-8"):
        read_requirements_file(tmp_path / "requirements.txt")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"a==1 --hash=sha256:{DIGEST}\n\nb==1\n", "requirements.txt:3: 'b==1' has no --hash"),
        (
            f"a==1 --hash=sha256:{DIGEST}\nb --hash=sha256:{DIGEST}",
            "requirements.txt:2: 'b' has a",
        ),
        ("--require-hashes\nb==1", "requirements.txt:2: 'b==1' has no --hash"),
    ],
)
def test_where_one_package_has_a_hash_the_line_of_one_without_is_named(
    tmp_path: Path, text: str, fault: str
) -> None:
    assert refuse(tmp_path, text).startswith(fault)


def test_no_message_shows_a_password(tmp_path: Path) -> None:
    text = "--index-url https://me:hunter/2@example.org/\n"

    assert "****@example.org" in refuse(tmp_path, text)
    assert "hunter" not in refuse(tmp_path, text)


def test_an_environment_is_made_of_a_requirements_file(tmp_path: Path) -> None:
    (tmp_path / "versions.txt").write_text("scipy<2\n")
    path = tmp_path / "requirements.txt"
    path.write_text("-c versions.txt\n-i https://me:hunter2@example.org/\nnumpy\n")

    environment = Environment.from_pip_requirements("mine", path)

    assert environment == Environment(
        "mine",
        python={
            "packages": ["numpy"],
            "constraints": ["scipy<2"],
            "index": {"url": "https://me:hunter2@example.org/"},
        },
    )


def test_the_version_of_pip_is_accepted_and_said_not_to_count(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("numpy\n")

    with pytest.warns(UserWarning, match=r"pip_version='20\.0' counts for nothing"):
        environment = Environment.from_pip_requirements("mine", str(path), "20.0")

    assert environment.python.packages == ["numpy"]


names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?", fullmatch=True).filter(
    lambda name: not name.endswith((".zip", ".whl", ".tgz"))
)
extras = st.sampled_from(["", "[x]", "[x,y-z]"])
versions = st.sampled_from(["", "==1.0", ">=1,<2", "~=1.4", "!=1.5,>1", "===1.0", "==1.*"])
markers = st.sampled_from(["", " ; python_version >= '3.8'", ' ; sys_platform == "linux"'])
packages = st.builds("{}{}{}{}".format, names, extras, versions, markers) | st.builds(
    "{} @ https://example.org/{}.zip{}".format, names, names, markers
)
hashed = st.builds("{}==1.{} --hash=sha256:{}".format, names, st.integers(0, 9), st.just(DIGEST))
noise = st.sampled_from(["\n", "# a comment\n", "  # -r x \\\n", "\t\n", "--prefer-binary\n"])
endings = st.sampled_from(["\n", " # why\n", "\r\n", "  \n", " \\\n\n", "\t#\n"])


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[str], str]:
    """Packages, and the text of a file that asks for them in some layout."""
    lines = draw(st.lists(packages) | st.lists(hashed))
    text = draw(st.sampled_from(["", "\ufeff"]))
    for line in lines:
        text += "".join(draw(st.lists(noise, max_size=2)))
        first, *rest = line.split(" ")
        text += first + "".join(draw(st.sampled_from([" ", " \\\n", "\\\n "])) + w for w in rest)
        text += draw(endings)
    return lines, text


@settings(deadline=None)
@given(layout=layouts())
def test_packages_are_the_same_in_every_layout(layout: tuple[list[str], str]) -> None:
    lines, text = layout
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "requirements.txt")
        path.write_bytes(text.encode())

        found = read_requirements_file(path)

    assert [" ".join(package.split()) for package in found.packages] == lines


def test_constraints_of_a_lock_count_without_their_hashes(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text(
        f"numpy==2.2.6 \\\n    --hash=sha256:{DIGEST} \\\n    --hash=sha256:{'f' * 64}\n"
        "six==1.17.0\n"
    )

    found = read(tmp_path, "numpy\n-c lock.txt\n")

    assert [line.strip() for line in found.constraints] == ["numpy==2.2.6", "six==1.17.0"]
    assert Environment("e", python={"constraints": found.constraints}).python.packages == []


def test_a_wrong_hash_in_a_file_of_constraints_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text("numpy==2.2.6 --hash=md5:0\n")

    assert "lock.txt:1: " in refuse(tmp_path, "-c lock.txt\n")


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://me:my hunter2@a.example/",
        "--index-urlhttps://me:hunter2@a.example/",
        "--find-links me:hunter2@a.example/",
        "numpy --hash=sha256:0 https://me:hunter2@a.example/ b",
        "numpy --index-urlhttps://me:hunter2@a.example/",
    ],
)
def test_a_password_in_a_line_that_is_not_understood_is_not_shown(
    tmp_path: Path, line: str
) -> None:
    assert "hunter2" not in refuse(tmp_path, line)


@pytest.mark.parametrize("path", ["a\0b", "a\ud800b", 5, None])
def test_what_is_no_path_is_refused(path: object) -> None:
    with pytest.raises(ConfigurationError, match="it should be the path of a file"):
        Environment.from_pip_requirements("e", path)  # type: ignore[arg-type] # the slip that is meant
