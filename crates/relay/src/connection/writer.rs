//! Writing: answers in the order of their requests, deliveries in between, and no more in memory than a client takes.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use kuvert_wire::frame;
use kuvert_wire::v1::ServerFrame;
use kuvert_wire::v1::server_frame::Body as Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::close::Close;
use crate::command::{Answer, CommandError};
use crate::limits::held::Held;
use crate::limits::{MAX_BYTES_IN_FLIGHT, MAX_REQUESTS_IN_FLIGHT, MAX_UNSENT_BYTES, WRITE_STALL};

/// How long a client gets to take the last bytes.
const LAST_BYTES: Duration = Duration::from_secs(3);

/// Pages of deliveries that wait for the writer, beside the one that it writes.
const DELIVERIES_AHEAD: usize = 1;

/// An answer under way.
pub struct Pending {
    /// The number of its request.
    pub request: u64,
    /// What it will be.
    pub answer: Answer,
    /// The request's part of [`MAX_BYTES_IN_FLIGHT`] and of what all connections hold, given back with the answer.
    pub _bytes: (Option<OwnedSemaphorePermit>, Option<Held>),
}

impl Pending {
    /// An answer that is known already, to a request that holds nothing any more.
    pub fn ready(request: u64, body: Result<Response, CommandError>) -> Self {
        Self { request, answer: Box::pin(std::future::ready(body)), _bytes: (None, None) }
    }
}

/// The sending half.
#[derive(Debug)]
pub struct Writer {
    connection: quinn::Connection,
    stream: quinn::SendStream,
    answers: Answers,
    deliveries: mpsc::Receiver<Vec<Response>>,
    unsent: BytesMut,
}

/// Where the rest of the connection puts what is to be written.
#[derive(Debug)]
pub struct Outbox {
    /// Answers, each with its request's number. Full when a client sends faster than it can be served.
    pub answers: mpsc::Sender<Pending>,
    /// What is left of [`MAX_BYTES_IN_FLIGHT`].
    pub bytes: Arc<Semaphore>,
    /// Deliveries. Full when a client takes them slowly.
    pub deliveries: mpsc::Sender<Vec<Response>>,
}

impl Writer {
    /// Both ends.
    pub fn new(connection: quinn::Connection, stream: quinn::SendStream) -> (Outbox, Self) {
        let (answers, to_answer) = mpsc::channel(MAX_REQUESTS_IN_FLIGHT);
        let (deliveries, to_deliver) = mpsc::channel(DELIVERIES_AHEAD);
        let answers_here = Answers { queue: to_answer, current: None };
        let writer =
            Self { connection, stream, answers: answers_here, deliveries: to_deliver, unsent: BytesMut::new() };
        (Outbox { answers, bytes: Arc::new(Semaphore::new(MAX_BYTES_IN_FLIGHT)), deliveries }, writer)
    }

    /// Writes until all that could put something into the outbox are gone. Every command that was accepted is
    /// finished, whether or not the client still listens: others wait for the wake-ups in it.
    pub async fn run(mut self) {
        if let Err(close) = self.write_all().await {
            close.close(&self.connection);
        }
        self.deliveries.close();
        while self.answers.next().await.is_some() {}
    }

    async fn write_all(&mut self) -> Result<(), Close> {
        let mut progress = Instant::now();
        let (mut answers_open, mut deliveries_open) = (true, true);
        while answers_open || deliveries_open || !self.unsent.is_empty() {
            let room = self.unsent.len() < MAX_UNSENT_BYTES;
            let idle = self.unsent.is_empty();
            tokio::select! {
                // First whatever is there already, so that one write takes it all.
                biased;
                answer = self.answers.next(), if answers_open && room => match answer {
                    Some(frame) => self.put(&frame),
                    None => answers_open = false,
                },
                page = self.deliveries.recv(), if deliveries_open && room => match page {
                    Some(page) => for body in page {
                        self.put(&ServerFrame { request: 0, body: Some(body) });
                    },
                    None => deliveries_open = false,
                },
                written = timeout_at(progress + WRITE_STALL, self.stream.write(&self.unsent)), if !self.unsent.is_empty() => {
                    let written = written.map_err(|_| Close::NOT_READING)?.map_err(|_| Close::DONE)?;
                    self.unsent.advance(written);
                    progress = Instant::now();
                    if self.unsent.is_empty() {
                        self.unsent = BytesMut::new();
                    }
                    continue;
                },
            }
            // Waiting for something to write is no stall.
            if idle {
                progress = Instant::now();
            }
        }
        self.finish().await;
        Ok(())
    }

    fn put(&mut self, frame: &ServerFrame) {
        if frame::encode(frame, &mut self.unsent).is_err() {
            // Every answer fits: a bundle has 2 KiB and an account 16 devices.
            tracing::error!(bytes = prost::Message::encoded_len(frame), "an answer is too large to be sent");
        }
    }

    /// Waits until the client has everything, for a while.
    async fn finish(&mut self) {
        if self.stream.finish().is_ok() {
            // Either way it is over.
            let _ = timeout(LAST_BYTES, self.stream.stopped()).await;
        }
    }
}

/// Answers in the order of their requests.
struct Answers {
    queue: mpsc::Receiver<Pending>,
    current: Option<Pending>,
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

impl Answers {
    /// The next one. May be dropped and called again: nothing is lost.
    async fn next(&mut self) -> Option<ServerFrame> {
        if self.current.is_none() {
            self.current = Some(self.queue.recv().await?);
        }
        let pending = self.current.as_mut()?;
        let body = pending.answer.as_mut().await.unwrap_or_else(|refusal| Response::Error(refusal.into_wire()));
        let frame = ServerFrame { request: pending.request, body: Some(body) };
        self.current = None;
        Some(frame)
    }
}
