"""Refusals. `reason` is the word that tests/vectors uses for a refusal, where it uses one."""


class Refused(Exception):
    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


MALFORMED = "malformed"
INVALID = "invalid"
DUPLICATE = "duplicate"
TOO_MANY_SKIPPED = "too many skipped"
NO_HEADER_KEY = "no header key fits"
EPOCH_NOT_OPEN = "epoch not open"
UNDECRYPTABLE = "undecryptable"
NO_SESSION = "no session"
UNKNOWN_PREKEY = "unknown prekey"
REPLAYED = "replayed"
REPLAY_RECORD_FULL = "replay record full"
INVALID_HANDSHAKE = "invalid handshake"
ACCOUNT_MISMATCH = "account mismatch"
IDENTITY_CHANGED = "identity changed"
CANNOT_SEND = "cannot send"
FAILED = "failed"


def refuse_unless(condition: bool, reason: str, detail: str = "") -> None:
    if not condition:
        raise Refused(reason, detail)
