"""Encrypt the connections to the database: the setting DATABASE_TLS."""

from __future__ import annotations

import ssl
from typing import Literal

Mode = Literal["off", "required", "verify"]
"""off: do not encrypt. required: encrypt, or do not connect. verify: also check the certificate and its name."""


def client_context(mode: Mode, authorities: str | None = None) -> ssl.SSLContext | None:
    """Return the context of new connections, or None if they are not encrypted.

    authorities: PEM certificates of those who may sign the database's certificate. None means those that the system trusts.
    Raises ssl.SSLError or ValueError if they are no certificates.
    """
    if mode == "off":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it checks the certificate and the name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if mode == "required":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authorities is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=authorities)
    return context


def explain(error: BaseException) -> str | None:
    """Return in words why TLS failed, if `error` or its cause is such a failure. The account was not sent."""
    for found in (error, error.__cause__):
        if isinstance(found, ssl.SSLCertVerificationError):
            return f"the database's certificate is not accepted: {found.verify_message}"
        if isinstance(found, ssl.SSLError):
            if found.reason == "WRONG_VERSION_NUMBER":
                return "the database does not offer TLS, which DATABASE_TLS asks for"
            return f"no TLS connection to the database: {found.reason or found}"
    return None
