//! One file per command: each turns its flags into calls of the client, and what comes back into records.

mod account;
pub mod along;
mod backup;
pub mod completions;
mod confirm;
mod contact;
mod delete;
mod disclosure;
mod export;
mod history;
mod invite;
mod man;
pub mod other;
mod receive;
mod register;
mod relay;
mod safety_number;
pub mod save;
mod search;
mod send;
mod send_lines;
mod status;
pub mod stream;
mod whoami;

pub use receive::{count, notice};

use std::future::Future;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kuvert_client::{Accepted, Client, Connection, Error, FlushReport, NotSent, Transfer};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::args::{Command, Contact};
use crate::chat;
use crate::error::{Failure, words};
use crate::options::Options;
use crate::output::progress::Progress;
use crate::output::record::Record;
use crate::output::underway::settle;

/// How long the end of a command waits for a line that is being printed, and a transaction that is being committed.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs a command to its end.
///
/// # Errors
/// What the command could not do.
pub fn run(command: Command, options: &Options) -> Result<ExitCode, Failure> {
    match command {
        Command::Register(args) => block_on(register::run(args, options)),
        Command::Whoami => block_on(whoami::run(options)),
        Command::Status(args) => block_on(status::run(&args, options)),
        Command::Invite(args) => block_on(invite::run(&args, options)),
        Command::Contact(Contact::Add { who, alias }) => block_on(contact::add(&who, alias.as_deref(), options)),
        Command::Contact(Contact::List) => block_on(contact::list(options)),
        Command::Contact(Contact::Rename { who, alias }) => block_on(contact::rename(&who.who, &alias, options)),
        Command::Contact(Contact::Remove { who, history, force }) => {
            block_on(contact::remove(&who.who, history, force, options))
        }
        Command::Contact(Contact::Verify(who)) => block_on(contact::verify(&who.who, options)),
        Command::Contact(Contact::Requests) => block_on(contact::requests(options)),
        Command::Contact(Contact::Accept { who, alias }) => {
            block_on(contact::accept(&who.who, alias.as_deref(), options))
        }
        Command::Contact(Contact::Block { who, at_relay, unblock }) => {
            block_on(contact::block(who.who, !unblock, at_relay, options))
        }
        Command::SafetyNumber(args) => block_on(safety_number::run(&args, options)),
        Command::Send(args) => block_on(send::run(args, options)),
        Command::Receive(args) => block_on(receive::run(&args, options)),
        Command::Save(args) => block_on(save::run(&args, options)),
        Command::Chat(args) => block_on(chat::run(&args, options)),
        Command::History(args) => block_on(history::run(&args, options)),
        Command::Search(args) => block_on(search::run(&args, options)),
        Command::Delete(args) => block_on(delete::run(&args, options)),
        Command::Export(args) => block_on(export::run(&args, options)),
        Command::Backup(args) => block_on(backup::make(args, options)),
        Command::Restore(args) => block_on(backup::read(args, options)),
        Command::Disclosure(args) => block_on(disclosure::run(&args, options)),
        Command::Account(args) => block_on(account::run(args, options)),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Relay(args) => return relay::run(args, options),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Opens the account of the home that the options name.
///
/// # Errors
/// There is none, or it cannot be used.
pub async fn open(options: &Options) -> Result<Client, Failure> {
    Ok(Client::open(&options.home()?, client_options(options, None)).await?)
}

/// How the client opens a home; `limit` is how long the user wants to wait at most.
pub fn client_options(options: &Options, limit: Option<Duration>) -> kuvert_client::Options {
    let mut options = kuvert_client::Options {
        level: options.level,
        local_address: options.local_address,
        store_key_file: std::env::var_os("KUVERT_STORE_KEY_FILE").filter(|path| !path.is_empty()).map(Into::into),
        ..kuvert_client::Options::default()
    };
    if let Some(limit) = limit {
        options.connect_timeout = options.connect_timeout.min(limit);
    }
    options
}

/// A pass over the outbox, as a task of its own: it holds the outbox of this home, and must go on while the caller waits for a
/// reader of its output. Ends when it is dropped.
pub struct Flushing {
    accepted: mpsc::UnboundedReceiver<Accepted>,
    task: JoinSet<Result<FlushReport, Error>>,
}

impl Flushing {
    /// Starts it.
    pub fn start(connection: &Connection) -> Self {
        // Unbounded: the report has all of them, too, and the outbox bounds both.
        let (tell, accepted) = mpsc::unbounded_channel();
        let (connection, mut task) = (connection.clone(), JoinSet::new());
        task.spawn(async move {
            // Nobody listens where the output has no reader any more.
            connection.flush(|accepted| drop(tell.send(accepted.clone()))).await
        });
        Self { accepted, task }
    }

    /// The next text that the relay took; none at the end.
    pub async fn next(&mut self) -> Option<Accepted> {
        self.accepted.recv().await
    }

    /// What could not be sent.
    ///
    /// # Errors
    /// The connection or the store failed.
    pub async fn end(mut self) -> Result<Vec<NotSent>, Error> {
        match self.task.join_next().await {
            Some(Ok(report)) => Ok(report?.not_sent),
            _ => Err(Error::Internal { what: "sending panicked" }),
        }
    }
}

/// Hears what contacts say about sessions with this home before it sends, and prints it. What fails here does not keep a text
/// from being sent: if it is the connection, sending says so.
///
/// # Errors
/// The output is gone.
pub async fn look(connection: &Connection, options: &Options) -> Result<(), Failure> {
    // Printed when the home's inbox is free again: a reader that pauses must not keep it.
    let mut events = Vec::new();
    if let Err(error) = connection.look_for_resets(|event| events.push(event)).await {
        tracing::warn!(code = error.code(), "what waits was not looked at before sending");
    }
    for event in &events {
        receive::print(event, options.output).await?;
    }
    Ok(())
}

/// Does something with files, and shows how far it is. It gets where to say so.
///
/// # Errors
/// Its own; the output has no reader.
pub async fn with_progress<T, F: Future<Output = Result<T, Error>>>(
    options: &Options,
    work: impl FnOnce(mpsc::UnboundedSender<Transfer>) -> F,
) -> Result<T, Failure> {
    // Unbounded: a file is told in pieces of 64 KiB at the least, and what waits is read at once.
    let (say, mut transfers) = mpsc::unbounded_channel();
    let (mut progress, mut work) = (Progress::default(), std::pin::pin!(work(say)));
    loop {
        tokio::select! {
            biased;
            Some(transfer) = transfers.recv() => progress.show(&transfer, options.output).await?,
            done = &mut work => {
                while let Ok(transfer) = transfers.try_recv() {
                    progress.show(&transfer, options.output).await?;
                }
                progress.end();
                return Ok(done?);
            }
        }
    }
}

/// Sends the files that wait; what stands against each message that was not.
///
/// # Errors
/// Those of the connection and of the store; the output has no reader.
pub async fn send_files(connection: &Connection, options: &Options) -> Result<Vec<NotSent>, Failure> {
    let connection = connection.clone();
    let report = with_progress(options, |say| async move {
        connection.send_files(move |transfer| drop(say.send(transfer.clone()))).await
    });
    Ok(report.await?.not_sent)
}

/// Sends what is queued, prints what the relay accepted, and returns what could not be sent.
///
/// # Errors
/// The connection or the store failed, or the output has no reader.
pub async fn flush(connection: &Connection, options: &Options) -> Result<Vec<NotSent>, Failure> {
    flush_noting(connection, options, |_| {}).await
}

/// The same; `note` hears of each text that the relay accepted.
///
/// # Errors
/// As [`flush`].
pub async fn flush_noting(
    connection: &Connection,
    options: &Options,
    mut note: impl FnMut(&Accepted),
) -> Result<Vec<NotSent>, Failure> {
    let mut flushing = Flushing::start(connection);
    let mut printed = Ok(());
    while let Some(accepted) = flushing.next().await {
        note(&accepted);
        if printed.is_ok() {
            printed = tell_accepted(&accepted, options).await;
        }
    }
    let not_sent = flushing.end().await?;
    printed?;
    Ok(not_sent)
}

/// Prints that the relay has a text.
///
/// # Errors
/// The output has no reader.
pub async fn tell_accepted(accepted: &Accepted, options: &Options) -> Result<(), Failure> {
    let id = accepted.message.id.to_string();
    options.output.tell(&Record::Accepted { id: &id, to: &accepted.to, sealed: Some(accepted.anonymous) }).await
}

/// Remarks upon messages that could not be sent, when they are not what the user asked for now.
pub fn remark(not_sent: &[NotSent], options: &Options) {
    for message in not_sent {
        options.output.note(&format!("still not sent to {}: {}", message.to, words(&message.error)));
    }
}

fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = runtime()?;
    let ended = runtime.block_on(command);
    // What is being printed and noted comes to its end, unless its reader pauses. Noting it needs the runtime.
    let until = Instant::now() + FAREWELL;
    settle(FAREWELL);
    runtime.shutdown_timeout(until.saturating_duration_since(Instant::now()));
    ended
}

/// What futures run on.
///
/// # Errors
/// The system gives no threads.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::io("start the runtime", &error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use tokio::runtime::Handle;
    use tokio::task::spawn_blocking;

    use super::block_on;
    use crate::output::Output;
    use crate::output::record::Record;

    #[test]
    fn what_is_printed_is_noted_also_where_the_command_ends_in_between() {
        let noted = Arc::new(AtomicBool::new(false));
        let (note, (printed, printing), (running, ended)) =
            (Arc::clone(&noted), mpsc::channel(), mpsc::channel::<()>());
        let command = async move {
            let runtime = Handle::current();
            let then = move || {
                printed.send(()).unwrap();
                // Until the command has ended.
                assert!(ended.recv().is_err());
                // As the store does.
                note.store(runtime.block_on(spawn_blocking(|| true)).unwrap_or_default(), Ordering::SeqCst);
                Ok(())
            };
            // People read nothing of this one.
            drop(tokio::spawn(async move { Output::new(false).tell_then(&Record::CaughtUp {}, then).await }));
            spawn_blocking(move || printing.recv()).await.unwrap().unwrap();
            drop(running);
            Ok(())
        };
        assert!(block_on(command).is_ok());
        assert!(noted.load(Ordering::SeqCst));
    }
}
