//! Every label of the protocol (PROTOCOL.md, Labels), each for one purpose [KV-004]. All have 32 bytes, so distinct labels are prefix-free; the labels of
//! the statements that keys sign besides prekeys are in `kuvert_types::label`, those of the post-quantum ratchet beside it.

use kuvert_types::{Label, label};

/// Device signing key over a signed curve prekey.
pub const SIGNED_PREKEY: Label = label("Kuvert/1 signed prekey");
/// Device signing key over a one-time KEM prekey.
pub const ONE_TIME_KEM_PREKEY: Label = label("Kuvert/1 one-time KEM prekey");
/// Device signing key over a last-resort KEM prekey.
pub const LAST_RESORT_KEM_PREKEY: Label = label("Kuvert/1 last-resort KEM prekey");
/// Hash of everything that a key agreement is about.
pub const TRANSCRIPT: Label = label("Kuvert/1 PQXDH transcript");
/// From the key agreement's inputs to the session's secret SK.
pub const SESSION_SECRET: Label = label("Kuvert/1 PQXDH session secret");
/// From SK to the first root key and header keys.
pub const RATCHET_KEYS: Label = label("Kuvert/1 ratchet keys");
/// From SK to what the post-quantum ratchet starts from.
pub const PQ_RATCHET_SECRET: Label = label("Kuvert/1 pq ratchet secret");
/// Name of SK in the replay record.
pub const REPLAY: Label = label("Kuvert/1 replay tag");
/// Step of the root chain.
pub const ROOT_STEP: Label = label("Kuvert/1 root step");
/// From the two message keys to key and nonce of a body.
pub const BODY_KEY: Label = label("Kuvert/1 body key");
/// Associated data of a body.
pub const ASSOCIATED_DATA: Label = label("Kuvert/1 associated data");
/// From a Diffie–Hellman with the recipient's identity key to key and nonce of a sender's certificate, and a chaining key.
pub const SEALED_CERTIFICATE: Label = label("Kuvert/1 sealed certificate");
/// From the chaining key and a Diffie–Hellman of both identity keys to key and nonce of the message beside that certificate.
pub const SEALED_MESSAGE: Label = label("Kuvert/1 sealed message");
/// From a file key to the key of its chunks and the commitment to it.
pub const ATTACHMENT: Label = label("Kuvert/1 attachment");
/// From the secret of an upload to the capability of a reader.
pub const BLOB_CAPABILITY: Label = label("Kuvert/1 blob capability");
/// Hash over what both devices sent when one links the other.
pub const LINK_TRANSCRIPT: Label = label("Kuvert/1 link transcript");
/// From the two secrets of linking to its keys and digits.
pub const LINK_KEYS: Label = label("Kuvert/1 link keys");
/// Device or account key over an operation of a group; the operation's id is the hash of the same.
pub const GROUP_OPERATION: Label = label("Kuvert/1 group operation");
/// The number that people compare.
pub const SAFETY_NUMBER: Label = label("Kuvert/1 safety number");
/// An account key in an invite link.
pub const ACCOUNT_FINGERPRINT: Label = label("Kuvert/1 account fingerprint");

/// Every label defined here, for the test that all labels differ.
pub const ALL: [Label; 20] = [
    SIGNED_PREKEY,
    ONE_TIME_KEM_PREKEY,
    LAST_RESORT_KEM_PREKEY,
    TRANSCRIPT,
    SESSION_SECRET,
    RATCHET_KEYS,
    PQ_RATCHET_SECRET,
    REPLAY,
    ROOT_STEP,
    BODY_KEY,
    ASSOCIATED_DATA,
    SEALED_CERTIFICATE,
    SEALED_MESSAGE,
    ATTACHMENT,
    BLOB_CAPABILITY,
    LINK_TRANSCRIPT,
    LINK_KEYS,
    GROUP_OPERATION,
    SAFETY_NUMBER,
    ACCOUNT_FINGERPRINT,
];

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    #[test]
    fn all_labels_of_all_crates_differ() {
        let all: alloc::vec::Vec<_> =
            [super::ALL.as_slice(), &kuvert_types::label::ALL, &crate::pq_ratchet::LABELS].concat();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|label| label.starts_with(b"Kuvert/1 ")));
        // The TLS exporter's label is the one that is not padded; no padded label starts like it.
        assert!(all.iter().all(|label| !label.starts_with(b"EXPORTER")));
    }
}
