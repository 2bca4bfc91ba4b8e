"""Section 7: relay addresses and invite links."""

from dataclasses import dataclass

from . import encodings as enc
from .errors import MALFORMED, refuse_unless

SCHEME = "kuvert://"
HOST_CHARACTERS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:%")


def _host_text(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _take_host_and_port(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        refuse_unless(bracket == "]" and rest.startswith(":"), MALFORMED, "port")
        port = rest[1:]
    else:
        host, colon, port = text.partition(":")
        refuse_unless(colon == ":", MALFORMED, "port")
        refuse_unless(":" not in port, MALFORMED, "brackets")
    refuse_unless(host != "" and set(host) <= HOST_CHARACTERS, MALFORMED, "host")
    refuse_unless(port.isascii() and port.isdigit() and 1 <= len(port) <= 5, MALFORMED, "port")
    refuse_unless(1 <= int(port) <= 65535, MALFORMED, "port")
    return host, int(port)


def _take_scheme_and_fingerprint(text: str) -> tuple[str, bytes]:
    text = text.strip()
    refuse_unless(text.startswith(SCHEME), MALFORMED, "scheme")
    rest, hash_sign, fingerprint = text[len(SCHEME) :].partition("#")
    refuse_unless(hash_sign == "#", MALFORMED, "fingerprint")
    return rest, enc.decode_base64url(fingerprint, 32)


@dataclass(frozen=True)
class RelayUrl:
    host: str
    port: int
    fingerprint: bytes

    def __str__(self) -> str:
        return f"{SCHEME}{_host_text(self.host)}:{self.port}#{enc.encode_base64url(self.fingerprint)}"

    @staticmethod
    def parse(text: str) -> "RelayUrl":
        rest, fingerprint = _take_scheme_and_fingerprint(text)
        return RelayUrl(*_take_host_and_port(rest), fingerprint)


@dataclass(frozen=True)
class InviteLink:
    host: str
    port: int
    relay_fingerprint: bytes
    account: bytes
    account_key_fingerprint: bytes
    name: str | None

    def __str__(self) -> str:
        query = "" if self.name is None else f"?name={self.name}"
        path = f"/contact/{enc.encode_id(self.account)}/{enc.encode_base32(self.account_key_fingerprint)}"
        return f"{SCHEME}{_host_text(self.host)}:{self.port}{path}{query}#{enc.encode_base64url(self.relay_fingerprint)}"

    @staticmethod
    def parse(text: str) -> "InviteLink":
        rest, relay_fingerprint = _take_scheme_and_fingerprint(text)
        rest, question_mark, query = rest.partition("?")
        name = None
        if question_mark:
            refuse_unless(query.startswith("name="), MALFORMED, "parameter")
            name = query[len("name=") :]
            refuse_unless(enc.is_user_name(name), MALFORMED, "name")
        parts = rest.split("/")
        refuse_unless(len(parts) == 4 and parts[1] == "contact", MALFORMED, "path")
        host, port = _take_host_and_port(parts[0])
        account, fingerprint = enc.decode_id(parts[2]), enc.decode_base32(parts[3], 32)
        return InviteLink(host, port, relay_fingerprint, account, fingerprint, name)
