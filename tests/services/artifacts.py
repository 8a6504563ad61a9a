"""The artifacts of a workspace whose store is a folder, for who looks into that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mltrain.artifacts.folder_store import FolderStore

if TYPE_CHECKING:
    from airflow_mltrain.workspace import Workspace


def folder_store(workspace: Workspace) -> FolderStore:
    """The store as the folder that it is."""
    assert isinstance(workspace.artifacts, FolderStore)
    return workspace.artifacts
