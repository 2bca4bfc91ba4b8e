//! Reading: cuts what a client sends into frames, and gives up on one that takes too long or too much.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kuvert_types::AccountId;
use kuvert_types::limits::MAX_FRAME_BYTES;
use kuvert_wire::frame::{self, FrameError};
use kuvert_wire::v1::ClientFrame;
use tokio::time::{Instant, timeout_at};

use crate::limits::held::{Budget, FRAME_DEADLINE_UNDER_PRESSURE, Held, Holder};
use crate::limits::{MAX_SEALED_FRAME_BYTES, MAX_UNAUTHENTICATED_FRAME_BYTES};

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
    /// All that may be held of requests is held already.
    NoRoom,
}

/// The receiving half. Holds at most one frame and a few chunks.
#[derive(Debug)]
pub struct Reader {
    stream: quinn::RecvStream,
    buffer: BytesMut,
    /// Bytes of a frame.
    limit: usize,
    /// When the frame at the front of the buffer began.
    begun: Option<Instant>,
    /// The bytes in the buffer.
    held: Held,
    /// Those of the frame that was cut from it last.
    of_frame: Option<Held>,
}

impl Reader {
    /// Starts with small frames only.
    pub fn new(stream: quinn::RecvStream, budget: &Arc<Budget>) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            limit: MAX_UNAUTHENTICATED_FRAME_BYTES,
            begun: None,
            held: Held::nothing(budget, Holder::Unnamed),
            of_frame: None,
        }
    }

    /// From now on a frame may hold a sealed envelope.
    pub fn expect_sealed(&mut self) {
        self.limit = MAX_SEALED_FRAME_BYTES;
    }

    /// From now on frames may have their full size, and what is held of them is an account's.
    pub fn trust(&mut self, budget: &Arc<Budget>, account: AccountId) {
        self.limit = MAX_FRAME_BYTES;
        // What has come already is counted with what comes next.
        self.held = Held::nothing(budget, Holder::Account(account));
    }

    /// What is held of the last frame, to be kept until it is answered.
    pub fn take_held(&mut self) -> Option<Held> {
        self.of_frame.take()
    }

    /// The next frame if it is here already.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn buffered(&mut self) -> Result<Option<ClientFrame>, ReadError> {
        let before = self.buffer.len();
        let frame = frame::decode_within::<ClientFrame>(self.limit, &mut self.buffer).map_err(ReadError::Frame)?;
        if frame.is_some() {
            self.begun = None;
            self.of_frame = self.held.split(before - self.buffer.len());
            self.hold()?;
        }
        if self.buffer.is_empty() {
            // The memory goes with the last frame cut from it: an idle connection holds none.
            self.buffer = BytesMut::new();
        }
        Ok(frame)
    }

    /// Counts what is in the buffer.
    fn hold(&mut self) -> Result<(), ReadError> {
        self.held.hold(self.buffer.len()).map_err(|_| ReadError::NoRoom)
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
                let now = Instant::now();
                let deadline = *self.begun.get_or_insert(now) + self.held.frame_deadline();
                if deadline <= now {
                    return Err(ReadError::TooSlow);
                }
                // The deadline may come closer while this waits.
                let look_again = deadline.min(now + FRAME_DEADLINE_UNDER_PRESSURE);
                match timeout_at(look_again, self.stream.read_chunks(&mut chunks)).await {
                    Ok(read) => read,
                    Err(_) => continue,
                }
            };
            match read {
                Ok(Some(count)) => {
                    chunks[..count].iter().for_each(|chunk| self.buffer.extend_from_slice(chunk));
                    self.hold()?;
                }
                // A frame that was cut off is no frame; nobody is there to be told.
                Ok(None) | Err(_) => return Err(ReadError::Ended),
            }
        }
    }
}
