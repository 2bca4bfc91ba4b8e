"""Runs every case of every file in tests/vectors against the model, and a few checks of the model itself.

    python3 check_vectors.py [VECTORS_DIRECTORY] [-v]
"""

import json
import pickle
import sys
import traceback
from pathlib import Path

from kuvert_model import attachment, body, encodings, erasure, errors, group_operation, identity, labels, linking, links, messages, mlkem, padding, pq_ratchet
from kuvert_model import pqxdh, primitives, ratchet, relay_auth, roster, safety_number, sealed_sender, session
from kuvert_model import envelope as wire
from kuvert_model import prekeys as pk
from kuvert_model.braid import Authenticator, Braid, Message
from kuvert_model.errors import Refused
from kuvert_model.identity import Certificate, DeviceList

unhex = bytes.fromhex


class WrongResult(Exception):
    pass


def same(what: str, got, expected) -> None:
    if isinstance(got, bytes):
        got = got.hex()
    if got != expected:
        raise WrongResult(f"{what}: got {got!s:.200}, expected {expected!s:.200}")


def refused(action, reason: str | None = None) -> None:
    """The action has to be refused, for this reason if one is given. Any other exception is a defect of the model."""
    try:
        action()
    except Refused as refusal:
        if reason is not None:
            same("reason", refusal.reason, reason)
        return
    raise WrongResult("was not refused")


def must(condition: bool, what: str) -> None:
    if not condition:
        raise WrongResult(what)


class Draws:
    """Gives out the byte strings that a vector lists, in their order."""

    def __init__(self, listed: list[str]):
        self.left = [unhex(entry) for entry in listed]

    def draw(self, n: int) -> bytes:
        must(bool(self.left), f"{n} bytes are drawn, but none are listed")
        entry = self.left.pop(0)
        same("length of a draw", n, len(entry))
        return entry

    def finish(self) -> None:
        same("draws that were not taken", len(self.left), 0)


# --- encodings.json ---------------------------------------------------------------------------------------------------


def check_encodings(case: dict) -> None:
    name, i, o, reject = case["name"], case["inputs"], case.get("outputs"), case.get("must_reject", False)
    if name.startswith("id "):
        if reject:
            return refused(lambda: encodings.decode_id(i["text"]))
        same("text", encodings.encode_id(unhex(i["bytes"])), o["text"])
        for text in (o["text"], o["also_decodes"]):
            same("bytes", encodings.decode_id(text), i["bytes"])
    elif name.startswith("address "):
        if reject:
            return refused(lambda: encodings.decode_address(unhex(i["bytes"])))
        address = encodings.encode_address(unhex(i["account"]), i["device"])
        same("bytes", address, o["bytes"])
        same("text", encodings.address_text(address), o["text"])
        same("bytes of the text", encodings.address_from_text(o["text"]), o["bytes"])
    elif name.startswith(("name ", "phone ")):
        valid = encodings.is_user_name(i["name"]) if "name" in i else encodings.is_phone_number(i["phone"])
        same("valid", valid, False if reject else o["valid"])
    elif name.startswith("label "):
        if name == "label of the TLS exporter":
            same("text", labels.EXPORTER_LABEL.decode(), i["text"])
            return same("bytes", labels.EXPORTER_LABEL, o["bytes"])
        prefix = "Kuvert/1 "
        must(i["text"].startswith(prefix), "prefix")
        same("bytes", labels.L(i["text"][len(prefix) :]), o["bytes"])
    else:
        raise WrongResult("unknown case")


# --- keys.json --------------------------------------------------------------------------------------------------------


def check_keys(case: dict) -> None:
    name, i, o, reject = case["name"], case["inputs"], case.get("outputs"), case.get("must_reject", False)
    if name == "x25519 agree":
        same("shared", primitives.DH(unhex(i["secret"]), unhex(i["public"])), o["shared"])
        same("own public", primitives.dh_public(unhex(i["secret"])), o["own_public"])
    elif name.startswith("x25519 ephemeral"):
        ephemeral = unhex(i["ephemeral"])
        if not reject:
            primitives.check_ephemeral(ephemeral)
            return same("accepted", True, o["accepted"])
        primitives.check_x25519(ephemeral)  # refused as an ephemeral key only
        refused(lambda: primitives.check_ephemeral(ephemeral))
    elif name.startswith("x25519"):
        refused(lambda: primitives.check_x25519(unhex(i["public"])))
        refused(lambda: primitives.check_ephemeral(unhex(i["public"])))
    elif name.startswith("ed25519"):
        valid = primitives.verify(unhex(i["public"]), unhex(i["message"]), unhex(i["signature"]))
        same("valid", valid, False if reject else o["valid"])
        if not reject:
            same("public", primitives.signing_public(unhex(o["seed"])), i["public"])
            same("signature", primitives.sign(unhex(o["seed"]), unhex(i["message"])), i["signature"])
    elif name == "ml-kem-1024":
        p, seed = mlkem.ML_KEM_1024, unhex(i["seed"])
        same("public", mlkem.keygen(p, seed)[0], o["public"])
        mlkem.check_encapsulation_key(p, unhex(o["public"]))
        ciphertext, shared = mlkem.encapsulate(p, unhex(o["public"]), unhex(i["m"]))
        same("ciphertext", ciphertext, o["ciphertext"])
        same("shared", shared, o["shared"])
        same("decapsulated", mlkem.decapsulate(p, seed, ciphertext), o["shared"])
        wrong = mlkem.decapsulate(p, seed, unhex(i["wrong_ciphertext"]))
        same("shared of wrong ciphertext", wrong, o["shared_of_wrong_ciphertext"])
    elif name == "ml-kem-1024 modulus":
        refused(lambda: mlkem.check_encapsulation_key(mlkem.ML_KEM_1024, unhex(i["public"])))
    elif name.startswith("ml-kem-768 in pieces"):
        seed, m = unhex(i["seed"]), unhex(i["m"])
        header, vector = mlkem.header_and_vector(seed)
        same("header", header, o["header"])
        same("vector", vector, o["vector"])
        c1, shared = mlkem.encapsulate1(header, m)
        c2 = mlkem.encapsulate2(header, vector, m)
        same("c1", c1, o["c1"])
        same("c2", c2, o["c2"])
        same("shared", shared, o["shared"])
        must((c1 + c2, shared) == mlkem.encapsulate(mlkem.ML_KEM_768, vector + header[:32], m), "pieces put together")
        same("decapsulated", mlkem.decapsulate(mlkem.ML_KEM_768, seed, c1 + c2), o["shared"])
        wrong = mlkem.decapsulate(mlkem.ML_KEM_768, seed, c1 + unhex(i["wrong_c2"]))
        same("shared of wrong c2", wrong, o["shared_of_wrong_c2"])
    elif name == "ml-kem-768 vector":
        refused(lambda: mlkem.encapsulate2(unhex(i["header"]), unhex(i["vector"]), bytes(32)))
    else:
        raise WrongResult("unknown case")


# --- identity.json, safety_number.json --------------------------------------------------------------------------------


def check_identity(case: dict) -> None:
    name, i, o, reject = case["name"], case["inputs"], case.get("outputs"), case.get("must_reject", False)
    if name.startswith("certificate "):
        if reject:
            return refused(lambda: Certificate.decode(unhex(i["certificate"])).verify())
        draws = Draws(case["draws"])
        account_seed, signing_seed, identity_secret = (draws.draw(32) for _ in range(3))
        draws.finish()
        address = encodings.encode_address(unhex(i["account"]), i["device"])
        encoded = identity.issue_certificate(account_seed, address, signing_seed, identity_secret)
        same("certificate", encoded, o["certificate"])
        certificate = Certificate.decode(encoded).verify()
        for key in ("body", "hash", "account_key", "signing_key", "identity_key"):
            same(key, getattr(certificate, key), o[key])
        same("account statement", identity.account_statement(certificate.body), o["account_statement"])
        same("device statement", identity.device_statement(certificate.body), o["device_statement"])
    elif name.startswith("list "):
        if reject:
            return refused(lambda: DeviceList.decode(unhex(i["list"])).verify(unhex(i["account_key"])))
        devices = [(entry["device"], unhex(entry["certificate_hash"])) for entry in i["devices"]]
        seed = unhex(i["account_seed"])
        encoded = identity.issue_list(seed, unhex(i["account"]), int(i["number"]), devices)
        same("list", encoded, o["list"])
        decoded = DeviceList.decode(encoded).verify(primitives.signing_public(seed))
        same("body", decoded.body, o["body"])
        same("hash", decoded.hash, o["hash"])
        same("devices", list(decoded.devices), devices)
    elif name.startswith("replace by "):
        known, new = DeviceList.decode(unhex(i["known"])), DeviceList.decode(unhex(i["new"]))
        if reject:
            reason = {"another account": errors.INVALID}.get(case["reason"], case["reason"])
            return refused(lambda: identity.check_replacement(known, new), reason)
        identity.check_replacement(known, new)
        same("replaces", True, o["replaces"])
    else:
        raise WrongResult("unknown case")


def check_safety_number(case: dict) -> None:
    i, o = case["inputs"], case["outputs"]
    if "ours" in i:
        ours, theirs = ((unhex(side["account"]), unhex(side["account_key"])) for side in (i["ours"], i["theirs"]))
        digits = safety_number.safety_number(ours, theirs)
        same("digits", digits, o["digits"])
        same("shown", safety_number.shown(digits), o["shown"])
    else:
        fingerprint = safety_number.account_key_fingerprint(unhex(i["account"]), unhex(i["account_key"]))
        same("fingerprint", fingerprint, o["fingerprint"])


# --- relay_url.json, invite.json --------------------------------------------------------------------------------------


def check_relay_url(case: dict) -> None:
    i = case["inputs"]
    if case.get("must_reject"):
        return refused(lambda: links.RelayUrl.parse(i["text"]))
    url, text = links.RelayUrl(i["host"], i["port"], unhex(i["fingerprint"])), case["outputs"]["text"]
    same("text", str(url), text)
    must(links.RelayUrl.parse(f" {text}\n") == url, "the text gives the address back")


def check_invite(case: dict) -> None:
    i = case["inputs"]
    if case.get("must_reject"):
        return refused(lambda: links.InviteLink.parse(i["text"]))
    fingerprints = unhex(i["relay_fingerprint"]), unhex(i["account"]), unhex(i["account_key_fingerprint"])
    link, text = links.InviteLink(i["host"], i["port"], *fingerprints, i["name"]), case["outputs"]["text"]
    same("text", str(link), text)
    must(links.InviteLink.parse(f"\t{text} ") == link, "the text gives the link back")


# --- prekeys.json, pqxdh.json -----------------------------------------------------------------------------------------


def prekey_from(entry: dict | None) -> pk.Prekey | None:
    if entry is None:
        return None
    signature = unhex(entry["signature"]) if "signature" in entry else None
    secret = entry.get("secret", entry.get("seed"))
    return pk.Prekey(entry["id"], unhex(entry["public"]), signature, secret and unhex(secret))


def bundle_from(entry: dict) -> pk.Bundle:
    return pk.Bundle(
        unhex(entry["certificate"]),
        prekey_from(entry["signed_prekey"]),
        entry["kem_kind"],
        prekey_from(entry["kem_prekey"]),
        prekey_from(entry["one_time_prekey"]),
    )


def same_prekey(what: str, got: pk.Prekey, expected: dict) -> None:
    must(got == prekey_from(expected), what)


def draw_prekeys(signing_seed: bytes, identity_key: bytes, ids: dict, rng) -> dict[str, pk.Prekey]:
    """In the order of prekeys.json and session.json."""
    return {
        "signed": pk.new_signed_prekey(signing_seed, identity_key, ids["signed"], rng),
        "one_time": pk.new_one_time_prekey(ids["one_time"], rng),
        "one_time_kem": pk.new_kem_prekey(signing_seed, identity_key, pk.ONE_TIME, ids["one_time_kem"], rng),
        "last_resort_kem": pk.new_kem_prekey(
            signing_seed, identity_key, pk.LAST_RESORT, ids["last_resort_kem"], rng
        ),
    }


def check_prekeys(case: dict) -> None:
    i = case["inputs"]
    if case["name"] == "prekeys":
        device, draws = i["device"], Draws(case["draws"])
        identity_key = primitives.dh_public(unhex(device["identity_secret"]))
        same("identity key", identity_key, Certificate.decode(unhex(device["certificate"])).identity_key.hex())
        made = draw_prekeys(unhex(device["signing_seed"]), identity_key, i["ids"], draws)
        draws.finish()
        for kind, prekey in made.items():
            same_prekey(kind, prekey, case["outputs"][kind])
        return
    bundle, address, account_key = bundle_from(i["bundle"]), unhex(i["address"]), unhex(i["account_key"])
    if case.get("must_reject"):
        return refused(lambda: bundle.verify(address, account_key), case["reason"])
    bundle.verify(address, account_key)
    same("verifies", True, case["outputs"]["verifies"])


def check_pqxdh(case: dict) -> None:
    i, o = case["inputs"], case.get("outputs")
    if case.get("must_reject"):
        return refused(lambda: messages.Handshake.decode(unhex(i["handshake"])), errors.MALFORMED)
    initiator, recipient = (Certificate.decode(unhex(i[side]["certificate"])) for side in ("initiator", "recipient"))
    own = {kind: prekey_from(entry) for kind, entry in i["prekeys"].items()}
    kem = own["one_time_kem"] if i["kem_kind"] == pk.ONE_TIME else own["last_resort_kem"]
    one_time = own["one_time"] if i["with_one_time_prekey"] else None
    bundle = pk.Bundle(
        recipient.encoded,
        own["signed"].published(),
        i["kem_kind"],
        kem.published(),
        one_time and one_time.published(),
    )
    bundle.verify(recipient.address, recipient.account_key)
    draws = Draws(case["draws"])
    at_initiator = pqxdh.agree_as_initiator(initiator, unhex(i["initiator"]["identity_secret"]), bundle, draws)
    draws.finish()
    handshake = messages.Handshake(
        initiator,
        at_initiator.ephemeral_key,
        own["signed"].id,
        i["kem_kind"],
        kem.id,
        at_initiator.kem_ciphertext,
        one_time and one_time.id,
    )
    same("handshake", handshake.encode(), o["handshake"])
    decoded = messages.Handshake.decode(unhex(o["handshake"]))
    must(decoded == handshake, "the handshake gives its fields back")
    primitives.check_ephemeral(decoded.ephemeral_key)
    at_recipient = pqxdh.agree_as_recipient(
        decoded.certificate.verify(),
        recipient,
        unhex(i["recipient"]["identity_secret"]),
        decoded.ephemeral_key,
        own["signed"],
        decoded.kem_kind,
        kem,
        decoded.kem_ciphertext,
        one_time,
    )
    must(at_initiator == at_recipient, "both sides agree")
    same("DH", [value.hex() for value in at_initiator.dh], o["dh"])
    for key in ("ephemeral_key", "kem_ciphertext", "kem_shared", "transcript_hash", "session_secret"):
        same(key, getattr(at_initiator, key), o[key])
    same_initial_keys(pqxdh.initial_keys(at_initiator.session_secret), o)


def same_initial_keys(keys: pqxdh.InitialKeys, expected: dict) -> None:
    for key in ("root_key", "initiator_header_key", "recipient_header_key", "pq_secret", "replay_tag"):
        same(key, getattr(keys, key), expected[key])


# --- padding.json, kdf.json, header.json ------------------------------------------------------------------------------


def check_padding(case: dict) -> None:
    i, o = case["inputs"], case.get("outputs")
    if case.get("must_reject"):
        return refused(lambda: padding.unpad(unhex(i["padded"])), errors.MALFORMED)
    if "content_length" in i:
        same("padded length", padding.padded_length(i["content_length"]), o["padded_length"])
        must(padding.is_padded_length(o["padded_length"]), "a padded length")
    else:
        same("padded", padding.pad(unhex(i["content"])), o["padded"])
        same("content", padding.unpad(unhex(o["padded"])), i["content"])


def check_kdf(case: dict) -> None:
    name, i, o = case["name"], {k: unhex(v) if isinstance(v, str) else v for k, v in case["inputs"].items()}, case["outputs"]
    if name.startswith("initial keys"):
        same_initial_keys(pqxdh.initial_keys(i["session_secret"]), o)
    elif name.startswith("root step"):
        for key, value in zip(("root_key", "chain_key", "next_header_key"), ratchet.KDF_RK(i["root_key"], i["dh"])):
            same(key, value, o[key])
    elif name.startswith("chain step"):
        for key, value in zip(("ec_mk", "next_chain_key"), ratchet.KDF_CK(i["chain_key"])):
            same(key, value, o[key])
    elif name.startswith("body"):
        ad = body.associated_data(i["kind"], i["transcript_hash"], i["sealed_header"])
        same("associated data", ad, o["associated_data"])
        key, nonce = body.body_key(i["pq_mk"], i["ec_mk"], ad)
        same("key", key, o["key"])
        same("nonce", nonce, o["nonce"])
        arguments = i["pq_mk"], i["ec_mk"], i["kind"], i["transcript_hash"], i["sealed_header"]
        sealed = body.seal_body(*arguments, i["padded"])
        same("ciphertext", sealed[:-16], o["ciphertext"])
        same("tag", sealed[-16:], o["tag"])
        must(body.open_body(*arguments, sealed) == i["padded"], "opens")
        refused(lambda: body.open_body(*arguments, sealed[:-1] + bytes([sealed[-1] ^ 1])))
    elif name.startswith("pq start"):
        root, i_to_r, r_to_i, agreement_key = pq_ratchet.start(i["pq_secret"])
        same("root", root, o["root"])
        same("initiator chain", i_to_r, o["initiator_chain"])
        same("recipient chain", r_to_i, o["recipient_chain"])
        same("agreement key", agreement_key, o["agreement_key"])
        authenticator = Authenticator(agreement_key)
        same("authenticator root", authenticator.root, o["authenticator_root"])
        same("authenticator MAC key", authenticator.mac_key, o["authenticator_mac_key"])
        names = ("epoch_root", "epoch_initiator_chain", "epoch_recipient_chain")
        for key, value in zip(names, pq_ratchet.open_epoch(root, i["output_key"], 1)):
            same(key, value, o[key])
        names = ("pq_mk_of_first_chain_key_and_number_3", "next_chain_key_of_first_chain_key_and_number_3")
        for key, value in zip(names, pq_ratchet.step(i_to_r, 3)):
            same(key, value, o[key])
    else:
        raise WrongResult("unknown case")


def header_from(entry: dict) -> ratchet.Header:
    return ratchet.Header(
        unhex(entry["ratchet_key"]),
        entry["previous_chain_length"],
        entry["message_number"],
        unhex(entry["pq_header"]),
    )


def check_header(case: dict) -> None:
    i = case["inputs"]
    key = unhex(i["header_key"])
    if case.get("must_reject"):
        return refused(lambda: ratchet.Header.open(key, unhex(i["sealed_header"])))
    header, sealed = header_from(i["header"]), case["outputs"]["sealed_header"]
    same("sealed header", header.seal(key, unhex(i["nonce"])), sealed)
    must(ratchet.Header.open(key, unhex(sealed)) == header, "the sealed header opens")


# --- ratchet.json -----------------------------------------------------------------------------------------------------


def frozen(state) -> bytes:
    """For comparing a state before and after a refusal (KV-003)."""
    return pickle.dumps(pickle.loads(pickle.dumps(state)))


def copied(state):
    return pickle.loads(pickle.dumps(state))


def check_ratchet(case: dict) -> None:
    i, draws = case["inputs"], Draws(case["draws"])
    keys = pqxdh.initial_keys(unhex(i["session_secret"]))
    secret, public = unhex(i["signed_prekey_secret"]), unhex(i["signed_prekey"])
    same("signed prekey", primitives.dh_public(secret), i["signed_prekey"])
    parties = {
        "initiator": ratchet.DoubleRatchet.new_initiator(keys, public, draws),
        "recipient": ratchet.DoubleRatchet.new_recipient(keys, secret),
    }
    draws.finish()
    sent, backups = {}, {}
    for number, step in enumerate(case["outputs"]["steps"]):
        try:
            ratchet_step(step, parties, sent, backups)
        except WrongResult as wrong:
            raise WrongResult(f"step {number}: {wrong}") from None


def ratchet_step(step: dict, parties: dict, sent: dict, backups: dict) -> None:
    party, draws = step["party"], Draws(step.get("draws", []))
    me = parties[party]
    match step["op"]:
        case "send" | "send_forged":
            header = header_from(step["header"])
            forged = header if step["op"] == "send_forged" else None
            same("forged", forged is not None, step["forged"])
            if forged is None:
                must(header == ratchet.Header(me.DHs, me.PN, me.Ns, bytes(143)), "header")
            same("header key", me.HKs, step["header_key"])
            sealed, ec_mk = me.send(draws.draw(24), bytes(143), forged)
            same("sealed header", sealed, step["sealed_header"])
            same("ec_mk", ec_mk, step["ec_mk"])
            sent[step["message"]] = sealed
        case "send_and_drop":
            for _ in range(step["count"]):
                me.send(bytes(24), bytes(143))
        case "send_and_deliver":
            other = "recipient" if party == "initiator" else "initiator"
            for _ in range(step["count"]):
                sealed, ec_mk = me.send(bytes(24), bytes(143))
                staged = parties[other].stage(sealed)
                must(staged.ec_mk == ec_mk, "ec_mk")
                parties[other] = staged.commit(draws)
        case "deliver":
            sealed = sent[step["message"]]
            if step["result"] != "accepted":
                before = frozen(me)
                refused(lambda: me.stage(sealed), step["result"])
                must(frozen(me) == before, "a refusal changes nothing")
                return
            before = frozen(me)
            staged = me.stage(sealed)
            same("ec_mk", staged.ec_mk, step["ec_mk"])
            must(frozen(me) == before, "staging changes nothing")
            parties[party] = staged.commit(draws)
        case "back_up":
            backups[step["backup"]] = copied(me)
        case "restore":
            parties[party] = copied(backups[step["backup"]])
        case "store_and_load":
            parties[party] = copied(me)
        case other:
            raise WrongResult(f"unknown operation {other}")
    draws.finish()


# --- pq_ratchet.json --------------------------------------------------------------------------------------------------


def check_pq_ratchet(case: dict) -> None:
    if case.get("must_reject"):
        return refused(lambda: pq_ratchet.parse_header(unhex(case["inputs"]["header"])), errors.MALFORMED)
    secret = unhex(case["inputs"]["pq_secret"])
    parties = {
        "initiator": pq_ratchet.PqRatchet(secret, is_initiator=True),
        "recipient": pq_ratchet.PqRatchet(secret, is_initiator=False),
    }
    sent, backups = {}, {}
    for number, step in enumerate(case["outputs"]["steps"]):
        try:
            pq_ratchet_step(step, parties, sent, backups)
        except WrongResult as wrong:
            raise WrongResult(f"step {number}: {wrong}") from None


def pq_ratchet_step(step: dict, parties: dict, sent: dict, backups: dict) -> None:
    party, draws = step["party"], Draws(step.get("draws", []))
    me = parties[party]
    match step["op"]:
        case "send":
            header, pq_mk = me.send(draws)
            same("header", header, step["header"])
            same("pq_mk", pq_mk, step["pq_mk"])
            same("newest epoch", me.newest_epoch, step["newest_epoch"])
            sent[step["message"]] = header
        case "send_and_drop":
            for _ in range(step["count"]):
                me.send(draws)
        case "forge":
            sent[step["message"]] = unhex(step["header"])
        case "deliver":
            header, before = sent[step["message"]], frozen(me)
            if step["result"] != "accepted":
                refused(lambda: me.stage(header), step["result"])
                must(frozen(me) == before, "a refusal changes nothing")
                return
            staged = me.stage(header)
            same("pq_mk", staged.pq_mk, step["pq_mk"])
            must(frozen(me) == before, "staging changes nothing")
            staged.commit()
            same("newest epoch", me.newest_epoch, step["newest_epoch"])
        case "back_up":
            backups[step["backup"]] = copied(me)
        case "restore":
            parties[party] = copied(backups[step["backup"]])
        case "store_and_load":
            parties[party] = copied(me)
        case other:
            raise WrongResult(f"unknown operation {other}")
    draws.finish()


# --- erasure.json, braid.json -----------------------------------------------------------------------------------------


def check_erasure(case: dict) -> None:
    name, i, o = case["name"], case["inputs"], case.get("outputs")
    if name.startswith("multiply"):
        same("product", erasure.multiply(i["a"], i["b"]), o["product"])
        same("product, slowly", erasure.multiply_slowly(i["a"], i["b"]), o["product"])
    elif name.startswith("invert"):
        same("inverse", erasure.invert(i["a"]), o["inverse"])
        same("product with the inverse", erasure.multiply_slowly(i["a"], o["inverse"]), 1)
    elif name.startswith("encode"):
        payload = unhex(i["payload"])
        same("k", erasure.chunk_count(len(payload)), o["k"])
        for entry in o["chunks"]:
            same(f"chunk {entry['index']}", erasure.encode(payload, entry["index"]), entry["chunk"])
        if len(o["chunks"]) >= o["k"]:
            last = o["chunks"][-o["k"] :]
            same("decoded", decode_chunks(last, len(payload)), i["payload"])
    elif name.startswith("decode"):
        if case.get("must_reject"):
            return refused(lambda: decode_chunks(i["chunks"], i["length"]))
        same("payload", decode_chunks(i["chunks"], i["length"]), o["payload"])
    else:
        raise WrongResult("unknown case")


def decode_chunks(entries: list[dict], length: int) -> bytes:
    decoder = erasure.Decoder(length)
    for entry in entries:
        must(not decoder.is_complete(), "not complete before the last chunk")
        must(decoder.add(entry["index"], unhex(entry["chunk"])), "the chunk is new")
        must(not decoder.add(entry["index"], unhex(entry["chunk"])), "the chunk is ignored the second time")
    must(decoder.is_complete(), "complete")
    return decoder.payload()


def check_braid(case: dict) -> None:
    i = case["inputs"]
    if case.get("must_reject") and "received" not in i:
        return refused(lambda: Message.decode(unhex(i["bytes"])), errors.MALFORMED)
    key = unhex(i["agreement_key"])
    parties = {"initiator": Braid(key, is_initiator=True), "recipient": Braid(key, is_initiator=False)}
    if case.get("must_reject"):
        return check_poisoned_braid(case, parties)
    sent = {}
    for number, step in enumerate(case["outputs"]["steps"]):
        try:
            braid_step(step, parties, sent)
        except WrongResult as wrong:
            raise WrongResult(f"step {number}: {wrong}") from None


def check_poisoned_braid(case: dict, parties: dict) -> None:
    """In each exchange the other side sends first (and draws), then the party named receives what is listed."""
    i, draws = case["inputs"], Draws(case["inputs"]["draws"])
    for number, entry in enumerate(i["received"]):
        receiver = parties[entry["party"]]
        sender = parties["recipient" if entry["party"] == "initiator" else "initiator"]
        honest, _ = sender.send(draws)
        listed = Message.decode(unhex(entry["bytes"]))
        must((honest.type, honest.epoch, honest.index) == (listed.type, listed.epoch, listed.index), "what was sent")
        receiver.receive(listed)
        is_last = number == len(i["received"]) - 1
        same(f"failed after {number}", receiver.state == "Failed", is_last)
    draws.finish()
    same("fails", parties[i["fails"]].state, "Failed")
    refused(lambda: parties[i["fails"]].send(draws), errors.FAILED)


def braid_step(step: dict, parties: dict, sent: dict) -> None:
    party, draws = step["party"], Draws(step.get("draws", []))
    me, output = parties[party], None
    epoch = me.epoch
    match step["op"]:
        case "send":
            message, output = me.send(draws)
            same("bytes", message.encode(), step["bytes"])
            same("epoch after sending", me.epoch, epoch)
            sent[step["message"]] = message.encode()
        case "forge":
            sent[step["message"]] = unhex(step["bytes"])
        case "deliver":
            output = me.receive(Message.decode(sent[step["message"]]))
        case "store_and_load":
            me = parties[party] = copied(me)
        case other:
            raise WrongResult(f"unknown operation {other}")
    same("output", output and {"epoch": epoch, "key": output.hex()}, step["output"])
    same("state", me.state, step["state_after"])
    draws.finish()


# --- session.json -----------------------------------------------------------------------------------------------------


class Party:
    def __init__(self, entry: dict, draws: Draws, remote_certificate: bytes):
        account_seed, signing_seed, identity_secret = (draws.draw(32) for _ in range(3))
        certificate = Certificate.decode(unhex(entry["certificate"])).verify()
        issued = identity.issue_certificate(account_seed, certificate.address, signing_seed, identity_secret)
        same("certificate", issued, entry["certificate"])
        same("identity secret", identity_secret, entry["identity_secret"])
        same("signing seed", signing_seed, entry["signing_seed"])
        ids = {kind: prekey["id"] for kind, prekey in entry["prekeys"].items()}
        made = draw_prekeys(signing_seed, certificate.identity_key, ids, draws)
        for kind, prekey in made.items():
            same_prekey(kind, prekey, entry["prekeys"][kind])
        self.remote = Certificate.decode(remote_certificate)
        self.record = session.Record(self.remote.address)
        self.device = session.Device(
            certificate,
            identity_secret,
            signed={made["signed"].id: made["signed"]},
            one_time={made["one_time"].id: made["one_time"]},
            kem={
                made["one_time_kem"].id: (pk.ONE_TIME, made["one_time_kem"]),
                made["last_resort_kem"].id: (pk.LAST_RESORT, made["last_resort_kem"]),
            },
        )


def session_parties(case: dict) -> dict[str, Party]:
    i, draws = case["inputs"], Draws(case["draws"])
    alice = Party(i["alice"], draws, unhex(i["bob"]["certificate"]))
    bob = Party(i["bob"], draws, unhex(i["alice"]["certificate"]))
    draws.finish()
    return {"alice": alice, "bob": bob}


def check_session(case: dict, all_cases: list[dict]) -> None:
    if case.get("must_reject"):
        base = next(other for other in all_cases if other["name"] == case["inputs"]["as_in"])
        return deliver_tampered(session_parties(base)["bob"], case)
    parties, sent, backups = session_parties(case), {}, {}
    for number, step in enumerate(case["outputs"]["steps"]):
        try:
            if step["op"] == "decrypt" and case["name"] == "tampered: the message itself":
                for other in all_cases:
                    if other["inputs"].get("as_in") == case["name"]:
                        deliver_tampered(parties["bob"], other)
            session_step(step, parties, sent, backups)
        except WrongResult as wrong:
            raise WrongResult(f"step {number}: {wrong}") from None


def deliver_tampered(bob: Party, case: dict) -> None:
    before = frozen(bob)
    message = unhex(case["inputs"]["message"])
    refused(lambda: bob.record.decrypt(bob.device, message, 1_700_000_000_000, Draws([])), case["reason"])
    must(frozen(bob) == before, "a refusal changes nothing")


def session_step(step: dict, parties: dict, sent: dict, backups: dict) -> None:
    name, draws, now = step["party"], Draws(step.get("draws", [])), step["now"]
    me = parties[name]
    match step["op"]:
        case "initiate":
            bundle = bundle_from(step["bundle"])
            same("KEM kind", bundle.kem_kind, step["kem_kind"])
            me.record.initiate(me.device, bundle, me.remote.account_key, now, draws)
        case "encrypt":
            message = me.record.encrypt(unhex(step["content"]), draws)
            same("bytes", message, step["bytes"])
            sent[step["message"]] = message
        case "decrypt":
            message, before = sent[step["message"]], frozen(me)
            if step["result"] == "accepted":
                received = me.record.decrypt(me.device, message, now, draws, step["contact"])
                same("content", received.content, step["content"])
                same("new session", received.new_session, step["new_session"])
                used = received.used and vars(received.used)
                same("used", used, step["used"])
                replay = me.device.replay_records.get(session.last_resort_prekey(message), session.ReplayRecord())
                same("replay record", len(replay.entries), step["replay_record_len"])
                same("strangers in it", len(replay.strangers()), step["replay_record_strangers"])
            else:
                refused(lambda: me.record.decrypt(me.device, message, now, draws, step["contact"]), step["result"])
                must(frozen(me) == before, "a refusal changes nothing")
        case "forge":
            sent[step["message"]] = unhex(step["bytes"])
        case "forget_sessions":
            me.record = session.Record(me.remote.address)
        case "back_up":
            backups[step["backup"]] = copied(me)
        case "restore":
            me = parties[name] = copied(backups[step["backup"]])
        case "store_and_load":
            me = parties[name] = copied(me)
        case other:
            raise WrongResult(f"unknown operation {other}")
    draws.finish()
    after = {"active": me.record.active is not None, "inactive": len(me.record.inactive)}
    same("sessions after", after, step["sessions_after"])


# --- envelope.json, relay_authentication.json -------------------------------------------------------------------------


def check_envelope(case: dict) -> None:
    name, i, o, reject = case["name"], case["inputs"], case.get("outputs"), case.get("must_reject", False)
    if name.startswith("envelope "):
        if reject:
            return refused(lambda: wire.Envelope.decode(unhex(i["protobuf"])))
        source = i["source"] and unhex(i["source"])
        envelope = wire.Envelope(unhex(i["id"]), unhex(i["recipient"]), source, unhex(i["ciphertext"]))
        same("protobuf", envelope.encode(), o["protobuf"])
        must(wire.Envelope.decode(unhex(o["protobuf"])) == envelope, "the protobuf gives the envelope back")
    elif name.startswith("content "):
        if reject:
            return refused(lambda: wire.Content.decode(unhex(i["protobuf"])), errors.MALFORMED)
        lists = [wire.DeviceListState(i[key]["number"], unhex(i[key]["hash"])) for key in ("sender_list", "recipient_list")]
        entry = i["body"] or {}
        content_body = None
        if "text" in entry:
            content_body = wire.Text(entry["text"], tuple(wire.Attachment.of_fields(file) for file in entry.get("attachments", [])))
        elif "delivered" in entry:
            content_body = wire.Receipts(*(tuple(map(unhex, entry[key])) for key in ("delivered", "read")))
        elif entry.get("session_reset"):
            content_body = wire.SessionReset()
        access_key = unhex(i["access_key"]) if "access_key" in i else None
        takes_sealed = i.get("takes_sealed", False)
        content = wire.Content(unhex(i["message_id"]), i["sent_at"], *lists, content_body, access_key, takes_sealed)
        same("protobuf", content.encode(), o["protobuf"])
        must(wire.Content.decode(unhex(o["protobuf"])) == content, "the protobuf gives the content back")
    elif name.startswith("frame "):
        if reject:
            return refused(lambda: wire.parse_client_frame(wire.take_frame(unhex(i["frame"]))[0]))
        frame = wire.encode_frame(unhex(i["body"]))
        same("frame", frame, o["frame"])
        must(wire.take_frame(frame + b"rest") == (unhex(i["body"]), b"rest"), "the frame gives the body back")
        must(all(wire.take_frame(frame[:n]) is None for n in range(len(frame))), "a part of a frame is no frame yet")
        wire.parse_client_frame(unhex(i["body"]))
    elif name.startswith("extension frame "):
        for key, field, told in [("frame", wire.EXTENSION, "body"), ("relay_frame", wire.EXTENSION_ANSWER, "answer")]:
            extension = wire.Extension(i["name"], unhex(i[told]))
            same(key, wire.encode_frame(wire.encode_extension_frame(i["request"], field, extension)), o[key])
        request, field, content = wire.parse_client_frame(wire.take_frame(unhex(o["frame"]))[0])
        must((request, field) == (i["request"], wire.EXTENSION), "the request")
        must(wire.Extension.decode(content) == wire.Extension(i["name"], unhex(i["body"])), "name and body come back")
    elif name.startswith("device report "):
        names = ("model", "system", "system_version", "app_version", "language", "network")
        simulated = tuple((detail["what"], detail["value"]) for detail in i["simulated"])
        report = wire.ReportDevice(tuple(i[part] for part in names), simulated)
        same("protobuf", report.encode(), o["protobuf"])
        must(wire.ReportDevice.decode(unhex(o["protobuf"])) == report, "the protobuf gives the report back")
        extension = wire.Extension("demonstration", report.encode())
        same("frame", wire.encode_frame(wire.encode_extension_frame(i["request"], wire.EXTENSION, extension)), o["frame"])
    elif name.startswith("relay frame "):
        body = wire.take_frame(unhex(o["frame"]))[0]
        same("frame", wire.encode_frame(body), o["frame"])
        request, answer = wire.parse_server_frame(body)
        same("request", request, i["request"])
        if "accepted" in i:
            same("id", answer.hex(), i["accepted"])
        else:
            expected = i["authenticated"]
            occupants = [wire.Occupant(e["account"] and unhex(e["account"]), e["envelopes"], e["bytes"]) for e in expected["largest"]]
            full = wire.FullMailbox(expected["refused"], tuple(occupants)) if expected["refused"] else None
            numbers = [expected[key] for key in ("waiting", "waiting_bytes", "expired", "relay_time")]
            must(answer == wire.Authenticated(*numbers, full), "the fields")
            same("body", wire.encode_server_frame(request, answer), body.hex())
    else:
        raise WrongResult("unknown case")


# --- sealed_sender.json -----------------------------------------------------------------------------------------------


def check_sealed_sender(case: dict) -> None:
    i, o = case["inputs"], case.get("outputs")
    bob = Certificate.decode(unhex(i["recipient_certificate"])).verify()
    secret = unhex(i["recipient_identity_secret"])
    same("identity key", primitives.dh_public(secret), bob.identity_key.hex())
    if case.get("must_reject"):
        return refused(lambda: sealed_sender.open_sender(unhex(i["sealed"]), bob, secret))
    draws, message = Draws(case["draws"]), unhex(i["message"])
    alice, sender_secret = Certificate.decode(unhex(i["sender_certificate"])).verify(), unhex(i["sender_identity_secret"])
    same("sender's identity key", primitives.dh_public(sender_secret), alice.identity_key.hex())
    sealed = sealed_sender.seal_sender(alice, sender_secret, bob, message, draws)
    draws.finish()
    same("sealed", sealed, o["sealed"])
    same("ephemeral", sealed[1:33], o["ephemeral"])
    shared, identity_shared = primitives.DH(secret, sealed[1:33]), primitives.DH(secret, alice.identity_key)
    same("shared", shared, o["shared"])
    same("identity shared", identity_shared, o["identity_shared"])
    outer = sealed_sender.certificate_keys(shared, sealed[1:33], bob)
    names = ("certificate_key", "certificate_nonce", "chaining_key", "certificate_associated_data")
    for what, value in zip(names, (outer.key, outer.nonce, outer.chaining_key, outer.associated_data)):
        same(what, value, o[what])
    inner = sealed_sender.message_keys(outer, identity_shared, sealed[33:294])
    same("certificate hash", primitives.sha256(sealed[33:294]), o["certificate_hash"])
    for what, value in zip(("message_key", "message_nonce", "message_associated_data"), inner):
        same(what, value, o[what])
    sender, opened = sealed_sender.open_sender(sealed, bob, secret)
    same("sender", sender.encoded, i["sender_certificate"])
    same("message", opened, i["message"])


# --- linking.json -----------------------------------------------------------------------------------------------------


def check_linking(case: dict) -> None:
    name, i, o, reject = case["name"], case["inputs"], case.get("outputs"), case.get("must_reject", False)
    if name.startswith("code"):
        if reject:
            return refused(lambda: linking.parse_code(i["text"]))
        parts = tuple(unhex(i[part]) for part in ("relay", "slot", "offer_hash"))
        same("text", linking.code_text(*parts), o["text"])
        return must(linking.parse_code(o["text"]) == parts, "the parts")
    if name.startswith("offer"):
        return refused(lambda: linking.Offer.decode(unhex(i["offer"]), unhex(i["offer_hash"])))
    if name.startswith("answer"):
        return refused(lambda: linking.NewDevice(i["name"], Draws(i["offer_draws"])).accept(unhex(i["answer"])))
    if name.startswith("welcome"):
        return refused(lambda: linking.open_welcome(unhex(i["sync_key"]), unhex(i["welcome"])))
    address, seed = unhex(i["address"]), unhex(i["account_seed"])
    if name.startswith("confirm"):
        offer = unhex(i["offer"])
        offer = linking.Offer.decode(offer, primitives.sha256(offer))
        existing = linking.Linking(offer, address, seed, Draws(i["answer_draws"]))
        return refused(lambda: existing.confirm(i["digits"], unhex(i["consent"])))
    draws = Draws(i["offer_draws"])
    new = linking.NewDevice(i["name"], draws)
    draws.finish()
    same("offer", new.offer.encoded, o["offer"])
    same("hash", primitives.sha256(new.offer.encoded), o["offer_hash"])
    draws = Draws(i["answer_draws"])
    existing = linking.Linking(linking.Offer.decode(unhex(o["offer"]), unhex(o["offer_hash"])), address, seed, draws)
    draws.finish()
    same("answer", existing.answer, o["answer"])
    keys, body, consent = new.accept(existing.answer)
    same("digits", keys.digits, o["digits"])
    same("sync key", keys.sync, o["sync_key"])
    same("sync key of the other", existing.keys.sync, o["sync_key"])
    same("consent", consent, o["consent"])
    content = unhex(i["welcome_content"])
    same("welcome", linking.seal_welcome(keys.sync, content), o["welcome"])
    must(linking.open_welcome(existing.keys.sync, unhex(o["welcome"])) == content, "the welcome")
    certificate = existing.confirm(keys.digits, consent)
    same("certificate", certificate, o["certificate"])
    must(certificate[:117] == body, "both mean the same certificate")


# --- group_operation.json ---------------------------------------------------------------------------------------------


def check_group_operation(case: dict) -> None:
    i, o = case["inputs"], case.get("outputs")
    if case.get("must_reject"):
        return refused(lambda: group_operation.decode(unhex(i["operation"])))
    body = {name: unhex(value) if isinstance(value, str) else value for name, value in i["body"].items()}
    operation = group_operation.Operation(
        unhex(i["group"] or "00" * 32),
        [unhex(parent) for parent in i["parents"]],
        i["lamport"],
        unhex(i["author"]),
        i["device"] or 0,
        unhex(i["device_list"]),
        unhex(i["stint"] or "00" * 32),
        i["kind"],
        body,
    )
    same("operation", operation.sign(unhex(i["seed"])), o["operation"])
    same("id", operation.id, o["id"])
    same("group", operation.id if i["kind"] == "create" else operation.group, o["group"])
    decoded, signature = group_operation.decode(unhex(o["operation"]))
    must(decoded == operation, "decoded")
    key = primitives.signing_public(unhex(i["seed"]))
    must(group_operation.is_authentic(decoded, signature, key), "signature")


# --- roster.json ------------------------------------------------------------------------------------------------------


def check_roster(case: dict) -> None:
    result = roster.resolve(case["inputs"]["group"], case["inputs"]["operations"])
    for what, expected in case["outputs"].items():
        must(result[what] == expected, f"{what}: {result[what]}")


# --- attachment.json --------------------------------------------------------------------------------------------------


def file_of(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def check_attachment(case: dict) -> None:
    i, o = case["inputs"], case.get("outputs")
    if "readers" in i:
        draws = Draws(case["draws"])
        secret = draws.draw(32)
        draws.finish()
        for reader, told in zip([*map(unhex, i["readers"]), None], [*o["each"], o["shared"]], strict=True):
            capability = attachment.capability(secret, reader)
            same("capability", capability, told["capability"])
            same("hash of the capability", primitives.sha256(capability), told["hash"])
        return None
    size = i["size"]
    if case.get("must_reject"):
        if "file_key" not in i:
            return refused(lambda: attachment.blob_length(size))
        key, digest = unhex(i["file_key"]), unhex(i["digest"])
        if "blob" in i:
            blob = unhex(i["blob"])
        else:
            header, chunks = attachment.seal_file(key, file_of(size))
            blob = header + b"".join(chunks[index] for index in i["chunk_order"])
            same("digest", primitives.sha256(blob), i["digest"])
        return refused(lambda: attachment.open_file(key, size, digest, blob))
    same("blob length", attachment.blob_length(size), o["blob_length"])
    if "draws" not in case:
        return None
    draws = Draws(case["draws"])
    key = draws.draw(32)
    draws.finish()
    same("key", attachment.expand(key)[0], o["key"])
    same("commitment", attachment.expand(key)[1], o["commitment"])
    header, chunks = attachment.seal_file(key, file_of(size))
    blob = header + b"".join(chunks)
    same("length", len(blob), o["blob_length"])
    same("chunk hashes", [primitives.sha256(chunk).hex() for chunk in chunks], o["chunk_hashes"])
    same("digest", primitives.sha256(blob), o["digest"])
    if "blob" in o:
        same("blob", blob, o["blob"])
    must(attachment.open_file(key, size, unhex(o["digest"]), blob) == file_of(size), "opens")


def check_relay_authentication(case: dict) -> None:
    i = case["inputs"]
    address, challenge, exporter, key = (unhex(i[k]) for k in ("address", "challenge", "exporter", "signing_key"))
    if case.get("must_reject"):
        authentic = relay_auth.is_authentic(key, address, challenge, exporter, unhex(i["signature"]))
        return must(not authentic, "was not refused")
    draws = Draws(case["draws"])
    seed, _identity_secret = draws.draw(32), draws.draw(32)
    draws.finish()
    same("signing key", primitives.signing_public(seed), i["signing_key"])
    same("statement", relay_auth.statement(address, challenge, exporter), case["outputs"]["statement"])
    signature = relay_auth.authenticate(seed, address, challenge, exporter)
    same("signature", signature, case["outputs"]["signature"])
    must(relay_auth.is_authentic(key, address, challenge, exporter, signature), "authentic")


# --- the model itself -------------------------------------------------------------------------------------------------


def self_checks() -> list[tuple[str, object]]:
    """What the vectors cannot show: that the plain ML-KEM and XChaCha20 here are the standard ones."""
    from cryptography.hazmat.primitives.asymmetric import mlkem as other

    def ml_kem(p: mlkem.Parameters, private_class, public_class) -> None:
        rng = primitives.SystemRandom()
        for _ in range(5):
            seed, m = rng.draw(64), rng.draw(32)
            private = private_class.from_seed_bytes(seed)
            ek, _ = mlkem.keygen(p, seed)
            same("public key", ek, private.public_key().public_bytes_raw().hex())
            ciphertext, shared = mlkem.encapsulate(p, ek, m)
            same("their decapsulation of ours", private.decapsulate(ciphertext), shared.hex())
            theirs_shared, theirs = public_class.from_public_bytes(ek).encapsulate()
            if len(theirs_shared) != 32:  # the order of the pair differs between versions of the library
                theirs_shared, theirs = theirs, theirs_shared
            same("our decapsulation of theirs", mlkem.decapsulate(p, seed, theirs), theirs_shared.hex())
            bad = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
            same("implicit rejection", mlkem.decapsulate(p, seed, bad), private.decapsulate(bad).hex())

    def hchacha20() -> None:
        # draft-irtf-cfrg-xchacha-03, section 2.2.1
        out = primitives.hchacha20(bytes(range(32)), unhex("000000090000004a0000000031415927"))
        same("HChaCha20", out, "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")

    def labels_are_prefix_free() -> None:
        all_labels = [labels.L(purpose) for purpose in labels.PURPOSES]
        must(len(set(all_labels)) == len(labels.PURPOSES) and all(len(label) == 32 for label in all_labels), "labels")

    def field() -> None:
        rng = primitives.SystemRandom()
        for _ in range(200):
            a, b = (int.from_bytes(rng.draw(2), "big") for _ in range(2))
            same("product", erasure.multiply(a, b), erasure.multiply_slowly(a, b))

    return [
        ("ML-KEM-768 agrees with `cryptography`", lambda: ml_kem(mlkem.ML_KEM_768, other.MLKEM768PrivateKey, other.MLKEM768PublicKey)),
        ("ML-KEM-1024 agrees with `cryptography`", lambda: ml_kem(mlkem.ML_KEM_1024, other.MLKEM1024PrivateKey, other.MLKEM1024PublicKey)),
        ("HChaCha20 has the draft's result", hchacha20),
        ("labels differ and are not prefixes", labels_are_prefix_free),
        ("both multiplications agree", field),
    ]


# --- all --------------------------------------------------------------------------------------------------------------

CHECKS = {
    "encodings": check_encodings,
    "keys": check_keys,
    "identity": check_identity,
    "safety_number": check_safety_number,
    "relay_url": check_relay_url,
    "invite": check_invite,
    "prekeys": check_prekeys,
    "pqxdh": check_pqxdh,
    "padding": check_padding,
    "kdf": check_kdf,
    "header": check_header,
    "ratchet": check_ratchet,
    "pq_ratchet": check_pq_ratchet,
    "erasure": check_erasure,
    "braid": check_braid,
    "session": check_session,
    "envelope": check_envelope,
    "attachment": check_attachment,
    "group_operation": check_group_operation,
    "roster": check_roster,
    "linking": check_linking,
    "sealed_sender": check_sealed_sender,
    "relay_authentication": check_relay_authentication,
}


def run(name: str, action, verbose: bool) -> bool:
    try:
        action()
        return True
    except Exception as problem:  # also a defect of the model counts as a failure of the case
        print(f"  FAILED {name}: {type(problem).__name__}: {problem}")
        if verbose:
            traceback.print_exc()
        return False


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if argument != "-v"]
    verbose = "-v" in sys.argv
    directory = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent / "vectors"
    files = {path.stem: path for path in sorted(directory.glob("*.json"))}
    passed = failed = 0

    results = [run(name, action, verbose) for name, action in self_checks()]
    passed, failed = passed + sum(results), failed + len(results) - sum(results)
    print(f"{'model itself':24} {sum(results):4} passed, {len(results) - sum(results)} failed")

    for stem in sorted(set(files) | set(CHECKS)):
        if stem not in files or stem not in CHECKS:
            print(f"  FAILED {stem}: {'there is no such file' if stem in CHECKS else 'nothing here checks this file'}")
            failed += 1
            continue
        content = json.loads(files[stem].read_text())
        cases, check = content["cases"], CHECKS[stem]
        same("layer", content["layer"], stem)
        same("version", content["version"], 1)
        must(bool(cases), "a file has cases")
        results = []
        for case in cases:
            extra = (cases,) if check is check_session else ()
            results.append(run(f"{stem}: {case['name']}", lambda: check(case, *extra), verbose))
        rejected = sum(1 for case in cases if case.get("must_reject"))
        good = sum(results)
        print(f"{stem:24} {good:4} passed, {len(results) - good} failed ({rejected} of them must be refused)")
        passed, failed = passed + good, failed + len(results) - good

    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
