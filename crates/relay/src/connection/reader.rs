//! Reading: cuts what a client sends into frames, and gives up on one that takes too long or too much.

use bytes::{Bytes, BytesMut};
use kuvert_types::limits::MAX_FRAME_BYTES;
use kuvert_wire::frame::{self, FrameError};
use kuvert_wire::v1::ClientFrame;
use tokio::time::{Instant, timeout_at};

use crate::limits::{FRAME_DEADLINE, MAX_SEALED_FRAME_BYTES, MAX_UNAUTHENTICATED_FRAME_BYTES};

/// Chunks taken from the stream at once: each is what came in one packet.
const CHUNKS: usize = 8;

/// Why there are no more frames.
#[derive(Debug)]
pub enum ReadError {
    /// The client finished its stream, or the connection ended.
    Ended,
    /// What came is no frame.
    Frame(FrameError),
    /// A frame began and did not end in time.
    TooSlow,
}

/// The receiving half. Holds at most one frame and a few chunks.
#[derive(Debug)]
pub struct Reader {
    stream: quinn::RecvStream,
    buffer: BytesMut,
    /// Bytes of a frame.
    limit: usize,
    /// When the frame at the front of the buffer has to be whole.
    deadline: Option<Instant>,
}

impl Reader {
    /// Starts with small frames only.
    pub fn new(stream: quinn::RecvStream) -> Self {
        Self { stream, buffer: BytesMut::new(), limit: MAX_UNAUTHENTICATED_FRAME_BYTES, deadline: None }
    }

    /// From now on a frame may hold a sealed envelope.
    pub fn expect_sealed(&mut self) {
        self.limit = MAX_SEALED_FRAME_BYTES;
    }

    /// From now on frames may have their full size.
    pub fn trust(&mut self) {
        self.limit = MAX_FRAME_BYTES;
    }

    /// The next frame if it is here already.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn buffered(&mut self) -> Result<Option<ClientFrame>, ReadError> {
        let frame = frame::decode_within::<ClientFrame>(self.limit, &mut self.buffer).map_err(ReadError::Frame)?;
        if frame.is_some() {
            self.deadline = None;
        }
        if self.buffer.is_empty() {
            // The memory goes with the last frame cut from it: an idle connection holds none.
            self.buffer = BytesMut::new();
        }
        Ok(frame)
    }

    /// The next frame. May be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn next(&mut self) -> Result<ClientFrame, ReadError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            let mut chunks = [const { Bytes::new() }; CHUNKS];
            let read = if self.buffer.is_empty() {
                self.stream.read_chunks(&mut chunks).await
            } else {
                let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + FRAME_DEADLINE);
                timeout_at(deadline, self.stream.read_chunks(&mut chunks)).await.map_err(|_| ReadError::TooSlow)?
            };
            match read {
                Ok(Some(count)) => chunks[..count].iter().for_each(|chunk| self.buffer.extend_from_slice(chunk)),
                // A frame that was cut off is no frame; nobody is there to be told.
                Ok(None) | Err(_) => return Err(ReadError::Ended),
            }
        }
    }
}
