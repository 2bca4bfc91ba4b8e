//! Every bound on what one side may send the other, with unit and reason [KV-076].

/// Days that a relay keeps an envelope that is not fetched, at most. An operator may choose less, never more.
pub const MAX_RETENTION_DAYS: u32 = 30;

/// Bytes of a text message (UTF-8). Longer texts belong into an attachment.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Bytes of the ciphertext of an envelope: a text of [`MAX_TEXT_BYTES`] with padding, the first message's handshake and
/// some room.
pub const MAX_CIPHERTEXT_BYTES: usize = 96 * 1024;

/// Bytes of one frame between client and relay: the largest envelope, or 50 KEM prekeys.
pub const MAX_FRAME_BYTES: usize = 128 * 1024;

/// Bytes of the name of an extension of a relay.
pub const MAX_EXTENSION_NAME_BYTES: usize = 32;

/// Devices of one account. Every message is encrypted once for each device, so this bounds the cost of a message.
pub const MAX_DEVICES: usize = 16;

/// One-time prekeys of a kind (curve, KEM) that a relay keeps for a device. A client refills to this many.
pub const MAX_ONE_TIME_PREKEYS: usize = 100;

/// One-time prekeys of a kind in one publish command: 50 KEM prekeys of 1,636 bytes fit a frame.
pub const MAX_PREKEYS_PER_PUBLISH: usize = 50;

/// Envelopes that may wait for one device before senders are told that the mailbox is full.
pub const MAX_MAILBOX_ENVELOPES: u64 = 20_000;

/// Bytes of ciphertext that may wait for one device before senders are told that the mailbox is full.
pub const MAX_MAILBOX_BYTES: u64 = 64 * 1024 * 1024;

/// All mail of strangers together gets one part in so many of each of a mailbox's two bounds: 5,000 envelopes and 16 MiB.
/// A stranger is an account that did not show the recipient's access key.
pub const STRANGERS_PART: u64 = 4;

/// One stranger gets one part in so many of what other strangers left of [`STRANGERS_PART`]: 625 envelopes and 2 MiB of an
/// empty mailbox, so that a contact that has not answered yet can be written to for days. Each one leaves room for the next: it
/// takes some 60 accounts to fill the strangers' part.
pub const STRANGER_PART: u64 = 8;

/// Bytes of ciphertext that every stranger may have waiting while the strangers' part has room, in one envelope if its share
/// has no more: a first text with its handshake and padding.
pub const STRANGER_FLOOR_BYTES: u64 = 8 * 1024;

/// All sealed mail together gets one part in so many: the relay cannot tell its senders apart.
pub const SEALED_PART: u64 = 2;

/// One contact under its name gets one part in so many: 2,500 envelopes and 8 MiB. With all of the sealed mail's part and all
/// of the strangers' an eighth is still left, so a single account never fills a mailbox, whatever it was told.
pub const CONTACT_PART: u64 = 8;

/// Senders that a device hears of when mail for it was refused for want of room: those with the most bytes.
pub const MAX_OCCUPANTS: usize = 8;

/// Accounts that one account may block: 32 KB at the relay. More are blocked by the client alone.
pub const MAX_BLOCKED: usize = 1_000;

/// Envelopes that a relay sends to a device ahead of its acknowledgements.
pub const DELIVERY_WINDOW: usize = 256;

/// Bytes of the largest file. With its padding it has 2 GiB.
pub const MAX_FILE_BYTES: u64 = (1 << 31) - 1;

/// Bytes of the largest blob: the header, 2 GiB of padded file in chunks of 64 KiB, and a tag of 16 bytes for each of these. A
/// relay may take less, never more.
pub const MAX_BLOB_BYTES: u64 = 33 + (1 << 31) + (1 << 15) * 16;

/// Devices that one blob can be given to, each by a capability of its own: those of a group of a thousand. Beyond, all have one.
pub const MAX_BLOB_READERS: usize = 1_024;

/// Bytes of a blob in one frame.
pub const MAX_BLOB_PIECE_BYTES: usize = 64 * 1024;

/// Bytes of an upload after which a relay has told at the latest how many of them are on its disk: what is sent again after an
/// interruption.
pub const BLOB_STATE_EVERY: u64 = 4 * 1024 * 1024;

/// Files that one message tells of: what a person chooses at once. Their thumbnails fit a content, with a text beside them.
pub const MAX_ATTACHMENTS: usize = 10;

/// Bytes of a file's media type.
pub const MAX_MEDIA_TYPE_BYTES: usize = 127;

/// Bytes of a file's name: what file systems take.
pub const MAX_FILE_NAME_BYTES: usize = 255;

/// Pixels of a picture's side.
pub const MAX_PICTURE_SIDE: u32 = 65_535;

/// Bytes of a picture's thumbnail.
pub const MAX_THUMBNAIL_BYTES: usize = 4 * 1024;

/// Steps of a voice note's waveform.
pub const WAVEFORM_STEPS: usize = 64;

/// Milliseconds of a voice note: a day.
pub const MAX_VOICE_MS: u32 = 24 * 60 * 60 * 1000;

/// Bytes of a user name.
pub const MAX_NAME_BYTES: usize = 32;

/// Bytes of a name to be shown, in a profile or an address book.
pub const MAX_DISPLAY_NAME_BYTES: usize = 128;

/// Bytes of an e-mail address (RFC 5321, section 4.5.3.1, less the brackets).
pub const MAX_EMAIL_BYTES: usize = 254;

/// Bytes of a profile's about text.
pub const MAX_ABOUT_BYTES: usize = 512;

/// Bytes of a profile's picture: with the other parts it fits a frame.
pub const MAX_PICTURE_BYTES: usize = 64 * 1024;

/// People in one upload of an address book.
pub const MAX_PEOPLE_PER_UPLOAD: usize = 500;

/// People in the address book of one account.
pub const MAX_ADDRESS_BOOK: usize = 20_000;

/// Bytes of a birthday, as people write it.
pub const MAX_BIRTHDAY_BYTES: usize = 32;

/// Bytes of a postal address.
pub const MAX_POSTAL_ADDRESS_BYTES: usize = 512;

/// Bytes of each thing that a client tells about its machine.
pub const MAX_DEVICE_DETAIL_BYTES: usize = 128;

/// Things that a client that simulates a phone makes up about it.
pub const MAX_SIMULATED_DETAILS: usize = 16;

/// Digits of the code that verifies a phone number.
pub const PHONE_CODE_DIGITS: usize = 6;

/// Whether `name` may be a user name: 1 to [`MAX_NAME_BYTES`] of `a-z`, `0-9`, `-`, `_`, `.`, starting with a letter.
/// Lower case only, so that no two names look alike.
///
/// ```
/// use kuvert_types::limits::is_valid_name;
///
/// assert!(is_valid_name("alice.b"));
/// assert!(!is_valid_name("Alice") && !is_valid_name("4lice"));
/// ```
pub fn is_valid_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
        // [KV-097] An account id means the account: nothing else may look like one.
        && name.parse::<crate::AccountId>().is_err()
}

/// Whether `number` is a phone number as E.164 writes it: `+`, then 7 to 15 digits, the first not zero.
pub fn is_valid_phone(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

/// Whether `text` can stand on one line of a screen: 1 to `max` bytes, no control characters.
pub fn is_valid_line(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Whether `address` may be an e-mail address: something, `@`, something, without blanks. More only a letter to it can tell.
pub fn is_valid_email(address: &str) -> bool {
    is_valid_line(address, MAX_EMAIL_BYTES)
        && !address.contains(char::is_whitespace)
        && address.rsplit_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty())
}
