"""Which addresses are one place: what came from there is not delivered back."""

from __future__ import annotations

from pathlib import Path

import pytest

from trk import addresses


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://localhost:5000", "http://127.0.0.1:5000/", True),
        ("http://[::1]:5000", "HTTP://me:secret@LocalHost:5000", True),
        ("https://mlflow.example/x/", "https://mlflow.example:443/x", True),
        ("https://mlflow.example/x", "https://mlflow.example/y", False),
        ("http://mlflow.example", "http://mlflow.example:5000", False),
        ("http://mlflow.example", "https://mlflow.example", False),
        ("postgresql+psycopg2://me@db/mlflow", "postgresql://you:x@db:5432/mlflow", True),
        ("postgresql://db/mlflow", "postgresql://db/other", False),
        ("sqlite:////{0}/real/m.db", "sqlite:////{0}/link/../link/m.db", True),
        ("sqlite:////{0}/real/m.db", "sqlite:////{0}/real/n.db", False),
        ("file://{0}/real", "{0}/link", True),
        ("http://[::1", "http://[::2", False),
        ("databricks", "databricks", True),
    ],
)
def test_addresses_of_one_place(tmp_path: Path, one: str, other: str, same: bool) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert addresses.is_same(one.format(tmp_path), other.format(tmp_path)) is same
