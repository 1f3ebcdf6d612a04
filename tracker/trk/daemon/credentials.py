"""What an environment holds to reach backends with: two processes prove that they have the same; nobody keeps it."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_OF_BACKENDS = ("MLFLOW_", "WANDB_", "AWS_", "AZURE_", "GOOGLE_", "DATABRICKS_", "S3_", "PG", "MYSQL_")
_WAYS = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE",
         "CURL_CA_BUNDLE", "NETRC")  # fmt: skip
# What a run's own settings hold, and what makes no difference to where data goes.
_HARMLESS = re.compile(
    r"MLFLOW_(TRACKING_URI|EXPERIMENT_.*|RUN_.*|NESTED_RUN|DISABLE_TELEMETRY|ENABLE_.*|LOGGING_.*|.*TIMEOUT|HTTP_.*|.*_DIR)"
    r"|WANDB_(PROJECT|ENTITY|RUN_GROUP|SILENT|CONSOLE|QUIET|.*DIR|DISABLE_.*|RUN_ID|RESUME|NAME|NOTES|TAGS|JOB_TYPE|SERVICE)"
)
_ADDRESSES = ("MLFLOW_TRACKING_URI", "WANDB_BASE_URL", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
# A deliverer that had these would send what it delivers to somebody else's run.
BINDING = (
    "MLFLOW_RUN_ID", "MLFLOW_RUN_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_NESTED_RUN",
    "WANDB_SERVICE", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_RUN_GROUP", "WANDB_NAME", "WANDB_SWEEP_ID", "WANDB_TAGS",
    "WANDB_NOTES", "WANDB_JOB_TYPE",
    "TRK_RUN", "TRK_SESSION", "TRK_DIR",
)  # fmt: skip


def held(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """The names and values of all credentials in an environment, users and passwords of addresses too."""
    found = [
        (name, value)
        for name, value in environ.items()
        if value and (name.startswith(_OF_BACKENDS) or name in _WAYS) and not _HARMLESS.fullmatch(name)
    ]
    for name in _ADDRESSES:
        userinfo, at, host = urlsplit(environ.get(name) or "").netloc.rpartition("@")
        if at:
            found.append((name, f"{userinfo}@{host}"))
    return sorted(found)


def proof(environ: Mapping[str, str], nonce: bytes) -> str:
    """What only a process with the same credentials can say to a nonce."""
    digest = hashlib.sha256()
    for name, value in [*held(environ), ("HOME", environ.get("HOME", ""))]:
        for text in (name, value):
            encoded = text.encode(errors="surrogateescape")
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return hmac.new(digest.digest(), nonce, "sha256").hexdigest()


def same(environ: Mapping[str, str], nonce: bytes, said: str) -> bool:
    """Whether a proof is that of this environment."""
    return hmac.compare_digest(proof(environ, nonce).encode(), said.encode(errors="replace"))
