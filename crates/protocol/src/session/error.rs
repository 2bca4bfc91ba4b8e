//! Why a session refuses. Nothing here holds key material or content.

use core::convert::Infallible;

use kuvert_types::AccountKey;

use crate::scka::SckaFailure;

/// Why no session could be begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitiateError {
    /// The bundle is for another device than the one that the record's sessions are with.
    #[error("the prekey bundle is for another device than this session record")]
    OtherDevice,
    /// The bundle carries another account key than the record's sessions. Let the user decide. To accept the new key,
    /// start with a new record.
    #[error("the account key has changed")]
    IdentityChanged {
        /// The key of the sessions there are.
        known: AccountKey,
        /// The key in the bundle.
        presented: AccountKey,
    },
    /// A key agreement gave zero, which the checks of a bundle rule out.
    #[error("the key agreement failed")]
    KeyAgreement,
}

/// Why a message could not be encrypted. The record is unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptError {
    /// There is no active session: begin one with a prekey bundle.
    #[error("no active session")]
    NoSession,
    /// The content is longer than [`MAX_CONTENT_LEN`](crate::message::MAX_CONTENT_LEN).
    #[error("the content is too long")]
    TooLong,
    /// 2^32 messages went out without an answer: begin a new session.
    #[error("the session has no message keys left")]
    Exhausted,
    /// The post-quantum ratchet stopped because the other side broke the protocol: begin a new session and tell the user.
    #[error("the post-quantum ratchet has failed: {0}")]
    PqFailed(SckaFailure),
}

/// Why a message could not be decrypted. Record and replay record are unchanged, byte for byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// The bytes are no session message, or an authentic header or content breaks the rules of its layout. Drop it.
    #[error("malformed message")]
    Malformed,
    /// The first message's certificate or identity key is false, or its ephemeral key lies outside of the prime-order group
    /// (other bad spellings of a key are [`Malformed`](Self::Malformed)). Drop it.
    #[error("the first message's keys or certificate are invalid")]
    InvalidHandshake,
    /// The first message used a prekey that is not there: used before, expired, or never made. A replay, or the sender had
    /// an outdated bundle: a new session from our side mends that.
    #[error("the prekey of this message is not known any more")]
    UnknownPrekey,
    /// A first message with a last-resort key that was accepted before. Drop it.
    #[error("replayed first message")]
    Replayed,
    /// The sender's budget in the replay record of the last-resort prekey is used up, or that of all strangers [KV-059]. The
    /// next last-resort prekey has a record of its own; a new session from our side reaches the sender meanwhile.
    #[error("the replay record has no room left for this sender")]
    ReplayRecordFull,
    /// The message was received before, or is so late that its key is gone. Drop it.
    #[error("duplicate message")]
    Duplicate,
    /// The certificate in the message, or the session, is for another address than the sender's, or for this very device.
    #[error("the message does not come from the device that it claims")]
    AccountMismatch,
    /// The first message comes under another account key than the record's sessions [KV-054]. Let the user decide. To
    /// accept the new key, start with a new record and try again.
    #[error("the account key has changed")]
    IdentityChanged {
        /// The key of the sessions there are.
        known: AccountKey,
        /// The key in the message.
        presented: AccountKey,
    },
    /// There is no session with this device. A new one from our side mends that.
    #[error("no session with this device")]
    NoSession,
    /// No session opens the message: forged, damaged, or the two sides have lost each other, for example because one was
    /// restored from a backup. A new session from our side, rate-limited, mends it.
    #[error("the message cannot be decrypted")]
    Undecryptable,
    /// More than 1,000 messages are missing before this one. A new session mends it.
    #[error("too many messages are missing before this one")]
    TooManySkipped,
    /// The session's post-quantum ratchet has stopped: the other side broke the protocol. Tell the user; only a new session
    /// helps.
    #[error("the post-quantum ratchet has failed: {0}")]
    PqAuthFailed(SckaFailure),
}

/// Why [`SessionRecord::decrypt`](super::SessionRecord::decrypt) gave no content. There is no third way: what may grow is
/// [`DecryptError`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecryptFailure<E> {
    /// The message is refused.
    #[error(transparent)]
    Refused(#[from] DecryptError),
    /// The store of the prekeys could not look. The message is not to blame: try it again.
    #[error("the prekeys cannot be read")]
    Store(#[source] E),
}

/// A store that cannot fail leaves one reason.
impl From<DecryptFailure<Infallible>> for DecryptError {
    fn from(failure: DecryptFailure<Infallible>) -> Self {
        match failure {
            DecryptFailure::Refused(error) => error,
            DecryptFailure::Store(never) => match never {},
        }
    }
}
