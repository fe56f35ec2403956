"""API keys: load them, and identify clients."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from starlette.datastructures import Headers

from ocr_onnx.errors import InputNotFoundError, OptionError
from ocr_onnx.service.request_errors import RequestError

MIN_LENGTH = 16
"""Characters; shorter keys can be guessed."""

EXAMPLE = "replace"
"""Word in the example keys of deploy/ and docs/; those keys are public."""


def load(file: Path) -> tuple[str, ...]:
    """The keys of a file, one per line; empty lines and lines that begin with # are ignored.

    Raises InputNotFoundError if the file does not exist, OptionError if it has no key, a key that is too short, or an
    example key.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        raise InputNotFoundError(
            f"{file} does not exist: write one key per line into it, made by `openssl rand -hex 32`; mount it in a container"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{file} cannot be read as a file of API keys: {error}; give a text file in UTF-8") from error
    keys = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not keys:
        raise OptionError(f"{file} has no API key: write one per line into it")
    if any(len(key) < MIN_LENGTH or not key.isascii() or " " in key for key in keys):
        raise OptionError(
            f"{file} has an invalid API key: use at least {MIN_LENGTH} ASCII characters without spaces, made by "
            "`openssl rand -hex 32`"
        )
    if example := next((key for key in keys if EXAMPLE in key.lower()), None):
        raise OptionError(
            f"{file} has the example key {example!r}, which is public: replace it by a key of your own, made by "
            "`openssl rand -hex 32`"
        )
    return keys


class Keys:
    """The valid keys, as digests."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    @property
    def required(self) -> bool:
        """Whether requests need a key."""
        return bool(self._digests)

    def client(self, headers: Headers, address: str) -> str:
        """Identify a client by the digest of its key, or by its address if no keys are required.

        Raises RequestError (401) without a valid key.
        """
        if not self._digests:
            return address
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        digest = _digest(given)
        # Compares with all keys, so that the time does not reveal which one matches.
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):
            raise RequestError(401, "an API key is required: send Authorization: Bearer KEY, or X-API-Key: KEY")
        return digest.hex()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
