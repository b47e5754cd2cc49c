"""TLS: for Diameter from the first octet on a port of its own, mutual by default (RFC 6733 section 13.1); and for HTTP."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: our certificate chain and key, the authorities of peers' certificates, and whether peers need one."""

    certificate: Path
    key: Path
    authorities: Path | None
    require_client_certificate: bool = True
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2


def context(files: TlsFiles) -> ssl.SSLContext:
    """Build the server's side of TLS; raises OSError or ssl.SSLError when a file cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = files.minimum
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    made.load_cert_chain(files.certificate, files.key)
    if files.authorities is not None:
        made.load_verify_locations(files.authorities)
    if files.require_client_certificate:
        made.verify_mode = ssl.CERT_REQUIRED
    elif files.authorities is not None:
        made.verify_mode = ssl.CERT_OPTIONAL
    return made


def names_of(certificate: Any) -> frozenset[str]:
    """Names in a peer's certificate, in lower case: its DNS names, and the CN, which is freeDiameter's identity (CLIENTS 4)."""
    if not certificate:
        return frozenset()
    found = {value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    for part in certificate.get("subject", ()):
        found.update(value.lower() for name, value in part if name == "commonName")
    return frozenset(found)
