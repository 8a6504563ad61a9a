"""A package that is asked for, as pip and PEP 508 write it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from airflow_mltrain.config.fault import describe
from airflow_mltrain.config.package_url import check_url
from airflow_mltrain.config.text import is_template

WHEEL_SCHEME: Final = "mltrain-wheel"

_HASH = re.compile(r"(?P<algorithm>sha256|sha384|sha512):(?P<digest>[0-9a-fA-F]+)")
_HASH_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
_WHEEL_URL = re.compile(rf"{WHEEL_SCHEME}:(?P<digest>[0-9a-f]{{64}})/(?P<filename>[^/]+\.whl)")
_HASH_IN_URL = re.compile(r"#(?:.*&)?sha256=([0-9a-f]{64})(?:&|$)")
_PATH = re.compile(
    r"[.~/\\]|file:|[A-Za-z]:[/\\]|[^\s@;]*(/|\\|\.(whl|zip|tar\.gz|tgz|tar\.bz2)$)"
)
_CONDA_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*=\s*([0-9][^=\s]*)")
_USE_A_WHEEL = (
    "no other machine has a path of this one: build a wheel, and use what "
    "Environment.add_private_pip_wheel returns for it"
)
_OPTION_REMEDIES = {
    "-e": f"an editable install is a folder of this machine; {_USE_A_WHEEL}",
    "--editable": f"an editable install is a folder of this machine; {_USE_A_WHEEL}",
    "-r": "read a requirements file with Environment.from_pip_requirements",
    "--requirement": "read a requirements file with Environment.from_pip_requirements",
    "-c": "list the constraints in python.constraints",
    "--constraint": "list the constraints in python.constraints",
}


@dataclass(frozen=True)
class RequirementLine:
    """One package: `text` in its canonical spelling, and the hashes its files may have.

    `str()` of it is a line of a requirements file, the same for every way to write it.
    """

    name: str
    text: str
    url: str | None
    hashes: tuple[str, ...]
    has_exact_version: bool

    @classmethod
    def parse(cls, line: str) -> RequirementLine:
        """Read `name[extra]==1.0 ; marker --hash=sha256:...` or `name @ URL`.

        Raises ValueError for anything else, with the remedy.
        """
        line = line.replace("\t", " ").strip()
        if not line.isprintable():
            raise ValueError("it should be one line, without control characters")
        if line.startswith("-"):
            raise ValueError(_describe_option(line))
        text, *options = re.split(r"\s(?=--)", line, maxsplit=1)
        hashes = _read_hashes("".join(options))
        requirement = _parse(text.strip())
        name = canonicalize_name(requirement.name)
        if requirement.url is not None:
            _check_package_url(name, requirement.url)
        return cls(name, _write(requirement), requirement.url, hashes, _is_exact(requirement))

    def __str__(self) -> str:
        return " ".join([self.text, *(f"--hash={digest}" for digest in self.hashes)])

    @property
    def wheel_digest(self) -> str | None:
        """The sha256 of the private wheel this refers to, if it does."""
        match = _WHEEL_URL.fullmatch(self.url or "")
        return match["digest"] if match else None

    def with_hashes(self) -> RequirementLine:
        """The same with the hash that its URL states, where no hash was given."""
        match = _HASH_IN_URL.search(self.url or "")
        digest = self.wheel_digest or (match and match[1])
        if self.hashes or not digest:
            return self
        return RequirementLine(
            self.name, self.text, self.url, (f"sha256:{digest}",), self.has_exact_version
        )


def check_requirement(line: str) -> str:
    """Give `line` back; raises ValueError unless it asks for a package. Templates pass."""
    if not is_template(line):
        RequirementLine.parse(line)
    return line.strip()


def check_constraint(line: str) -> str:
    """Give `line` back; raises ValueError unless it can limit a package's version."""
    if is_template(line):
        return line.strip()
    if RequirementLine.parse(line).hashes:
        raise ValueError("it should have no --hash; give hashes to the packages themselves")
    if Requirement(line).extras:
        raise ValueError("it should have no extras; ask for extras among the packages")
    return line.strip()


def check_hashes(lines: list[str]) -> list[str]:
    """Give `lines` back; raises ValueError where only some have hashes. Templates are passed over.

    As in pip, one hash asks for a hash and an exact version everywhere.
    """
    parsed = [RequirementLine.parse(line) for line in lines if not is_template(line)]
    if any(line.hashes for line in parsed):
        for line in parsed:
            if fault := describe_missing_hash(line):
                raise ValueError(f"{describe(line.text)} {fault}")
    return lines


def describe_missing_hash(line: RequirementLine) -> str | None:
    """Why pip would not take this line where every package has to have a hash; None if it does."""
    if not line.with_hashes().hashes:
        return "has no --hash; once one package has a hash, every one needs it"
    if not line.has_exact_version:
        return "has a --hash and no exact version; pin it with =="
    return None


def _describe_option(line: str) -> str:
    option = re.split(r"[\s=:]", line, maxsplit=1)[0]
    short = option[:2] if not option.startswith("--") else option
    remedy = _OPTION_REMEDIES.get(short, "settings of the package index belong into python.index")
    return f"it should be a package, and {short} is an option: {remedy}"


def _read_hashes(options: str) -> tuple[str, ...]:
    words = shlex.split(options.replace("--hash=", "--hash "))
    if len(words) % 2 or any(word != "--hash" for word in words[::2]):
        odd = next((word for word in words[::2] if word != "--hash"), "--hash")
        odd = re.split(r"[=:]", odd)[0] if odd.startswith("-") else "another word"
        raise ValueError(f"it should have no option but --hash=sha256:..., and {odd} was found")
    return tuple(sorted({_read_hash(word) for word in words[1::2]}))


def _read_hash(text: str) -> str:
    match = _HASH.fullmatch(text)
    if match is None or len(match["digest"]) != _HASH_DIGITS[match["algorithm"]]:
        raise ValueError("its --hash should be sha256, sha384 or sha512, ':', and all its digits")
    return text.lower()


def _parse(text: str) -> Requirement:
    if re.match(r"(git\+)?[a-z]+(\+[a-z]+)?://", text) and not text.startswith("file:"):
        raise ValueError("it should have the package's name before its URL, as in 'name @ URL'")
    if _PATH.match(text):
        raise ValueError(f"it should be a package's name, not a path; {_USE_A_WHEEL}")
    if re.search(r"(^|\s)#", text):
        raise ValueError("it should have no comment")
    if conda_pin := _CONDA_PIN.fullmatch(text):
        raise ValueError(f"it should have two equal signs: {conda_pin[1]}=={conda_pin[2]}")
    try:
        return Requirement(text)
    except RecursionError:
        raise ValueError("its marker should not be nested too deeply to be read") from None
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0].split(": ", maxsplit=1)[0]
        raise ValueError(
            f"it should be a package as pip takes it, such as 'scikit-learn>=1.5' ({reason})"
        ) from None


def _write(requirement: Requirement) -> str:
    extras = sorted({canonicalize_name(extra) for extra in requirement.extras})
    text = canonicalize_name(requirement.name) + (f"[{','.join(extras)}]" if extras else "")
    text += f" @ {requirement.url}" if requirement.url else str(requirement.specifier)
    return f"{text} ; {requirement.marker}" if requirement.marker else text


def _is_exact(requirement: Requirement) -> bool:
    return requirement.url is not None or any(
        specifier.operator in ("==", "===") and not specifier.version.endswith(".*")
        for specifier in requirement.specifier
    )


def _check_package_url(name: str, url: str) -> None:
    if url.startswith(f"{WHEEL_SCHEME}:"):
        _check_wheel_url(name, url)
    elif url.startswith(("git+https://", "git+http://")):
        _check_git_url(url)
    elif url.startswith("git+ssh://"):
        if ":" in url.removeprefix("git+ssh://").rpartition("@")[0].split("/")[0]:
            raise ValueError("it should have no password; git uses the target's own ssh keys")
    elif url.startswith("git+") or re.match(r"(hg|svn|bzr)\+", url):
        raise ValueError("it should be a git repository by https or ssh: git+https://...")
    elif url.startswith("file:") or "://" not in url:
        raise ValueError(f"it should be a URL, not a path; {_USE_A_WHEEL}")
    else:
        check_url(url)


def _check_git_url(url: str) -> None:
    if "@" in url.split("://", maxsplit=1)[1].split("/", maxsplit=1)[0]:
        raise ValueError(
            "it should have no credentials; give git its own on the compute target, "
            "by its credential helper or with git+ssh"
        )
    if "${" in url:
        raise ValueError("it should have no '${NAME}'")


def _check_wheel_url(name: str, url: str) -> None:
    match = _WHEEL_URL.fullmatch(url)
    if match is None:
        raise ValueError("it should be what Environment.add_private_pip_wheel returned")
    try:
        wheel_name = parse_wheel_filename(match["filename"])[0]
    except InvalidWheelFilename:
        wheel_name = None
    if wheel_name != name:
        raise ValueError(f"it should have the name of its wheel, {match['filename']}")
