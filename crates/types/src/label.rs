//! Labels separate one use of a key from every other. All have the same length, so distinct labels are prefix-free.

/// A 32-byte label: ASCII text padded with zero bytes.
pub type Label = [u8; 32];

/// Pads `text` to a [`Label`]. Meant for constants: a text over 32 bytes fails to compile there.
#[allow(clippy::panic)] // evaluated at compile time
pub const fn label(text: &str) -> Label {
    let bytes = text.as_bytes();
    assert!(bytes.len() <= 32, "a label has at most 32 bytes");
    let mut out = [0; 32];
    let mut i = 0;
    while i < bytes.len() {
        out[i] = bytes[i];
        i += 1;
    }
    out
}

/// Account key over a device certificate.
pub const DEVICE_CERTIFICATE: Label = label("Kuvert/1 device certificate");
/// Device signing key over the account that it belongs to.
pub const DEVICE_CONSENT: Label = label("Kuvert/1 device consent");
/// Account key over a device list.
pub const DEVICE_LIST: Label = label("Kuvert/1 device list");
/// Device signing key over a relay's challenge.
pub const RELAY_AUTHENTICATION: Label = label("Kuvert/1 relay authentication");
/// TLS exporter that binds an authentication to its connection (RFC 5705 label; text, not padded).
pub const TLS_EXPORTER: &str = "EXPORTER-Kuvert-1-authentication";

/// Every label defined here, for the test that all labels differ.
pub const ALL: [Label; 4] = [DEVICE_CERTIFICATE, DEVICE_CONSENT, DEVICE_LIST, RELAY_AUTHENTICATION];
