"""Section 2: labels, padded with zero bytes to 32."""

PURPOSES = """device certificate
device consent
device list
relay authentication
signed prekey
one-time KEM prekey
last-resort KEM prekey
PQXDH transcript
PQXDH session secret
ratchet keys
pq ratchet secret
replay tag
root step
body key
associated data
sealed certificate
sealed message
attachment
blob capability
link transcript
link keys
group operation
safety number
account fingerprint
pq ratchet start
pq ratchet epoch
pq ratchet chain key
pq ratchet message key
braid authenticator
braid header
braid ciphertext
braid output key""".split("\n")

EXPORTER_LABEL = b"EXPORTER-Kuvert-1-authentication"  # 20.3, not padded


def pad_label(text: str) -> bytes:
    raw = text.encode("ascii")
    assert len(raw) <= 32
    return raw.ljust(32, b"\0")


_ALL = {purpose: pad_label("Kuvert/1 " + purpose) for purpose in PURPOSES}


def L(purpose: str) -> bytes:
    return _ALL[purpose]
