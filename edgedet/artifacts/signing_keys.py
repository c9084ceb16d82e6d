"""Keys of artifacts' owners: Ed25519 (RFC 8032) in PEM files, as OpenSSL and others write and read them.

``cryptography`` does the arithmetic (extra ``signing``). It is imported where a key is used, and nowhere else.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from edgedet.errors import MissingDependencyError, SigningKeyError
from edgedet.files import read_regular

LARGEST = 1 << 20
"""Maximum size in bytes of a file of keys."""

PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


def make_keys(passphrase: bytes | None = None) -> tuple[bytes, bytes]:
    """A new private key (PKCS #8, locked where there is a passphrase) and its public key (SubjectPublicKeyInfo).

    Raises:
        MissingDependencyError: ``cryptography`` is not installed.
    """
    ed25519, serialization = _library()
    private = ed25519.Ed25519PrivateKey.generate()
    lock = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase is not None
        else serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    return bytes(pem), bytes(public)


def is_locked(path: str | Path) -> bool:
    """Whether a private key needs a passphrase.

    Raises:
        SigningKeyError: the file cannot be read.
    """
    return b"ENCRYPTED" in _content(path)


def read_private_key(path: str | Path, passphrase: bytes | None = None) -> Any:
    """The private key in a PEM file.

    Raises:
        SigningKeyError: missing, no Ed25519 key, or another passphrase.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    ed25519, serialization = _library()
    content = _content(path)
    if b"PRIVATE KEY" not in content:
        raise SigningKeyError(
            f"{path} holds no private key; signing needs the one that stays with you (edgedet keygen makes a pair)"
        )
    try:
        key = serialization.load_pem_private_key(content, passphrase)
    except TypeError as error:
        what = "needs a passphrase" if passphrase is None else "has no passphrase, and one was given"
        raise SigningKeyError(f"the key in {path} {what}") from error
    except Exception as error:  # the library raises its own kinds beside ValueError
        what = "is damaged, or the passphrase is another one" if passphrase is not None else "cannot be read"
        raise SigningKeyError(f"the key in {path} {what}: {_words(error)}") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise SigningKeyError(f"{path} holds a key of another kind; expected Ed25519 (edgedet keygen makes a pair)")
    return key


def read_public_keys(path: str | Path) -> tuple[Any, ...]:
    """The public keys in a PEM file, one or several: owners change keys.

    Raises:
        SigningKeyError: missing, a private key, or anything else than Ed25519.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    content = _content(path)
    if b"PRIVATE KEY" in content:
        raise SigningKeyError(
            f"{path} is a private key, which must not lie where signatures are checked; give the public one (.pub)"
        )
    blocks = [match[0] for match in PEM.finditer(content)]
    if not blocks:
        raise SigningKeyError(
            f"{path} holds no public key; expected PEM as edgedet keygen or openssl pkey -pubout writes it"
        )
    ed25519, serialization = _library()
    keys = []
    for block in blocks:
        try:
            key = serialization.load_pem_public_key(block)
        except Exception as error:  # as above
            raise SigningKeyError(f"a public key in {path} cannot be read: {_words(error)}") from error
        if not isinstance(key, ed25519.Ed25519PublicKey):
            raise SigningKeyError(f"{path} holds a public key of another kind; expected Ed25519 (edgedet keygen)")
        keys.append(key)
    return tuple(keys)


def key_name(public: Any) -> str:
    """What a public key is called in messages: 16 hexadecimal digits of the SHA-256 of its 32 bytes."""
    _, serialization = _library()
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def is_signed_by(public: Any, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` (64 bytes) is one of ``message`` by the owner of ``public``."""
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingDependencyError(
            "signatures need the package 'cryptography', which is not installed: pip install 'edgedet[signing]'"
        ) from error
    return ed25519, serialization


def _content(path: str | Path) -> bytes:
    try:
        content = read_regular(path, LARGEST)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = error.strerror if isinstance(error, OSError) else None
        raise SigningKeyError(f"cannot read the key {path}: {reason or error}") from error
    if len(content) > LARGEST:
        raise SigningKeyError(f"{path} is too large for a file of keys")
    return content


def _words(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:120]
