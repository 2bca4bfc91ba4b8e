//! `kuvert send --lines`: every line of stdin as a message. A line is in the outbox before anything else happens to it, so a
//! relay that is away or a mailbox that is full stops nothing: it is tried again with later lines, and at the end of stdin.

use std::time::Duration;

use kuvert_client::{Client, Connection, Error, NotSent};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::commands::stream::{LINES_AHEAD, Line, Stream, read_lines};
use crate::commands::{Flushing, look, remark};
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Between two tries of what did not go: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// After the end of stdin a connection that breaks is made anew this often.
const LAST_TRIES: u32 = 2;

/// How long a connection is used until it is made anew, to hear again what contacts say about sessions with this home: what waits
/// is known of a connection that is new.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Sends until stdin ends, and tells what became of every line.
pub async fn run(client: &Client, who: &str, options: &Options) -> Result<(), Failure> {
    let stream = Stream::to(client, who, options).await?;
    let mut sending = Sending {
        client,
        options,
        stream,
        connection: None,
        dialing: JoinSet::new(),
        at: Instant::now(),
        pause: BACKOFF.0,
        away: false,
        passes: 0,
        tries: 0,
        looked_at: Instant::now(),
    };
    let talked = sending.talk().await;
    let Sending { stream, connection, .. } = sending;
    let ended = stream.end(talked).await;
    if let Some(connection) = connection {
        connection.close().await;
    }
    ended
}

struct Sending<'a> {
    client: &'a Client,
    options: &'a Options,
    stream: Stream,
    connection: Option<Connection>,
    /// At most one: beside it lines are still read.
    dialing: JoinSet<Result<Connection, Error>>,
    /// When the relay is tried next.
    at: Instant,
    pause: Duration,
    /// The relay cannot be reached, and that was said.
    away: bool,
    /// Passes over the outbox that came to their end.
    passes: u64,
    /// Connections that were tried since stdin ended.
    tries: u32,
    /// When contacts were last heard.
    looked_at: Instant,
}

impl Sending<'_> {
    /// Until stdin has ended and everything was sent, or could not be.
    async fn talk(&mut self) -> Result<(), Failure> {
        let mut lines = read_lines();
        let (mut batch, mut ended) = (Vec::with_capacity(LINES_AHEAD), false);
        loop {
            if ended && !self.has_work() {
                return Ok(());
            }
            tokio::select! {
                count = lines.recv_many(&mut batch, LINES_AHEAD), if !ended => {
                    if count == 0 {
                        // Once more at once, however long the pause is.
                        (ended, self.at) = (true, Instant::now());
                    }
                    self.take(&mut batch).await?;
                }
                Some(dialed) = self.dialing.join_next() => {
                    let dialed = dialed.unwrap_or(Err(Error::Internal { what: "connecting panicked" }));
                    if let Err(error) = self.dialed(dialed).await? && ended {
                        // What is queued says why it is; with nothing queued the command itself failed.
                        return if self.stream.is_settled() { Err(error.into()) } else { Ok(()) };
                    }
                }
                () = sleep_until(self.at), if self.dialing.is_empty() && self.has_work() => {}
            }
            if !self.dialing.is_empty() || Instant::now() < self.at || !self.has_work() {
                continue;
            }
            if self.looked_at.elapsed() >= LOOK_AGAIN
                && let Some(connection) = self.connection.take()
            {
                connection.close().await;
            }
            let stuck = match self.connection.clone() {
                Some(connection) => self.flush(&connection).await?,
                None if ended && self.tries >= LAST_TRIES => return Ok(()),
                None => {
                    self.tries += u32::from(ended);
                    let client = self.client.clone();
                    self.dialing.spawn(async move { client.connect().await });
                    continue;
                }
            };
            if ended && stuck {
                return Ok(());
            }
        }
    }

    /// What earlier commands left in the queue goes out first, even if stdin is empty.
    fn has_work(&self) -> bool {
        self.passes == 0 || !self.stream.is_settled()
    }

    async fn take(&mut self, batch: &mut Vec<Result<Line, Failure>>) -> Result<(), Failure> {
        for line in batch.drain(..) {
            self.stream.take(line?).await?;
        }
        Ok(())
    }

    /// Notes how connecting ended. The inner error passes.
    async fn dialed(&mut self, dialed: Result<Connection, Error>) -> Result<Result<(), Error>, Failure> {
        match dialed {
            Ok(connection) => {
                look(&connection, self.options).await?;
                self.looked_at = Instant::now();
                (self.connection, self.at, self.pause) = (Some(connection), Instant::now(), BACKOFF.0);
                if std::mem::take(&mut self.away) && self.options.output.is_json() {
                    let message = "connected again";
                    self.options.output.tell(&Record::Notice { code: "reconnected", message, count: None }).await?;
                }
                Ok(Ok(()))
            }
            Err(error) if error.passes() => {
                self.later(&error).await?;
                Ok(Err(error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A pass over the outbox. Whether something of this stream waits for something else than a connection.
    async fn flush(&mut self, connection: &Connection) -> Result<bool, Failure> {
        let mut flushing = Flushing::start(connection);
        while let Some(accepted) = flushing.next().await {
            self.stream.accepted(&accepted).await?;
        }
        match flushing.end().await {
            Ok(not_sent) => {
                if self.passes == 0 {
                    let conversation = self.stream.contact.conversation();
                    let others: Vec<NotSent> =
                        not_sent.iter().filter(|failed| failed.message.conversation != conversation).cloned().collect();
                    remark(&others, self.options);
                }
                self.passes += 1;
                let stuck = self.stream.not_sent(&not_sent).await?;
                if stuck {
                    self.put_off(Duration::ZERO);
                } else {
                    self.pause = BACKOFF.0;
                }
                Ok(stuck)
            }
            Err(error) if error.is_connection() => {
                self.connection = None;
                self.later(&error).await?;
                Ok(false)
            }
            // The relay asks for patience, or another process of this home sends for a long time.
            Err(error @ (Error::Limited { .. } | Error::StoreLocked { .. })) => {
                self.stream.trouble(&error);
                self.put_off(match error {
                    Error::Limited { seconds } => Duration::from_secs(seconds),
                    _ => Duration::ZERO,
                });
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The relay cannot be reached: said once, tried again after a pause.
    async fn later(&mut self, error: &Error) -> Result<(), Failure> {
        self.stream.trouble(error);
        self.put_off(Duration::ZERO);
        if std::mem::replace(&mut self.away, true) {
            return Ok(());
        }
        let message = format!("{error}\nLines are queued, and go out when it is back.");
        if self.options.output.is_json() {
            self.options.output.tell(&Record::Notice { code: "disconnected", message: &message, count: None }).await?;
        }
        self.options.output.note(&message);
        Ok(())
    }

    fn put_off(&mut self, at_least: Duration) {
        self.at = Instant::now() + self.pause.max(at_least);
        self.pause = (self.pause * 2).min(BACKOFF.1);
    }
}
