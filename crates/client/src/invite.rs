//! Invite links: a relay's address, an account, and the fingerprint of its account key. A contact that is added by a link
//! that came over a trusted way (paper, a scan, another messenger) is verified at once.
//!
//! `kuvert://HOST:PORT/contact/ACCOUNT/FINGERPRINT[?name=NAME]#RELAYFINGERPRINT`, account and fingerprint in lower-case
//! base 32 without padding.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use kuvert_types::limits::is_valid_name;
use kuvert_types::{AccountId, RelayUrl};

/// A link that tells others where and who an account is, and by which key to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InviteLink {
    /// The relay that keeps the account's mail.
    pub relay: RelayUrl,
    /// The account.
    pub account: AccountId,
    /// `kuvert_protocol::account_key_fingerprint`.
    pub fingerprint: [u8; 32],
    /// The account's name at the relay: a suggestion for the alias.
    pub name: Option<String>,
}

/// Why a text is not an invite link.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InviteLinkError {
    /// Something is missing before the account.
    #[error("an invite link reads kuvert://HOST:PORT/contact/ACCOUNT/FINGERPRINT#RELAY")]
    Shape,
    /// The part before `/contact/` and after `#` is not a relay's address.
    #[error("the relay's address in the link: {0}")]
    Relay(kuvert_types::relay_url::RelayUrlError),
    /// Not 26 characters of base 32.
    #[error("the account in the link has to be 26 characters of base 32")]
    Account,
    /// Not 52 characters of base 32.
    #[error("the account key's fingerprint in the link has to be 52 characters of base 32")]
    Fingerprint,
    /// Not a valid name, or an unknown parameter.
    #[error("only ?name=NAME may follow the fingerprint")]
    Name,
}

const CONTACT: &str = "/contact/";

impl InviteLink {
    /// Whether a text that names a contact is meant as a link.
    pub fn looks_like(text: &str) -> bool {
        text.trim_start().starts_with("kuvert:")
    }
}

impl fmt::Display for InviteLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fingerprint = BASE32_NOPAD.encode(&self.fingerprint);
        fingerprint.make_ascii_lowercase();
        write!(f, "kuvert://{}{CONTACT}{}/{fingerprint}", self.relay.host_port(), self.account)?;
        if let Some(name) = &self.name {
            write!(f, "?name={name}")?;
        }
        write!(f, "#{}", self.relay.fingerprint_text())
    }
}

impl FromStr for InviteLink {
    type Err = InviteLinkError;

    fn from_str(text: &str) -> Result<Self, InviteLinkError> {
        let (front, relay_fingerprint) = text.trim().split_once('#').ok_or(InviteLinkError::Shape)?;
        let (relay, path) = front.split_once(CONTACT).ok_or(InviteLinkError::Shape)?;
        let relay = format!("{relay}#{relay_fingerprint}").parse().map_err(InviteLinkError::Relay)?;
        let (path, name) = match path.split_once('?') {
            None => (path, None),
            Some((path, query)) => {
                let name = query.strip_prefix("name=").filter(|name| is_valid_name(name));
                (path, Some(name.ok_or(InviteLinkError::Name)?.to_owned()))
            }
        };
        let (account, fingerprint) = path.split_once('/').ok_or(InviteLinkError::Shape)?;
        let account = account.parse().map_err(|_| InviteLinkError::Account)?;
        let fingerprint = BASE32_NOPAD
            .decode(fingerprint.to_ascii_uppercase().as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(InviteLinkError::Fingerprint)?;
        Ok(Self { relay, account, fingerprint, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: Option<&str>) -> InviteLink {
        InviteLink {
            relay: RelayUrl { host: "::1".into(), port: 4433, fingerprint: [9; 32] },
            account: AccountId::from_bytes([3; 16]),
            fingerprint: [0xE7; 32],
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn round_trips_with_and_without_name() {
        for link in [link(None), link(Some("bob.1"))] {
            assert_eq!(link.to_string().parse(), Ok(link));
        }
    }

    #[test]
    fn names_what_is_wrong() {
        let good = link(Some("bob")).to_string();
        let parse = |text: &str| text.parse::<InviteLink>();
        assert_eq!(
            parse(&good.replace("kuvert://", "http://")).map_err(|e| matches!(e, InviteLinkError::Relay(_))),
            Err(true)
        );
        assert_eq!(parse(&good.replace("/contact/", "/c/")), Err(InviteLinkError::Shape));
        assert_eq!(parse(&good.replace("name=bob", "name=Bob")), Err(InviteLinkError::Name));
        assert_eq!(parse(&good.replace("name=bob", "x=bob")), Err(InviteLinkError::Name));
        let account = link(None).account.to_string();
        assert_eq!(parse(&good.replace(&account, &account[1..])), Err(InviteLinkError::Account));
        let cut = good.find('?').unwrap();
        assert_eq!(parse(&[&good[..cut - 1], &good[cut..]].concat()), Err(InviteLinkError::Fingerprint));
        assert_eq!(parse(&good[..good.find('#').unwrap()]), Err(InviteLinkError::Shape));
    }

    #[test]
    fn every_truncation_is_refused() {
        let good = link(Some("bob")).to_string();
        for end in 0..good.len() {
            assert!(good[..end].parse::<InviteLink>().is_err(), "{end}");
        }
    }
}
