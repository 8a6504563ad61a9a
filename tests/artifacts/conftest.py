from __future__ import annotations

from tests.services.object_store import object_store, object_store_server

__all__ = ["object_store", "object_store_server"]
