"""API keys: who may ask."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from starlette.datastructures import Headers

from ocr_onnx.errors import InputNotFoundError, OptionError
from ocr_onnx.service.refusals import Refused

SHORTEST = 16
"""Characters; shorter keys can be guessed."""

EXAMPLE = "replace"
"""Word in the example keys of deploy/ and docs/; everybody can read those keys."""

OWN_KEY = "put a key of your own there, made by `openssl rand -hex 32`"


def load(file: Path) -> tuple[str, ...]:
    """The keys of a file, one a line; empty lines and those that begin with # are passed over.

    Raises InputNotFoundError if the file does not exist, OptionError if it holds no key, a key that is too short, or an
    example key.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        raise InputNotFoundError(
            f"{file} does not exist: write a key a line into it, made by `openssl rand -hex 32`; mount it in a container"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{file} cannot be read as a file of keys: {error}") from error
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise OptionError(f"{file} holds no key: write one a line into it")
    if any(len(key) < SHORTEST or not key.isascii() or " " in key for key in keys):
        raise OptionError(f"{file} holds a key that is not {SHORTEST} or more letters, digits and signs without spaces")
    _refuse_examples(file, keys)
    return keys


def _refuse_examples(file: Path, keys: tuple[str, ...]) -> None:
    for key in keys:
        if EXAMPLE in key.lower():
            raise OptionError(f"{file} holds the example key {key!r}, which everybody can read: {OWN_KEY}")


class Keys:
    """The keys that are known, as their digests."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    @property
    def asked_for(self) -> bool:
        """Whether requests need one."""
        return bool(self._digests)

    def client(self, headers: Headers, address: str) -> str:
        """Who asks: the digest of the key, or the address where no keys are asked for. Raises Refused (401)."""
        if not self._digests:
            return address
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        digest = _digest(given)
        # All of them are compared, so that the time taken says nothing of which one matched.
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):
            raise Refused(401, "an API key is needed: send Authorization: Bearer KEY, or X-API-Key: KEY")
        return digest.hex()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
