"""A device of the independent model, driven by JSON lines on stdin; answers on stdout. See README.md.

Each request is one line, {"op": …}; each answer is one line, {"ok": …} or {"refused": "why"}. Bytes are lower-case hex.
crates/protocol/tests/interop.rs starts this, as the other end of conversations with the Rust implementation.

    hello                                 {} -> {"certificate": hex}
    meet     {"certificate": hex}         the other device; here its account key is trusted on sight
    bundle   {"kem_kind": 1 or 2, "one_time": bool} -> a bundle in the form of tests/vectors, made of fresh prekeys
    initiate {"bundle": …, "now": ms}
    encrypt  {"content": hex} -> {"message": hex}
    decrypt  {"message": hex, "now": ms} -> {"content": hex, "new_session": bool}
    status   {} -> {"braid_epoch": n, "epoch_heard": n, "active": transcript hash or null, "inactive": n}
"""

import json
import sys

from kuvert_model import encodings, identity, prekeys, session
from kuvert_model.errors import MALFORMED, Refused, refuse_unless
from kuvert_model.identity import Certificate
from kuvert_model.primitives import SystemRandom

unhex = bytes.fromhex


class Peer:
    def __init__(self):
        self.rng = SystemRandom()
        account_seed, self.signing_seed, identity_secret = (self.rng.draw(32) for _ in range(3))
        address = encodings.encode_address(self.rng.draw(16), 1)
        encoded = identity.issue_certificate(account_seed, address, self.signing_seed, identity_secret)
        self.certificate = Certificate.decode(encoded).verify()
        self.device = session.Device(self.certificate, identity_secret)
        self.next_id = 1
        self.remote: Certificate | None = None
        self.record: session.Record | None = None

    def _id(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def hello(self) -> dict:
        return {"certificate": self.certificate.encoded.hex()}

    def meet(self, certificate: str) -> dict:
        self.remote = Certificate.decode(unhex(certificate)).verify()
        self.record = session.Record(self.remote.address)
        return {}

    def bundle(self, kem_kind: int, one_time: bool) -> dict:
        identity_key = self.certificate.identity_key
        signed = prekeys.new_signed_prekey(self.signing_seed, identity_key, self._id(), self.rng)
        kem = prekeys.new_kem_prekey(self.signing_seed, identity_key, kem_kind, self._id(), self.rng)
        self.device.signed[signed.id] = signed
        self.device.kem[kem.id] = (kem_kind, kem)
        curve = None
        if one_time:
            prekey = prekeys.new_one_time_prekey(self._id(), self.rng)
            self.device.one_time[prekey.id] = prekey
            curve = {"id": prekey.id, "public": prekey.public.hex()}

        def signed_entry(prekey: prekeys.Prekey) -> dict:
            return {"id": prekey.id, "public": prekey.public.hex(), "signature": prekey.signature.hex()}

        return {
            "certificate": self.certificate.encoded.hex(),
            "kem_kind": kem_kind,
            "kem_prekey": signed_entry(kem),
            "one_time_prekey": curve,
            "signed_prekey": signed_entry(signed),
        }

    def initiate(self, bundle: dict, now: int) -> dict:
        def prekey(entry: dict) -> prekeys.Prekey:
            signature = unhex(entry["signature"]) if "signature" in entry else None
            return prekeys.Prekey(entry["id"], unhex(entry["public"]), signature)

        decoded = prekeys.Bundle(
            unhex(bundle["certificate"]),
            prekey(bundle["signed_prekey"]),
            bundle["kem_kind"],
            prekey(bundle["kem_prekey"]),
            bundle["one_time_prekey"] and prekey(bundle["one_time_prekey"]),
        )
        self.record.initiate(self.device, decoded, self.remote.account_key, now, self.rng)
        return {}

    def encrypt(self, content: str) -> dict:
        return {"message": self.record.encrypt(unhex(content), self.rng).hex()}

    def decrypt(self, message: str, now: int) -> dict:
        if message[2:4] == "01":  # a first message: the account key has to be the one trusted
            body = unhex(message)[2:]
            refuse_unless(len(body) >= 245, MALFORMED, "too short")
            trusted = Certificate.decode(body[:245]).account_key == self.remote.account_key
            refuse_unless(trusted, "identity changed")
        received = self.record.decrypt(self.device, unhex(message), now, self.rng)
        return {"content": received.content.hex(), "new_session": received.new_session}

    def status(self) -> dict:
        active = self.record.active
        if active is None:
            return {"braid_epoch": 0, "epoch_heard": 0, "active": None, "inactive": len(self.record.inactive)}
        heard = [epoch for epoch, chain in active.pq_ratchet.receiving.items() if chain.next > 0]
        return {
            "braid_epoch": active.pq_ratchet.braid.epoch,
            "epoch_heard": max(heard, default=0),
            "active": active.T.hex(),
            "inactive": len(self.record.inactive),
        }


OPERATIONS = {"hello", "meet", "bundle", "initiate", "encrypt", "decrypt", "status"}


def main() -> None:
    peer = Peer()
    for line in sys.stdin:
        request = json.loads(line)
        operation = request.pop("op")
        if operation not in OPERATIONS:
            raise SystemExit(f"unknown operation {operation}")
        try:
            answer = {"ok": getattr(peer, operation)(**request)}
        except Refused as refused:
            answer = {"refused": refused.reason, "detail": str(refused)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
