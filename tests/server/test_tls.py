"""The documented call, word for word, with the real curl, over TLS."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import trustme
from support.api import KEY, PATHS
from support.process import ServiceProcess
from support.tables import Tables

(CURL,) = [sample["source"] for sample in PATHS["/vicidial/leads/archive"]["post"]["x-codeSamples"]]


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    """The settings for a certificate that nobody trusts."""
    issued = trustme.CA().issue_cert("127.0.0.1")
    files = {"TLS_CERT_FILE": tmp_path / "cert.pem", "TLS_KEY_FILE": tmp_path / "key.pem"}
    issued.cert_chain_pems[0].write_to_path(files["TLS_CERT_FILE"])
    issued.private_key_pem.write_to_path(files["TLS_KEY_FILE"])
    return {name: str(path) for name, path in files.items()}


def curl(command: str, service: ServiceProcess, key: str = KEY) -> subprocess.CompletedProcess[str]:
    """Run a documented command with the service's address and a key in the places of those that it names."""
    assert command.count("https://127.0.0.1:8443") == command.count("YOUR_API_KEY") == 1
    command = command.replace("https://127.0.0.1:8443", service.base_url).replace("YOUR_API_KEY", key)
    return subprocess.run(
        ["bash", "-euc", command], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_documented_call_archives_leads(
    tables: Tables, environment: dict[str, str], certificate: dict[str, str], workers: str
) -> None:
    tables.live(4711, 4712, 4713, 4714)
    live, _ = tables.both()
    with ServiceProcess({**environment, **certificate, "WORKERS": workers}) as service:
        assert json.loads(curl(CURL, service, "wrong").stdout) == {"message": "unable to validate api user"}
        assert tables.both() == (live, {})

        answer = curl(CURL, service)
        assert (answer.returncode, json.loads(answer.stdout)) == (
            0,
            {
                "message": "lead_ids batch was successfully processed",
                "select_count": 3,
                "insert_count": 3,
                "update_count": 0,
                "delete_count": 3,
                "remaining_lead_ids": [],
                "reused_lead_ids": [],
                "unmatched_lead_ids": [],
            },
        )
        stayed = {4714: live.pop(4714)}
        assert tables.both() == (stayed, live)

        # Without -k, curl checks the certificate. Plain HTTP is not served on the same port.
        assert curl(CURL.replace(" -k ", " "), service).returncode == 60
        plain = subprocess.run(
            ["curl", "-s", service.base_url.replace("https:", "http:") + "/livez"], capture_output=True, check=False
        )
        assert plain.returncode != 0
        assert plain.stdout == b""
        assert service.stop() == 0
        assert not service.anything_left()
    assert tables.both() == (stayed, live)
