//! The chat's connection: a task that connects, receives, comes back after a break, and sends what is queued. It tells
//! what happens; deciding what to show is not its concern.
//!
//! Of the processes of one home that stay, one leads: it receives. The others read from the store what it received, and one of
//! them leads when it ends, or when what it tells is not taken any more.
//!
//! ```text
//!            another one leads                        it is gone
//! start ─────────────────────────► reads along ─────────────────────┐
//!   │ no other leads                  ▲                              ▼
//!   │                                 │ what it tells          leads: receives
//!   │                                 │ is not taken                 │ ▲
//!   │                                 └──────────────────────────────┘ │
//!   └──────────────────────────────────────────────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kuvert_client::{
    Accepted, Client, Connection, Error, Event, EventSink, Lead, MessageRecord, MessageRef, NotSent, ReceiveOptions,
    Transfer, Turn,
};
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::commands::along::{Along, STALLED};
use crate::commands::save;
use crate::error::{Failure, words};

/// First pause after a failed connection; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest pause between two tries: long enough to spare the relay, short enough to be back when one looks again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Files of contacts up to so many bytes are fetched.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// Files that wait to be fetched and written, because one asked for them, at most.
const SAVES_AHEAD: usize = 8;

/// How long another transfer of this home is waited for, before it is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// How long leaving may take to send the last receipts.
const FAREWELL: Duration = Duration::from_secs(2);

/// Events that wait for the chat. Beyond that the link waits, and so does the mail behind it: a terminal that pauses makes
/// nothing heap up.
const EVENTS_AHEAD: usize = 256;

/// After another process came, its end is not looked for before this: it takes over what this one lets go of.
const SETTLE: Duration = Duration::from_secs(3);

/// A chat that came back undisturbed for this long may come back again from what it did not see going.
const UNDISTURBED: Duration = Duration::from_secs(600);

/// What the link tells.
#[derive(Debug)]
pub enum LinkEvent {
    /// The connection stands, and no other process of this home receives.
    Connected,
    /// The connection is gone or could not be made; it is tried again.
    Offline {
        /// What happened.
        error: Error,
    },
    /// The connection stands. Another process of this home receives, and this one tells what it stores.
    Along,
    /// Something else receives for this account, such as a copy of this home; sending still works.
    Displaced {
        /// What happened.
        error: Error,
    },
    /// Receiving here, after one of the two. What was received meanwhile is in the store.
    Back,
    /// The end: nothing that trying again would mend.
    Failed {
        /// What happened.
        error: Error,
    },
    /// The relay has a text on disk.
    Accepted(Accepted),
    /// A text could not be sent.
    NotSent(NotSent),
    /// A pass over the outbox ended.
    Flushed {
        /// Why it did not come to its end. It is tried again.
        error: Option<Error>,
    },
    /// A file is so far.
    Transfer(Transfer),
    /// What became of a file that was to be fetched and written, in words.
    Saved {
        /// The words.
        words: String,
    },
    /// Something was received.
    Received(Event),
}

/// A file that is to be fetched and written.
#[derive(Debug)]
pub struct Saving {
    /// Whose.
    pub message: MessageRef,
    /// Which of its files, from 1.
    pub number: u8,
    /// Where to; none: among this home's files.
    pub to: Option<PathBuf>,
}

/// The running task.
#[derive(Debug)]
pub struct Link {
    client: Client,
    events: mpsc::Receiver<LinkEvent>,
    saves: mpsc::Sender<Saving>,
    due: Arc<Notify>,
    files_due: Arc<Notify>,
    take_over: Arc<Notify>,
    leave: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Link {
    /// Starts the task, with a connection if there is one already.
    pub fn start(client: Client, connection: Option<Connection>) -> Self {
        let (tell, events) = mpsc::channel(EVENTS_AHEAD);
        let (saves, wanted) = mpsc::channel(SAVES_AHEAD);
        let [due, files_due, take_over, leave] = [(); 4].map(|()| Arc::new(Notify::new()));
        let worker = Worker {
            client: client.clone(),
            tell,
            saves: Mutex::new(Saves { wanted, first: None }),
            due: Arc::clone(&due),
            files_due: Arc::clone(&files_due),
            take_over: Arc::clone(&take_over),
        };
        let leaving = Arc::clone(&leave);
        let task = tokio::spawn(async move { worker.run(connection, &leaving).await });
        Self { client, events, saves, due, files_due, take_over, leave, task }
    }

    /// Something waits in the outbox.
    pub fn flush(&self) {
        self.due.notify_one();
    }

    /// Files wait to be sent.
    pub fn send_files(&self) {
        self.files_due.notify_one();
    }

    /// A file is to be fetched and written; whether there is room for the wish.
    pub fn save(&self, saving: Saving) -> bool {
        self.saves.try_send(saving).is_ok()
    }

    /// Receives here again at once, and displaces what displaced this chat.
    pub fn take_over(&self) {
        self.take_over.notify_one();
    }

    /// The next event; none once the link has ended.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        self.events.recv().await
    }

    /// Sends the last receipts and closes the connection. From here on another process of the home may receive.
    pub async fn close(&mut self) {
        // Nothing listens any more: the link must not wait to tell.
        self.events.close();
        self.leave.notify_one();
        if !self.task.is_finished() && timeout(FAREWELL, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }

    /// Begins anew, after [`close`](Self::close).
    pub fn open_again(&mut self) {
        *self = Self::start(self.client.clone(), None);
    }
}

struct Worker {
    client: Client,
    tell: mpsc::Sender<LinkEvent>,
    saves: Mutex<Saves>,
    due: Arc<Notify>,
    files_due: Arc<Notify>,
    take_over: Arc<Notify>,
}

/// What is to be fetched and written.
#[derive(Debug)]
struct Saves {
    wanted: mpsc::Receiver<Saving>,
    /// It outlives a connection that breaks.
    first: Option<Saving>,
}

/// Whose business receiving is, across reconnects: a chat that was displaced does not displace in turn.
///
/// From other processes of its home it has the lead. What else displaces it did so before it had that, or is a copy of the home: it
/// comes back when the other process was seen receiving, and is gone. What was not seen, because it was too quick or has a
/// copy of this home, is followed once within [`UNDISTURBED`]: of two copies each comes back once, and not for ever.
#[derive(Debug, Default)]
struct Standing {
    /// This process receives for all of this home.
    lead: Option<Lead>,
    /// What was told, and what is to be told while another one does.
    along: Option<Along>,
    /// What is to be told. While it is not taken, the lead is another's.
    untold: VecDeque<LinkEvent>,
    /// It was not taken for [`STALLED`].
    stalled: bool,
    /// Another process came, and this chat did not come back yet.
    displaced: bool,
    /// When this chat came back from what it did not see.
    unseen: Option<Instant>,
}

impl Standing {
    /// Whether to come back now that nothing receives in this home; `seen`: something did meanwhile.
    fn may_come_back(&mut self, seen: bool, now: Instant) -> bool {
        if seen {
            return true;
        }
        let may = self.unseen.is_none_or(|before| now.duration_since(before) >= UNDISTURBED);
        if may {
            self.unseen = Some(now);
        }
        may
    }
}

/// How this chat comes to receive.
enum Way {
    /// No other process of the home does.
    InTurn(Turn),
    /// The user said so.
    TakeOver,
}

impl Worker {
    async fn run(&self, mut connection: Option<Connection>, leave: &Notify) {
        let mut pause = FIRST_PAUSE;
        let mut standing = Standing::default();
        loop {
            let connected = match connection.take() {
                Some(connection) => Ok(connection),
                None => tokio::select! {
                    connected = self.client.connect() => connected,
                    () = leave.notified() => return,
                },
            };
            let error = match connected {
                Ok(connection) => {
                    pause = FIRST_PAUSE;
                    tokio::select! {
                        error = self.stay(&connection, &mut standing) => match error {
                            Some(error) => error,
                            None => {
                                connection.close().await;
                                continue;
                            }
                        },
                        () = leave.notified() => {
                            // What is left stays queued.
                            let _ = self.flush(&connection).await;
                            connection.close().await;
                            return;
                        }
                    }
                }
                Err(error) => error,
            };
            let ends = !error.passes();
            let asked = match error {
                Error::Limited { seconds } => Duration::from_secs(seconds),
                _ => Duration::ZERO,
            };
            standing.untold.push_back(if ends { LinkEvent::Failed { error } } else { LinkEvent::Offline { error } });
            tokio::select! {
                () = self.tell_patiently(&mut standing) => {}
                () = leave.notified() => return,
            }
            if ends {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(pause.max(asked)) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = leave.notified() => return,
            }
        }
    }

    /// Receives and sends until the connection is of no more use. None: until what this tells was not taken. The relay
    /// delivers over this connection still, and will say that another one took over: what is read along needs one of its own.
    async fn stay(&self, connection: &Connection, standing: &mut Standing) -> Option<Error> {
        self.due.notify_one();
        let waits = AtomicBool::new(false);
        let sending = async {
            let mut again = None;
            loop {
                tokio::select! {
                    () = self.due.notified() => {}
                    () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
                }
                match self.flush(connection).await {
                    // There is no receiving loop here to notice.
                    Err(error) if error.is_connection() && waits.load(Ordering::SeqCst) => return Some(error),
                    ended => {
                        again = ended.err().and_then(|error| again_after(&error)).map(|pause| Instant::now() + pause)
                    }
                }
            }
        };
        let receiving = async {
            let mut fresh = true;
            loop {
                waits.store(true, Ordering::SeqCst);
                let way = tokio::select! {
                    way = self.turn(standing, fresh) => way,
                    error = connection.lost() => return Some(error),
                };
                waits.store(false, Ordering::SeqCst);
                fresh = false;
                let received = match way {
                    Ok(Some(way)) => self.receive(connection, way, standing).await,
                    Ok(None) => Ok(()),
                    Err(error) => Err(error),
                };
                match received {
                    Err(error @ Error::Displaced) => {
                        // Receiving is another process's business now; sending is still ours.
                        standing.displaced = true;
                        standing.untold.push_back(LinkEvent::Displaced { error });
                    }
                    Err(error) => return Some(error),
                    Ok(()) if standing.stalled => return None,
                    Ok(()) => {}
                }
            }
        };
        // While this process receives, that sends files, too.
        let files = async {
            loop {
                self.files_due.notified().await;
                if waits.load(Ordering::SeqCst) {
                    self.send_files(connection).await;
                }
            }
        };
        tokio::select! {
            error = receiving => error,
            error = sending => error,
            () = files => None,
            () = self.save_files(connection) => None,
        }
    }

    /// Sends the files that wait. What stands against it stands in the conversation; another process of the home may be at it.
    async fn send_files(&self, connection: &Connection) {
        let tell = |transfer: &Transfer| drop(self.tell.try_send(LinkEvent::Transfer(transfer.clone())));
        let Ok(report) = connection.send_files(tell).await else { return };
        for not_sent in report.not_sent {
            self.tell(LinkEvent::NotSent(not_sent)).await;
        }
        self.due.notify_one();
    }

    /// Fetches and writes what is asked for, one after the other.
    async fn save_files(&self, connection: &Connection) {
        let mut saves = self.saves.lock().await;
        loop {
            if saves.first.is_none() {
                saves.first = saves.wanted.recv().await;
            }
            // The chat is being left.
            let Some(saving) = &saves.first else { return std::future::pending().await };
            let words = match self.fetch(connection, saving).await {
                // The receiving or the sending loop notices; it is gone on with over the next connection.
                Err(error) if error.is_connection() => return std::future::pending().await,
                Err(error) => words(&error),
                Ok(fetched) => match save::one(&self.client, &fetched, saving.number, saving.to.as_deref()).await {
                    Ok(saved) => format!("{} is saved: {}", saved.name, saved.path.display()),
                    Err(Failure::Failed { message, .. }) => message,
                    Err(_) => String::new(),
                },
            };
            saves.first = None;
            self.tell(LinkEvent::Saved { words }).await;
        }
    }

    async fn fetch(&self, connection: &Connection, saving: &Saving) -> Result<MessageRecord, Error> {
        let tell = |transfer: &Transfer| drop(self.tell.try_send(LinkEvent::Transfer(transfer.clone())));
        loop {
            match connection.fetch_files(&saving.message, Some(saving.number), tell).await {
                Err(Error::StoreLocked { .. }) => tokio::time::sleep(BUSY_PAUSE).await,
                fetched => return fetched,
            }
        }
    }

    /// Waits until receiving is this chat's: no other process of the home leads, and nothing displaced this one, or that is gone.
    /// None: that was so, and what this tells is not taken. `fresh`: nothing was said of the connection yet.
    async fn turn(&self, standing: &mut Standing, fresh: bool) -> Result<Option<Way>, Error> {
        self.tell_patiently(standing).await;
        if standing.along.is_none() {
            standing.along = Some(Along::start(&self.client).await?);
        }
        if standing.lead.is_none() {
            standing.lead = self.client.try_lead().await?;
        }
        let leads = standing.lead.is_some();
        if !leads {
            standing.untold.push_back(LinkEvent::Along);
            standing.lead = Some(self.read_along(standing).await?);
        } else if fresh {
            standing.untold.push_back(match standing.displaced {
                true => LinkEvent::Displaced { error: Error::Displaced },
                false => LinkEvent::Connected,
            });
            if self.tell_leading(standing).await.is_break() {
                return Ok(None);
            }
        }
        let back = !leads || standing.displaced;
        let way = match standing.displaced {
            true => self.turn_after(standing).await?,
            // A process that receives once and ends is waited for.
            false => Way::InTurn(self.client.wait_for_turn().await?),
        };
        while let Some(event) = next_along(standing).await? {
            standing.untold.push_back(event);
            if self.tell_leading(standing).await.is_break() {
                return Ok(None);
            }
        }
        standing.displaced = false;
        if back {
            standing.untold.push_back(LinkEvent::Back);
        }
        let told = self.tell_leading(standing).await;
        Ok(Some(way).filter(|_| told.is_continue()))
    }

    /// Tells what another process receives, until that one is gone.
    async fn read_along(&self, standing: &mut Standing) -> Result<Lead, Error> {
        loop {
            self.tell_untold(standing).await;
            if let Some(event) = next_along(standing).await? {
                standing.untold.push_back(event);
            } else if let Some(along) = &mut standing.along
                && let Some(lead) = along.wait().await?
            {
                return Ok(lead);
            }
        }
    }

    /// Waits until what displaced this chat is gone, or until the user says so: then it is displaced in turn.
    async fn turn_after(&self, standing: &mut Standing) -> Result<Way, Error> {
        let when_it_is_gone = async {
            tokio::time::sleep(SETTLE).await;
            let turn = self.client.wait_for_turn().await?;
            if standing.may_come_back(turn.waited(), Instant::now()) {
                return Ok(Way::InTurn(turn));
            }
            drop(turn);
            // From here on only the user says when.
            std::future::pending().await
        };
        tokio::select! {
            way = when_it_is_gone => way,
            () = self.take_over.notified() => Ok(Way::TakeOver),
        }
    }

    /// Receives until the connection is of no more use, or until what this tells is not taken.
    async fn receive(&self, connection: &Connection, way: Way, standing: &mut Standing) -> Result<(), Error> {
        let follow = ReceiveOptions { follow: true, max_file: MAX_FILE, ..ReceiveOptions::default() };
        let sink = Leading { worker: self, standing };
        match way {
            Way::InTurn(turn) => connection.receive_in_turn(turn, follow, sink).await,
            Way::TakeOver => connection.receive_into(follow, sink).await,
        }
        .map(drop)
    }

    /// Tells what is untold, however long it takes, and can be dropped meanwhile without loss.
    async fn tell_untold(&self, standing: &mut Standing) {
        while !standing.untold.is_empty() {
            match self.tell.reserve().await {
                Ok(room) => {
                    if let Some(event) = standing.untold.pop_front() {
                        room.send(event);
                    }
                }
                // Nothing listens any more: the chat is being left.
                Err(_) => standing.untold.clear(),
            }
        }
        standing.stalled = false;
    }

    /// Tells what is untold while other processes of the home rely on this one. What is not taken costs it the lead.
    async fn tell_leading(&self, standing: &mut Standing) -> ControlFlow<()> {
        if standing.stalled || timeout(STALLED, self.tell_untold(standing)).await.is_err() {
            standing.stalled = true;
            standing.lead = None;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Tells what is untold, however long it takes. Meanwhile another process may lead.
    async fn tell_patiently(&self, standing: &mut Standing) {
        if self.tell_leading(standing).await.is_break() {
            self.tell_untold(standing).await;
        }
    }

    /// A pass over the outbox; what kept it from coming to its end.
    async fn flush(&self, connection: &Connection) -> Result<(), Error> {
        // Told behind the pass: it holds the outbox, and must not wait for the chat.
        let passed = match connection.flush(|_| {}).await {
            Ok(report) => {
                for accepted in report.accepted {
                    self.tell(LinkEvent::Accepted(accepted)).await;
                }
                for not_sent in report.not_sent {
                    self.tell(LinkEvent::NotSent(not_sent)).await;
                }
                Ok(())
            }
            // An error of the connection is the receiving loop's to mend; the outbox keeps everything.
            Err(error) => Err(error),
        };
        self.tell(LinkEvent::Flushed { error: passed.as_ref().err().cloned() }).await;
        passed
    }

    async fn tell(&self, event: LinkEvent) {
        // Nobody listens any more while the chat is being left.
        let _ = self.tell.send(event).await;
    }
}

/// When another pass is worth while, though nothing new is queued: the relay asks for patience, or another process of this home
/// sends for a long time.
fn again_after(error: &Error) -> Option<Duration> {
    match error {
        Error::Limited { seconds } => Some(Duration::from_secs(*seconds).max(FIRST_PAUSE)),
        Error::StoreLocked { .. } => Some(FIRST_PAUSE),
        _ => None,
    }
}

/// The next text that another process received.
async fn next_along(standing: &mut Standing) -> Result<Option<LinkEvent>, Error> {
    let Some(along) = &mut standing.along else { return Ok(None) };
    Ok(along.next().await?.map(|message| LinkEvent::Received(Event::Message(message))))
}

/// Tells what this process receives. What is not taken in time ends the receiving.
struct Leading<'a> {
    worker: &'a Worker,
    standing: &'a mut Standing,
}

impl EventSink for Leading<'_> {
    async fn event(&mut self, event: Event) -> ControlFlow<()> {
        if matches!(event, Event::Reconnected) {
            self.worker.due.notify_one();
        }
        // Told, and not shown yet, when another process received.
        if let Event::Message(message) = &event
            && self.standing.along.as_mut().is_some_and(|along| !along.note(message.place))
        {
            return ControlFlow::Continue(());
        }
        self.standing.untold.push_back(match event {
            // What is queued goes out with receipts, too.
            Event::Accepted(accepted) => LinkEvent::Accepted(accepted),
            event => LinkEvent::Received(event),
        });
        self.worker.tell_leading(self.standing).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_copies_of_a_home_do_not_displace_each_other_for_ever() {
        let (mut standing, now) = (Standing::default(), Instant::now());
        assert!(standing.may_come_back(false, now), "once");
        assert!(!standing.may_come_back(false, now + SETTLE), "and not again at once");
        assert!(standing.may_come_back(true, now + SETTLE), "what was seen, and is gone, may be followed");
        assert!(!standing.may_come_back(false, now + SETTLE));
        assert!(standing.may_come_back(false, now + UNDISTURBED));
    }
}
