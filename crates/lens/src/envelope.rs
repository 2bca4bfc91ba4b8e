//! How large messages are: by the encodings and the padding that real clients use. Nothing is encrypted, because only the
//! size is seen.

use bytes::Bytes;
use kuvert_protocol::message::{PREKEY_MESSAGE_OVERHEAD, RATCHET_MESSAGE_OVERHEAD};
use kuvert_protocol::padding::padded_len;
use kuvert_protocol::sealed_sender;
use kuvert_types::limits::MAX_CIPHERTEXT_BYTES;
use kuvert_types::{AccessKey, AccountId, Address, DeviceId, EnvelopeId};
use kuvert_wire::{checked, v1};
use prost::Message as _;

use crate::policy::Policy;

/// Bytes that let a sender submit without saying who it is: the access key beside the envelope, its tag and its length.
pub const ACCESS_KEY_BYTES: usize = 2 + AccessKey::LEN;

/// What is in an envelope.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// The first message of a session: a text with a handshake.
    First,
    /// A text.
    Text,
    /// Receipts.
    Receipt,
}

/// Computes sizes under a policy.
#[derive(Debug)]
pub struct Sizes {
    policy: Policy,
    text: v1::Content,
    receipts: v1::Content,
    envelope: v1::Envelope,
}

impl Sizes {
    /// For clients with this policy.
    pub fn new(policy: Policy) -> Self {
        let list = || Some(v1::DeviceListState { number: 1, hash: Bytes::from_static(&[0; 32]) });
        let content = |body| v1::Content {
            message_id: Bytes::from_static(&[0; 16]),
            sent_at: crate::traffic::START_MS,
            sender_list: list(),
            recipient_list: list(),
            body: Some(body),
            // A home tells its own key in every content.
            access_key: Some(Bytes::from_static(&[0; AccessKey::LEN])),
            takes_sealed: policy.sealed_sender,
        };
        let address = Address { account: AccountId::from_bytes([0; 16]), device: DeviceId::PRIMARY };
        let envelope = v1::Envelope::from(checked::Envelope {
            id: EnvelopeId::from_bytes([0; 16]),
            recipient: address,
            source: (!policy.sealed_sender).then_some(address),
            ciphertext: Bytes::new(),
        });
        Self {
            policy,
            text: content(v1::content::Body::Text(v1::Text::default())),
            receipts: content(v1::content::Body::Receipts(v1::Receipts::default())),
            envelope,
        }
    }

    /// Bytes of ciphertext of a text of `bytes` bytes.
    pub fn text(&mut self, bytes: usize, first: bool) -> usize {
        if let Some(v1::content::Body::Text(text)) = &mut self.text.body {
            text.text.clear();
            text.text.extend(std::iter::repeat_n('x', bytes));
        }
        let content = self.text.encoded_len();
        self.sealed(content, if first { PREKEY_MESSAGE_OVERHEAD } else { RATCHET_MESSAGE_OVERHEAD })
    }

    /// Bytes of ciphertext of one content with receipts for `count` texts.
    pub fn receipts(&mut self, count: usize) -> usize {
        if let Some(v1::content::Body::Receipts(receipts)) = &mut self.receipts.body {
            receipts.delivered.resize(count, Bytes::from_static(&[0; 16]));
        }
        let content = self.receipts.encoded_len();
        self.sealed(content, RATCHET_MESSAGE_OVERHEAD)
    }

    fn sealed(&self, content: usize, overhead: usize) -> usize {
        let content = if self.policy.padded { padded_len(content) } else { content };
        let around = if self.policy.sealed_sender { sealed_sender::OVERHEAD } else { 0 };
        (content + overhead + around).min(MAX_CIPHERTEXT_BYTES)
    }

    /// Bytes that an envelope with so much ciphertext takes on its way to the relay.
    pub fn on_the_wire(&mut self, ciphertext: usize) -> usize {
        static ZEROS: [u8; MAX_CIPHERTEXT_BYTES] = [0; MAX_CIPHERTEXT_BYTES];
        self.envelope.ciphertext = Bytes::from_static(&ZEROS[..ciphertext.min(ZEROS.len())]);
        self.envelope.encoded_len() + ACCESS_KEY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Receipts;
    use kuvert_privacy::registry::Level;

    /// `Content.takes_sealed`: a field number and a 1.
    const TAKES_SEALED_BYTES: usize = 2;

    #[test]
    fn padding_makes_short_texts_and_receipts_alike_and_nothing_else_does() {
        let sizes = |level| {
            let mut sizes = Sizes::new(Policy::of(level, Receipts::Jittered));
            [sizes.text(20, false), sizes.text(120, false), sizes.receipts(1), sizes.text(20, true)]
        };
        let [short, longer, receipt, first] = sizes(Level::L3);
        assert!(
            short == longer && short == receipt && short == 512 + RATCHET_MESSAGE_OVERHEAD + sealed_sender::OVERHEAD
        );
        assert_eq!(first, 512 + PREKEY_MESSAGE_OVERHEAD + sealed_sender::OVERHEAD);
        let [short, longer, receipt, _] = sizes(Level::L0);
        assert!(longer == short + 100 && receipt != short);
        assert_eq!(
            sizes(Level::L2)[0],
            short + sealed_sender::OVERHEAD + TAKES_SEALED_BYTES,
            "and what the key that others are told is good for"
        );
    }

    #[test]
    fn on_the_wire_an_envelope_is_a_little_more_than_its_ciphertext() {
        for level in Level::ALL {
            let mut sizes = Sizes::new(Policy::of(*level, Receipts::Off));
            let more = sizes.on_the_wire(762) - 762;
            assert!((50..120).contains(&more), "{level}: {more}");
        }
    }
}
