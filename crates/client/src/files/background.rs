//! Files beside a call of `receive` that follows: what waits is sent, what came is fetched, while mail comes and goes. The call hears of it as events.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{fetch, upload};
use crate::connection::Connection;
use crate::error::Error;
use crate::event::Event;
use crate::patience::{BACKOFF, jittered};
use crate::records::Transfer;

/// How often it is looked whether another process queued files, or whether what stood against one is over.
const LOOK: Duration = Duration::from_secs(30);

/// Events that wait for the call. Progress beyond is left out.
const QUEUE: usize = 64;

/// What the call hears.
pub(crate) enum Word {
    /// To be told.
    Event(Box<Event>),
    /// Messages went into the outbox.
    Flush,
}

/// Files on their way beside a call. Ends with it: what is half done is gone on with later.
pub(crate) struct Background {
    /// What happened.
    pub words: mpsc::Receiver<Word>,
    task: JoinHandle<()>,
}

impl Background {
    /// Begins. Files up to `max` bytes are fetched by themselves.
    pub fn start(connection: &Connection, max: u64) -> Self {
        let (say, words) = mpsc::channel(QUEUE);
        let connection = connection.clone();
        let task = tokio::spawn(async move {
            let mut pause = BACKOFF.0;
            loop {
                let wait = match round(&connection, max, &say).await {
                    Ok(()) => {
                        pause = BACKOFF.0;
                        LOOK
                    }
                    Err(error) => {
                        tracing::info!(code = error.code(), "files wait");
                        pause = (pause * 2).min(LOOK);
                        if say.is_closed() {
                            return;
                        }
                        // The connection is mended by the call beside this.
                        sleep(jittered(pause)).await;
                        continue;
                    }
                };
                // Whether it was woken or not, it looks.
                let _ = timeout(wait, connection.engine().files_due().notified()).await;
            }
        });
        Self { words, task }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn round(connection: &Connection, max: u64, say: &mpsc::Sender<Word>) -> Result<(), Error> {
    // Side by side: a long upload holds up no file that came.
    let (sent, fetched) = tokio::join!(send(connection, say), take(connection, max, say));
    sent.and(fetched)
}

/// Tells progress where there is room for it.
fn progress(say: &mpsc::Sender<Word>) -> impl FnMut(&Transfer) + Send + '_ {
    |transfer| drop(say.try_send(Word::Event(Box::new(Event::Transfer(transfer.clone())))))
}

async fn send(connection: &Connection, say: &mpsc::Sender<Word>) -> Result<(), Error> {
    if !connection.engine().read(|tx| upload::are_due(tx)).await? {
        return Ok(());
    }
    let report = match connection.send_files_with(Duration::ZERO, &mut progress(say)).await {
        // Another process sends them.
        Err(Error::StoreLocked { .. }) => return Ok(()),
        report => report?,
    };
    for not_sent in report.not_sent.into_iter().filter(|not_sent| !not_sent.will_retry) {
        // A call that has ended hears no more.
        let _ = say.send(Word::Event(Box::new(Event::NotSent(not_sent)))).await;
    }
    if !report.ready.is_empty() {
        let _ = say.send(Word::Flush).await;
    }
    Ok(())
}

async fn take(connection: &Connection, max: u64, say: &mpsc::Sender<Word>) -> Result<(), Error> {
    let mut news = Vec::new();
    let fetched = connection
        .fetch_wanted(None, max, &mut progress(say), &mut |message, number, error| news.push((message, number, error)))
        .await;
    for (message, number, error) in news {
        match fetch::record(connection.engine(), message).await {
            Ok(message) => drop(say.send(Word::Event(Box::new(Event::File { message, number, error }))).await),
            Err(Error::MessageUnknown { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    fetched
}
