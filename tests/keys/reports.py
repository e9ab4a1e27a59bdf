"""Reports of leaked keys as GitHub sends them: signed with ECDSA, and named by the identifier of the public key."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SIGNER = ec.generate_private_key(ec.SECP256R1())


def pem_of(signer: Any) -> str:
    """Return the public key of `signer` in PEM."""
    pem: bytes = signer.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


PUBLIC_KEYS = {"current": pem_of(SIGNER)}


def report_of(*tokens: str, url: str = "https://git.example/.env") -> bytes:
    """Return the body of a report."""
    entries = [{"token": token, "type": "fg", "url": url, "source": "content"} for token in tokens]
    return json.dumps(entries).encode()


def signed(
    body: bytes,
    signer: ec.EllipticCurvePrivateKey = SIGNER,
    identifier: str = "current",
    algorithm: HashAlgorithm | None = None,
) -> dict[str, str]:
    """Return the header fields of a report."""
    signature = signer.sign(body, ec.ECDSA(algorithm or SHA256()))
    return {
        "Github-Public-Key-Identifier": identifier,
        "Github-Public-Key-Signature": b64encode(signature).decode(),
    }
