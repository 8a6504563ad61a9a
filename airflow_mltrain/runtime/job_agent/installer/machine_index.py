"""Where this machine looks for packages: pip's configuration, which uv does not read itself."""

import configparser
import os
import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import unquote, urlsplit

from .requirement_file import place_lines

_SETTINGS = ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert")
_TRUE = frozenset(("1", "true", "t", "yes", "y", "on"))
_UV_URL = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_UV_EXTRA_URLS = ("UV_INDEX", "UV_EXTRA_INDEX_URL")
_UV_INDEX_SETTING = re.compile(
    r"^\s*(\[\[index\]\]|(extra-)?index-url\s*=|index\s*=|find-links\s*=|no-index\s*=)",
    re.MULTILINE,
)


class MachineIndex(NamedTuple):
    """What pip would use on this machine if nobody said anything; URLs may hold credentials."""

    url: Optional[str]
    extra_urls: List[str]
    find_links: List[str]
    no_index: bool
    trusted_hosts: List[str]
    cert: Optional[str]


def read_machine_index(environment: Mapping[str, str]) -> MachineIndex:
    """Read pip's files and variables in pip's own order; what cannot be read is left out."""
    found: Dict[str, str] = {}
    sections: Dict[str, Dict[str, str]] = {"global": {}, "install": {}}
    for path in _pip_files(environment):
        for section, settings in sections.items():
            settings.update(_read_section(path, section))
    for settings in sections.values():
        found.update(settings)
    for setting in _SETTINGS:
        value = environment.get("PIP_" + setting.upper().replace("-", "_"))
        if value:
            found[setting] = value
    return MachineIndex(
        url=found.get("index-url"),
        extra_urls=found.get("extra-index-url", "").split(),
        find_links=found.get("find-links", "").split(),
        no_index=found.get("no-index", "").lower() in _TRUE,
        trusted_hosts=found.get("trusted-host", "").split(),
        cert=found.get("cert"),
    )


def places_for_uv(
    index: Mapping[str, Any], environment: Mapping[str, str]
) -> Tuple[List[str], Dict[str, str]]:
    """Where uv has to look, as lines of a requirements file, and its whole environment.

    The recipe's `index` counts as it does for pip: its URL replaces the machine's indexes, and
    the rest is added to them. Uv's own settings count before the machine's pip configuration.
    """
    machine = _less_what_uv_knows(read_machine_index(environment), environment)
    kept = dict(environment)
    url, extra_urls, no_index = machine.url, machine.extra_urls, machine.no_index
    if index["url"] or index["no_index"]:
        url, extra_urls, no_index = index["url"], [], index["no_index"]
        for name in (*_UV_URL, *_UV_EXTRA_URLS):
            kept.pop(name, None)
    if no_index:
        extra_urls = []
    else:
        extra_urls = [*extra_urls, *index["extra_urls"]]
        if url:
            kept["UV_DEFAULT_INDEX"] = url
    find_links = [place for place in machine.find_links if _is_there(place)]
    lines = place_lines(extra_urls, [*find_links, *index["find_links"]], no_index=no_index)
    hosts = [*machine.trusted_hosts, *index["trusted_hosts"]]
    if hosts:
        kept["UV_INSECURE_HOST"] = " ".join([kept.get("UV_INSECURE_HOST", ""), *hosts]).strip()
    if machine.cert and os.path.exists(machine.cert):
        kept.setdefault("SSL_CERT_FILE", machine.cert)
    return lines, kept


def _pip_files(environment: Mapping[str, str]) -> Iterator[str]:
    """Later files count before earlier ones."""
    chosen = environment.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return
    folders = environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    for folder in folders.split(os.pathsep):
        yield os.path.join(folder, "pip", "pip.conf")
    yield "/etc/pip.conf"
    if chosen and os.path.exists(chosen):
        yield chosen
        return
    yield os.path.join(os.path.expanduser("~"), ".pip", "pip.conf")
    yield os.path.join(_config_home(environment), "pip", "pip.conf")


def _read_section(path: str, section: str) -> Dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            parser.read_file(file)
        settings = parser.items(section)
    except (OSError, configparser.Error):
        return {}
    named = {name.lower().replace("_", "-"): value for name, value in settings}
    return {name: value for name, value in named.items() if name in _SETTINGS and value}


def _less_what_uv_knows(machine: MachineIndex, environment: Mapping[str, str]) -> MachineIndex:
    if _has_uv_index(environment):
        return machine._replace(url=None, extra_urls=[], find_links=[], no_index=False)
    if any(environment.get(name) for name in _UV_URL):
        machine = machine._replace(url=None, no_index=False)
    if any(environment.get(name) for name in _UV_EXTRA_URLS):
        machine = machine._replace(extra_urls=[], no_index=False)
    if environment.get("UV_FIND_LINKS"):
        machine = machine._replace(find_links=[])
    return machine


def _has_uv_index(environment: Mapping[str, str]) -> bool:
    """Whether a uv.toml of this machine or its user says where packages are."""
    if environment.get("UV_NO_CONFIG"):
        return False
    chosen = environment.get("UV_CONFIG_FILE")
    paths = [os.path.join(_config_home(environment), "uv", "uv.toml"), "/etc/uv/uv.toml"]
    for path in [chosen] if chosen else paths:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        if _UV_INDEX_SETTING.search(text):
            return True
    return False


def _config_home(environment: Mapping[str, str]) -> str:
    default = os.path.join(os.path.expanduser("~"), ".config")
    return environment.get("XDG_CONFIG_HOME") or default


def _is_there(place: str) -> bool:
    """False for a folder that is gone: pip passes over it, and uv would stop."""
    address = urlsplit(place)
    if address.scheme not in ("", "file"):
        return True
    return os.path.exists(unquote(address.path) if address.scheme else place)
