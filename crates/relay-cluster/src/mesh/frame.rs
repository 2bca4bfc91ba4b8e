//! What nodes say to each other, as bytes.
//!
//! ```text
//! frame    = length u32 ‖ kind u8 ‖ body            length: bytes of kind and body; all numbers big-endian
//! 0 hello     node u16 ‖ epoch u64                  the first frame of each direction
//! 1 request   id u64 ‖ slot u16 ‖ bytes             for the store of the node that holds the slot
//! 2 answer    id u64 ‖ status u8 ‖ bytes            the other direction; status: see `status`
//! 3 mail      account 16 ‖ device u32               there may be mail
//! 4 attached  account 16 ‖ device u32 ‖ number u64  a device is attached at the sender
//! 5 detached  account 16 ‖ device u32 ‖ number u64  and is no more
//! 6 displaced account 16 ‖ device u32 ‖ number u64  that attachment of the receiver's is over: there is a newer one elsewhere
//! 7 ended     account 16                            the account was deleted
//! 8 dropped   account 16 ‖ device u32               the account's list names that device no more
//! 9 look                                            who holds which slot has changed
//! 10 told     bytes                                 what limits count; see `kuvert_relay::others`
//! ```
//! Only nodes that proved the cluster's key get this far, yet a frame is checked like any other input: what is no frame ends the link.
//! Kinds that are not known are skipped.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kuvert_relay::store::{StoreError, Unavailable};
use kuvert_types::{AccountId, Address, DeviceId};

/// Bytes of the largest frame: a device's prekeys with everything around them have some 350 kB.
pub const MAX_FRAME_BYTES: usize = 2 * 1024 * 1024;

/// Bytes of the words that go with an error.
const MAX_WORDS: usize = 512;

/// Bytes of an account and a device's number.
const ADDRESS_LEN: usize = 20;

/// Bytes before the body.
const HEAD: usize = 5;

/// A node, and which start of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    /// Its number in the store.
    pub id: u16,
    /// Rises with every start.
    pub epoch: u64,
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Who speaks.
    Hello(Node),
    /// For the store of the node that holds a slot.
    Request {
        /// Chosen by the asking node, for the answer.
        id: u64,
        /// Which slot.
        slot: u16,
        /// What is asked.
        body: Bytes,
    },
    /// The answer.
    Answer {
        /// Of which request.
        id: u64,
        /// What came of it.
        result: Result<Bytes, StoreError>,
    },
    /// There may be mail.
    Mail(Address),
    /// A device is attached at the sender.
    Attached(Address, u64),
    /// And is no more.
    Detached(Address, u64),
    /// That attachment of the receiver's is over.
    Displaced(Address, u64),
    /// The account was deleted.
    Ended(AccountId),
    /// The account's list names that device no more.
    Dropped(Address),
    /// Who holds which slot has changed.
    Look,
    /// What limits count ([`kuvert_relay::others`]).
    Told(Bytes),
    /// A newer node's word.
    Unknown,
}

/// What came is no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoFrame;

impl Frame {
    /// Appends the frame.
    ///
    /// # Errors
    /// It is longer than [`MAX_FRAME_BYTES`]; nothing was appended.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), NoFrame> {
        let (kind, length) = match self {
            Self::Hello(_) => (0, 10),
            Self::Request { body, .. } => (1, 10 + body.len()),
            Self::Answer { result, .. } => (2, 9 + result.as_ref().map_or_else(|error| words(error).len(), Bytes::len)),
            Self::Mail(_) => (3, ADDRESS_LEN),
            Self::Attached(..) => (4, ADDRESS_LEN + 8),
            Self::Detached(..) => (5, ADDRESS_LEN + 8),
            Self::Displaced(..) => (6, ADDRESS_LEN + 8),
            Self::Ended(_) => (7, 16),
            Self::Dropped(_) => (8, ADDRESS_LEN),
            Self::Look => (9, 0),
            Self::Told(words) => (10, words.len()),
            Self::Unknown => return Err(NoFrame),
        };
        let length = length + 1;
        if length > MAX_FRAME_BYTES {
            return Err(NoFrame);
        }
        out.reserve(HEAD - 1 + length);
        out.put_u32(u32::try_from(length).map_err(|_| NoFrame)?);
        out.put_u8(kind);
        match self {
            Self::Hello(node) => {
                out.put_u16(node.id);
                out.put_u64(node.epoch);
            }
            Self::Request { id, slot, body } => {
                out.put_u64(*id);
                out.put_u16(*slot);
                out.put_slice(body);
            }
            Self::Answer { id, result } => {
                out.put_u64(*id);
                match result {
                    Ok(body) => {
                        out.put_u8(0);
                        out.put_slice(body);
                    }
                    Err(error) => {
                        out.put_u8(status(error));
                        out.put_slice(words(error).as_bytes());
                    }
                }
            }
            Self::Mail(device) | Self::Dropped(device) => put_address(out, device),
            Self::Attached(device, number) | Self::Detached(device, number) | Self::Displaced(device, number) => {
                put_address(out, device);
                out.put_u64(*number);
            }
            Self::Ended(account) => out.put_slice(account.as_bytes()),
            Self::Told(words) => out.put_slice(words),
            Self::Look | Self::Unknown => {}
        }
        Ok(())
    }

    /// Takes the next frame from the front. `None`: it is not whole yet; the buffer stays as it is.
    ///
    /// # Errors
    /// What is there is no frame.
    pub fn decode(buffer: &mut BytesMut) -> Result<Option<Self>, NoFrame> {
        let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*head)).map_err(|_| NoFrame)?;
        if length == 0 || length > MAX_FRAME_BYTES {
            return Err(NoFrame);
        }
        if buffer.len() < 4 + length {
            return Ok(None);
        }
        buffer.advance(4);
        let mut body = buffer.split_to(length).freeze();
        let kind = body.get_u8();
        Self::of(kind, &mut body).ok_or(NoFrame).and_then(|frame| match (&frame, body.is_empty()) {
            (Self::Unknown, _) | (_, true) => Ok(Some(frame)),
            // More than the kind has.
            (_, false) => Err(NoFrame),
        })
    }

    fn of(kind: u8, body: &mut Bytes) -> Option<Self> {
        Some(match kind {
            0 => Self::Hello(Node { id: body.try_get_u16().ok()?, epoch: body.try_get_u64().ok()? }),
            1 => {
                let (id, slot) = (body.try_get_u64().ok()?, body.try_get_u16().ok()?);
                Self::Request { id, slot, body: body.split_off(0) }
            }
            2 => {
                let (id, status) = (body.try_get_u64().ok()?, body.try_get_u8().ok()?);
                let rest = body.split_off(0);
                Self::Answer { id, result: if status == 0 { Ok(rest) } else { Err(error(status, &rest)) } }
            }
            3 => Self::Mail(address(body)?),
            4 => Self::Attached(address(body)?, body.try_get_u64().ok()?),
            5 => Self::Detached(address(body)?, body.try_get_u64().ok()?),
            6 => Self::Displaced(address(body)?, body.try_get_u64().ok()?),
            7 => Self::Ended(account(body)?),
            8 => Self::Dropped(address(body)?),
            9 => Self::Look,
            10 => Self::Told(body.split_off(0)),
            _ => Self::Unknown,
        })
    }
}

fn put_address(out: &mut BytesMut, device: &Address) {
    out.put_slice(device.account.as_bytes());
    out.put_u32(device.device.get());
}

fn account(body: &mut Bytes) -> Option<AccountId> {
    let mut id = [0; 16];
    body.try_copy_to_slice(&mut id).ok()?;
    Some(AccountId::from_bytes(id))
}

fn address(body: &mut Bytes) -> Option<Address> {
    let account = account(body)?;
    let device = DeviceId::new(body.try_get_u32().ok()?).ok()?;
    Some(Address { account, device })
}

fn status(error: &StoreError) -> u8 {
    match error {
        StoreError::Unavailable(Unavailable::DiskFull) => 1,
        StoreError::Unavailable(Unavailable::Io(_)) => 2,
        StoreError::Unavailable(Unavailable::Overloaded) => 3,
        StoreError::Unavailable(Unavailable::Stopped) => 4,
        StoreError::Unknown(_) => 5,
        StoreError::Corrupt(_) => 6,
    }
}

fn words(error: &StoreError) -> &str {
    let words = match error {
        StoreError::Unavailable(Unavailable::Io(words)) | StoreError::Unknown(words) | StoreError::Corrupt(words) => {
            words
        }
        StoreError::Unavailable(_) => "",
    };
    // Not within a letter.
    words.get(..words.floor_char_boundary(MAX_WORDS)).unwrap_or_default()
}

fn error(status: u8, words: &[u8]) -> StoreError {
    let words = || String::from_utf8_lossy(words.get(..MAX_WORDS).unwrap_or(words)).into_owned();
    match status {
        1 => Unavailable::DiskFull.into(),
        2 => Unavailable::Io(words()).into(),
        3 => Unavailable::Overloaded.into(),
        4 => Unavailable::Stopped.into(),
        6 => StoreError::Corrupt(words()),
        // What a newer node says is not known to have happened, nor not to.
        _ => StoreError::Unknown(words()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addresses() -> impl Strategy<Value = Address> {
        (any::<[u8; 16]>(), 1..=16_u32).prop_filter_map("a device", |(account, device)| {
            Some(Address { account: AccountId::from_bytes(account), device: DeviceId::new(device).ok()? })
        })
    }

    fn errors() -> impl Strategy<Value = StoreError> {
        prop_oneof![
            Just(Unavailable::DiskFull.into()),
            ".{0,40}".prop_map(|words| Unavailable::Io(words).into()),
            Just(Unavailable::Overloaded.into()),
            Just(Unavailable::Stopped.into()),
            ".{0,40}".prop_map(StoreError::Unknown),
            ".{0,40}".prop_map(StoreError::Corrupt),
        ]
    }

    fn frames() -> impl Strategy<Value = Frame> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
        prop_oneof![
            (any::<u16>(), any::<u64>()).prop_map(|(id, epoch)| Frame::Hello(Node { id, epoch })),
            (any::<u64>(), any::<u16>(), bytes()).prop_map(|(id, slot, body)| Frame::Request { id, slot, body }),
            (any::<u64>(), bytes()).prop_map(|(id, body)| Frame::Answer { id, result: Ok(body) }),
            (any::<u64>(), errors()).prop_map(|(id, error)| Frame::Answer { id, result: Err(error) }),
            addresses().prop_map(Frame::Mail),
            (addresses(), any::<u64>()).prop_map(|(device, number)| Frame::Attached(device, number)),
            (addresses(), any::<u64>()).prop_map(|(device, number)| Frame::Detached(device, number)),
            (addresses(), any::<u64>()).prop_map(|(device, number)| Frame::Displaced(device, number)),
            any::<[u8; 16]>().prop_map(|account| Frame::Ended(AccountId::from_bytes(account))),
            addresses().prop_map(Frame::Dropped),
            Just(Frame::Look),
            bytes().prop_map(Frame::Told),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_is_cut(
            frames in proptest::collection::vec(frames(), 1..8),
            cut in 1..64_usize,
        ) {
            let mut bytes = BytesMut::new();
            for frame in &frames {
                frame.encode(&mut bytes).unwrap();
            }
            let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
            for piece in bytes.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = Frame::decode(&mut buffer).unwrap() {
                    read.push(frame);
                }
            }
            prop_assert_eq!(read, frames);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::decode(&mut buffer) {}
        }

        #[test]
        fn a_body_that_is_too_short_or_too_long_is_refused(frame in frames(), extra in any::<bool>()) {
            let mut bytes = BytesMut::new();
            frame.encode(&mut bytes).unwrap();
            let fixed = !matches!(frame, Frame::Request { .. } | Frame::Answer { .. } | Frame::Look | Frame::Told(_));
            prop_assume!(fixed);
            let length = u32::from_be_bytes(*bytes.first_chunk().unwrap());
            let length = if extra { bytes.put_u8(0); length + 1 } else { bytes.truncate(bytes.len() - 1); length - 1 };
            bytes[..4].copy_from_slice(&length.to_be_bytes());
            prop_assert_eq!(Frame::decode(&mut bytes), Err(NoFrame));
        }
    }

    #[test]
    fn too_much_is_refused_by_its_length_alone() {
        let mut bytes = BytesMut::new();
        let body = Bytes::from(vec![0; MAX_FRAME_BYTES - 11]);
        Frame::Request { id: 1, slot: 2, body: body.clone() }.encode(&mut bytes).unwrap();
        assert!(Frame::decode(&mut bytes).unwrap().is_some());
        let longer = Bytes::from([&body[..], &[0]].concat());
        assert_eq!(Frame::Request { id: 1, slot: 2, body: longer }.encode(&mut bytes), Err(NoFrame));
        assert!(bytes.is_empty());
        let head = u32::try_from(MAX_FRAME_BYTES + 1).unwrap().to_be_bytes();
        assert_eq!(Frame::decode(&mut BytesMut::from(&head[..])), Err(NoFrame));
        assert_eq!(Frame::decode(&mut BytesMut::from(&[0; 4][..])), Err(NoFrame));
    }

    #[test]
    fn a_newer_nodes_word_is_skipped() {
        let mut bytes = BytesMut::from(&[0, 0, 0, 3, 200, 1, 2, 0, 0, 0, 1, 9][..]);
        assert_eq!(Frame::decode(&mut bytes), Ok(Some(Frame::Unknown)));
        assert_eq!(Frame::decode(&mut bytes), Ok(Some(Frame::Look)));
        let answer = [&[0, 0, 0, 10, 2][..], &[0; 8], &[99]].concat();
        let read = Frame::decode(&mut BytesMut::from(&answer[..])).unwrap();
        assert!(matches!(read, Some(Frame::Answer { result: Err(StoreError::Unknown(_)), .. })));
    }
}
