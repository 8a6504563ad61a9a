"""The manifest: one encoding for one content."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.errors import SnapshotError
from airflow_mltrain.snapshots.manifest import Entry, Manifest

_DIGEST = hashlib.sha256(b"").hexdigest()
_paths = st.binary(min_size=1, max_size=8).map(
    lambda name: name.decode("utf-8", "surrogateescape")
)
_modes = st.sampled_from(["644", "755", "0", "777"])
_files = st.tuples(_paths, _modes, st.integers(0, 2**50)).map(
    lambda drawn: Entry("file", drawn[0], drawn[1], _DIGEST, drawn[2])
)
_links = st.tuples(_paths, _paths).map(lambda drawn: Entry("link", drawn[0], target=drawn[1]))
_folders = st.tuples(_paths, _modes).map(lambda drawn: Entry("directory", *drawn))
_entries = _files | _links | _folders
_manifests = st.builds(
    Manifest, st.lists(_entries, unique_by=lambda entry: entry.path, max_size=6).map(tuple)
)
_SAMPLE = Manifest(
    (
        Entry("link", "latest", target="model/net.py"),
        Entry("directory", "model", "755"),
        Entry("file", "model/net.py", "644", _DIGEST, 0),
    )
)


@given(manifest=_manifests)
def test_every_manifest_is_read_back_as_it_was_written(manifest: Manifest) -> None:
    # when
    decoded = Manifest.decode(manifest.encode())
    # then
    assert set(decoded.entries) == set(manifest.entries)
    assert decoded.snapshot_id == manifest.snapshot_id


@given(manifest=_manifests)
def test_the_order_of_the_entries_does_not_change_the_id(manifest: Manifest) -> None:
    # when
    reversed_manifest = Manifest(manifest.entries[::-1])
    # then
    assert reversed_manifest.snapshot_id == manifest.snapshot_id


def test_the_encoding_is_the_one_that_stored_snapshots_have() -> None:
    # when
    encoded = _SAMPLE.encode()
    # then
    assert encoded.decode() == (
        '{"version":1}\n'
        '{"kind":"link","path":"latest","target":"model/net.py"}\n'
        '{"kind":"directory","mode":"755","path":"model"}\n'
        f'{{"kind":"file","mode":"644","path":"model/net.py","sha256":"{_DIGEST}","size":0}}\n'
    )
    assert _SAMPLE.snapshot_id == hashlib.sha256(encoded).hexdigest()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff garbage",
        b'{"version":1}\n' + b"[" * 100_000,
        b"[]",
        b'{"version":1}',
        b'{"version":1}\n[1]\n',
        b'{"version":1}\n{"kind":"file","path":"a"}\n',
        b'{"version":1}\n{"kind":"directory","mode":"999","path":"a"}\n',
        b'{"version":1}\n{"kind":"directory","mode":"755","path":5}\n',
        b'{"version":1}\n{"kind":"door","path":"a"}\n',
        b'{"version":1}\n{"kind":"link","path":"a", "target":"b"}\n',
        _SAMPLE.encode()[:-1],
        _SAMPLE.encode() + b"\n",
        _SAMPLE.encode().replace(b'"size":0', b'"size":0.0'),
        _SAMPLE.encode().replace(_DIGEST.encode(), b"../../etc/passwd"),
    ],
)
def test_what_no_manifest_says_is_refused(data: bytes) -> None:
    # when
    with pytest.raises(SnapshotError) as caught:
        Manifest.decode(data)
    # then
    assert "damaged" in str(caught.value)


def test_a_manifest_of_a_newer_release_is_refused_by_its_version() -> None:
    # when
    with pytest.raises(SnapshotError) as caught:
        Manifest.decode(b'{"version":2}\n')
    # then
    assert "version 2" in str(caught.value)
