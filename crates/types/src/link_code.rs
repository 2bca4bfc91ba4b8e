//! `kuvert-link:1?relay=FINGERPRINT#…`: what a new device shows, so that a device of the account can link it.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use data_encoding::BASE64URL_NOPAD;

use crate::relay_url::RelayUrl;

const SCHEME: &str = "kuvert-link:1?relay=";
const SLOT_LEN: usize = 16;
const HASH_LEN: usize = 32;

/// Where a new device left its offer, and which offer it is. The scheme is read by nothing else, and it reads no other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkCode {
    /// The relay, by the SHA-256 of its key.
    pub relay: [u8; 32],
    /// The place at the relay: 16 random bytes.
    pub slot: [u8; SLOT_LEN],
    /// SHA-256 of the offer.
    pub offer: [u8; HASH_LEN],
}

/// Why a text is no link code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkCodeError {
    /// Another scheme: an invite link, a relay's address, or a link code of a newer version.
    #[error("a code that links a device starts with {SCHEME}")]
    Scheme,
    /// The relay's part.
    #[error("the relay in the code is no fingerprint of 43 characters")]
    Relay,
    /// What follows it.
    #[error("the code ends with # and 64 characters")]
    Offer,
}

impl fmt::Display for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut end = [0; SLOT_LEN + HASH_LEN];
        end[..SLOT_LEN].copy_from_slice(&self.slot);
        end[SLOT_LEN..].copy_from_slice(&self.offer);
        let relay: String = BASE64URL_NOPAD.encode(&self.relay);
        write!(f, "{SCHEME}{relay}#{}", BASE64URL_NOPAD.encode(&end))
    }
}

impl FromStr for LinkCode {
    type Err = LinkCodeError;

    /// [KV-113] One spelling.
    fn from_str(text: &str) -> Result<Self, LinkCodeError> {
        let rest = text.trim().strip_prefix(SCHEME).ok_or(LinkCodeError::Scheme)?;
        let (relay, end) = rest.split_once('#').ok_or(LinkCodeError::Offer)?;
        let relay = RelayUrl::parse_fingerprint(relay).map_err(|_| LinkCodeError::Relay)?;
        let end = BASE64URL_NOPAD.decode(end.as_bytes()).map_err(|_| LinkCodeError::Offer)?;
        let (slot, offer) = end.split_first_chunk().ok_or(LinkCodeError::Offer)?;
        Ok(Self { relay, slot: *slot, offer: offer.try_into().map_err(|_| LinkCodeError::Offer)? })
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn round_trips_and_names_what_is_wrong() {
        let code = LinkCode { relay: [1; 32], slot: [2; 16], offer: [3; 32] };
        let text = code.to_string();
        assert_eq!(text.parse(), Ok(code));
        assert_eq!(text.len(), SCHEME.len() + 43 + 1 + 64);
        let parse = |text: &str| text.parse::<LinkCode>().unwrap_err();
        assert_eq!(parse(&text.replace("link:1", "link:2")), LinkCodeError::Scheme);
        assert_eq!(parse("kuvert://relay.example:4433#x"), LinkCodeError::Scheme);
        assert_eq!(parse(&text.replacen("=A", "=", 1)), LinkCodeError::Relay);
        assert_eq!(parse(&text[..text.len() - 1]), LinkCodeError::Offer);
        assert_eq!(parse(&text[..text.len() - 4]), LinkCodeError::Offer);
        assert_eq!(parse(&alloc::format!("{text}AAAA")), LinkCodeError::Offer);
    }

    #[test]
    fn no_other_link_is_a_link_code_nor_the_other_way_round() {
        let code = LinkCode { relay: [1; 32], slot: [2; 16], offer: [3; 32] }.to_string();
        assert!(code.parse::<RelayUrl>().is_err());
        let relay = RelayUrl { host: "h".into(), port: 1, fingerprint: [7; 32] }.to_string();
        assert_eq!(relay.parse::<LinkCode>(), Err(LinkCodeError::Scheme));
    }
}
