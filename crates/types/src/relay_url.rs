//! `kuvert://host:port#fingerprint`: where a relay listens, and which key it must show.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use data_encoding::BASE64URL_NOPAD;

use crate::reader::{DecodeError, decimal};

/// Where a relay listens and the SHA-256 of its TLS key (the certificate's SubjectPublicKeyInfo, DER).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RelayUrl {
    /// Host name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// SHA-256 of the key that the relay must prove to hold.
    pub fingerprint: [u8; 32],
}

/// Why a text is not a relay's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayUrlError {
    /// Does not start with `kuvert://`.
    #[error("a relay address starts with kuvert://")]
    Scheme,
    /// No or no valid `host:port`.
    #[error("a relay address holds host:port after kuvert://")]
    HostPort,
    /// No or no valid `#fingerprint`.
    #[error("a relay address ends with # and the 43 characters of the relay's fingerprint")]
    Fingerprint,
}

impl RelayUrl {
    /// The fingerprint as the 43 characters that people copy (base 64 URL alphabet, no padding).
    pub fn fingerprint_text(&self) -> String {
        BASE64URL_NOPAD.encode(&self.fingerprint)
    }

    /// Reads the 43 characters.
    ///
    /// # Errors
    /// [`DecodeError::Value`]: other characters. [`DecodeError::Length`]: not 32 bytes.
    pub fn parse_fingerprint(text: &str) -> Result<[u8; 32], DecodeError> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| DecodeError::Value)?;
        bytes.try_into().map_err(|_| DecodeError::Length)
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn host_port(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { alloc::format!("[{host}]:{port}") } else { alloc::format!("{host}:{port}") }
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kuvert://{}#{}", self.host_port(), self.fingerprint_text())
    }
}

impl FromStr for RelayUrl {
    type Err = RelayUrlError;

    /// [KV-019] Brackets around an IPv6 address, and always a fingerprint.
    fn from_str(text: &str) -> Result<Self, RelayUrlError> {
        let rest = text.trim().strip_prefix("kuvert://").ok_or(RelayUrlError::Scheme)?;
        let (host_port, fingerprint) = rest.split_once('#').ok_or(RelayUrlError::Fingerprint)?;
        let (host, port) = host_port.rsplit_once(':').ok_or(RelayUrlError::HostPort)?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) if inner.contains(':') => inner,
            None if !host.contains(':') => host,
            _ => return Err(RelayUrlError::HostPort),
        };
        let plausible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '%' | '_');
        if host.is_empty() || !host.chars().all(plausible) {
            return Err(RelayUrlError::HostPort);
        }
        let port = decimal(port).and_then(|port| u16::try_from(port).ok()).ok_or(RelayUrlError::HostPort)?;
        let fingerprint = Self::parse_fingerprint(fingerprint).map_err(|_| RelayUrlError::Fingerprint)?;
        Ok(Self { host: host.to_string(), port, fingerprint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for host in ["localhost", "127.0.0.1", "::1", "relay.example"] {
            let url = RelayUrl { host: host.into(), port: 4433, fingerprint: [7; 32] };
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn names_what_is_wrong() {
        let good = RelayUrl { host: "h".into(), port: 1, fingerprint: [7; 32] }.to_string();
        assert_eq!("https://h:1#x".parse::<RelayUrl>(), Err(RelayUrlError::Scheme));
        assert_eq!("kuvert://h:1".parse::<RelayUrl>(), Err(RelayUrlError::Fingerprint));
        assert_eq!(good[..good.len() - 1].parse::<RelayUrl>(), Err(RelayUrlError::Fingerprint));
        assert_eq!(good.replace(":1#", ":0#").parse::<RelayUrl>(), Err(RelayUrlError::HostPort));
        assert_eq!(good.replace("h:1", "::1:1").parse::<RelayUrl>(), Err(RelayUrlError::HostPort));
        // One spelling each.
        for other in ["h:+1", "h:01", "h:65537", "[h]:1"] {
            assert_eq!(good.replace("h:1", other).parse::<RelayUrl>(), Err(RelayUrlError::HostPort), "{other}");
        }
    }
}
