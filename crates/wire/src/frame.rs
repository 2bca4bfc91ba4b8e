//! A frame is a protobuf message behind its length as a varint. A length over the limit is refused before a byte of the
//! body is kept [KV-069], so that one end cannot make the other reserve memory.

use bytes::{Buf, Bytes, BytesMut};
use kuvert_types::limits::MAX_FRAME_BYTES;
use prost::Message;

/// Bytes of a length: MAX_FRAME_BYTES fits in three groups of 7 bits.
const MAX_LENGTH_BYTES: usize = 3;

const _: () = assert!(MAX_FRAME_BYTES < 1 << (7 * MAX_LENGTH_BYTES));

/// Why a stream cannot be cut into frames any further. The connection is of no use after that.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The announced length is over the limit, at most [`MAX_FRAME_BYTES`].
    #[error("frame too long")]
    TooLarge,
    /// The body is not the message that belongs here.
    #[error("frame cannot be read: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// Appends `message` as a frame.
///
/// # Errors
/// [`FrameError::TooLarge`]; `out` is unchanged then.
pub fn encode(message: &impl Message, out: &mut BytesMut) -> Result<(), FrameError> {
    if message.encoded_len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge);
    }
    out.reserve(message.encoded_len() + MAX_LENGTH_BYTES);
    // BytesMut grows, so this cannot fail for lack of room.
    message.encode_length_delimited(out).map_err(|_| FrameError::TooLarge)
}

/// Takes the next whole frame from the front of `input`, or `None` if more bytes are needed first.
///
/// # Errors
/// See [`FrameError`].
pub fn decode<M: Message + Default>(input: &mut BytesMut) -> Result<Option<M>, FrameError> {
    decode_within(MAX_FRAME_BYTES, input)
}

/// As [`decode`], for frames of at most `limit` bytes, itself at most [`MAX_FRAME_BYTES`].
///
/// # Errors
/// See [`FrameError`].
pub fn decode_within<M: Message + Default>(limit: usize, input: &mut BytesMut) -> Result<Option<M>, FrameError> {
    match take(limit.min(MAX_FRAME_BYTES), input)? {
        Some(body) => Ok(Some(M::decode(body)?)),
        None => Ok(None),
    }
}

/// The body of the next frame. The length is checked before anything is kept [KV-069].
fn take(limit: usize, input: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
    let mut length = 0;
    for (i, byte) in input.iter().take(MAX_LENGTH_BYTES).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 != 0 {
            continue;
        }
        if length > limit {
            return Err(FrameError::TooLarge);
        }
        let header = i + 1;
        if input.len() < header + length {
            return Ok(None);
        }
        input.advance(header);
        return Ok(Some(input.split_to(length).freeze()));
    }
    if input.len() < MAX_LENGTH_BYTES { Ok(None) } else { Err(FrameError::TooLarge) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{ClientFrame, Submit, client_frame::Body};

    fn submit(ciphertext: usize) -> ClientFrame {
        let envelope = crate::v1::Envelope { ciphertext: vec![7; ciphertext].into(), ..Default::default() };
        ClientFrame { request: 3, body: Some(Body::Submit(Submit { envelope: Some(envelope), access_key: None })) }
    }

    #[test]
    fn whole_frames_come_out_of_single_bytes() {
        let mut stream = BytesMut::new();
        for size in [0, 1, 200, 20_000] {
            encode(&submit(size), &mut stream).unwrap();
        }
        let mut input = BytesMut::new();
        let mut got = Vec::new();
        for byte in stream {
            input.extend_from_slice(&[byte]);
            got.extend(decode::<ClientFrame>(&mut input).unwrap());
        }
        assert_eq!(got, [0, 1, 200, 20_000].map(submit));
        assert!(input.is_empty());
    }

    #[test]
    fn refuses_lengths_over_the_limit_at_once() {
        for bytes in [&[0xFF, 0xFF, 0xFF][..], &[0xFF, 0xFF, 0x7F], &[0x81, 0x80, 0x08], &[0x80, 0x80, 0x80, 0x00]] {
            assert_eq!(decode::<ClientFrame>(&mut BytesMut::from(bytes)), Err(FrameError::TooLarge), "{bytes:x?}");
        }
        let mut whole = BytesMut::new();
        encode(&submit(5_000), &mut whole).unwrap();
        assert_eq!(decode_within::<ClientFrame>(4_096, &mut whole), Err(FrameError::TooLarge));
        assert_eq!(encode(&submit(MAX_FRAME_BYTES), &mut BytesMut::new()), Err(FrameError::TooLarge));
    }

    #[test]
    fn refuses_bodies_that_are_no_message() {
        let result = decode::<ClientFrame>(&mut BytesMut::from(&[2, 0xFF, 0xFF][..]));
        assert!(matches!(result, Err(FrameError::Malformed(_))));
    }
}
