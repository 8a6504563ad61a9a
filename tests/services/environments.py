"""Environments for jobs, as a submission would ask a compute target for them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from airflow_mltrain.targets.base import EnvironmentRequest

if TYPE_CHECKING:
    from tests.services.package_index import PackageIndex


def environment_request(index: PackageIndex, *packages: str, **facts: Any) -> EnvironmentRequest:
    """An environment of these packages, which come from this index alone."""
    recipe = {
        "format": 1,
        "python": None,
        "packages": sorted(packages),
        "constraints": [],
        "index": {
            "url": index.url,
            "extra_urls": [],
            "find_links": [],
            "no_index": False,
            "pre": False,
            "no_binary": [],
            "only_binary": [],
            "trusted_hosts": [],
        },
        "conda": None,
    }
    canonical = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    recipe_id = hashlib.sha256(canonical.encode()).hexdigest()
    return EnvironmentRequest("tested", recipe, recipe_id, **facts)
