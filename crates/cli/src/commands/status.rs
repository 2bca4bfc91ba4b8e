//! `kuvert status`

use std::time::Duration;

use kuvert_client::{Client, Error, MAX_AHEAD_MS, RelayAnswer, Status};
use tokio::time::timeout;

use crate::args;
use crate::commands::client_options;
use crate::error::{Failure, words};
use crate::options::Options;
use crate::output::record::{self, Record};

/// How long the relay is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the relay said; none: it was not asked.
type Answer = Option<Result<RelayAnswer, Error>>;

/// Prints how this home stands. A relay that does not answer is an answer.
pub async fn run(args: &args::Status, options: &Options) -> Result<(), Failure> {
    let client = Client::open(&options.home()?, client_options(options, Some(PATIENCE))).await?;
    let status = client.status().await?;
    let answer = if args.offline { None } else { Some(ask(&client).await) };
    let error = answer.as_ref().and_then(|answer| answer.as_ref().err());
    let heard = answer.as_ref().and_then(|answer| answer.as_ref().ok());
    let (relay, relay_words) = (status.relay.host_port(), error.map(words));
    let (next, next_words) = next(&status, &answer);
    options.output.print(&Record::Status(Box::new(record::Status {
        account: &status.address.account.to_string(),
        device: status.address.device.get(),
        name: status.name.as_deref(),
        relay: &relay,
        reachable: answer.as_ref().map(Result::is_ok),
        relay_error: error.map(Error::code),
        relay_words: relay_words.as_deref(),
        answer_ms: heard.map(|heard| u64::try_from(heard.took.as_millis()).unwrap_or(u64::MAX)),
        clock_ahead_ms: heard.map(|heard| heard.clock_ahead_ms),
        waiting: heard.map(|heard| heard.waiting),
        queued: status.queued,
        unread: status.unread,
        requests: status.requests,
        changed_keys: status.changed_keys,
        copy_seen_at: status.copy_seen_at,
        level: status.level.as_str(),
        version: env!("CARGO_PKG_VERSION"),
        protocol: status.protocol,
        store: status.store,
        next,
        next_words: &next_words,
    })))
}

/// Asks the relay, for a bounded time in all.
async fn ask(client: &Client) -> Result<RelayAnswer, Error> {
    match timeout(PATIENCE, client.ask_relay()).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::RequestTimeout { seconds: PATIENCE.as_secs() }),
    }
}

/// What to do where two copies of a home are in use.
const COPIED: &str = "go on with one copy only: what one fetches the other never gets. End what runs with the other one. What it \
                      received stands in its own history alone: read it, `kuvert --home DIR history WHO`, or keep it, `kuvert \
                      --home DIR export WHO --to …`. Then delete its directory, and register anew there: `kuvert --home DIR \
                      register --relay …`. Not `kuvert account delete`: that ends both";

/// What to do next: a code for scripts, and words.
fn next(status: &Status, answer: &Answer) -> (&'static str, String) {
    let heard = answer.as_ref().and_then(|answer| answer.as_ref().ok());
    let say = |code: &'static str, words: &str| (code, words.to_owned());
    if status.deleted_at.is_some() {
        return say("register", "the account is deleted: register a new one in another --home");
    }
    match answer {
        Some(Err(Error::AccountDeleted)) => {
            return say("register", "the account is deleted: register a new one in another --home");
        }
        Some(Err(error)) if !error.passes() => {
            return say("relay", "ask the operator of the relay what became of it, and change nothing until you know");
        }
        _ => {}
    }
    if status.copy_seen_at.is_some() {
        return say("copy", COPIED);
    }
    if heard.is_some_and(|heard| heard.clock_ahead_ms.unsigned_abs() > MAX_AHEAD_MS) {
        return say("clock", "set the clock of this machine, or tell the operator that the relay's is wrong");
    }
    if status.changed_keys > 0 {
        return say("compare-keys", "compare safety numbers where `kuvert contact list` says that a key changed");
    }
    if status.requests > 0 {
        return say("requests", "accept or block a request: `kuvert contact requests`");
    }
    if status.unread > 0 {
        return say("receive", "read: `kuvert receive`");
    }
    match answer {
        Some(Err(_)) if status.queued > 0 => {
            say("wait", "wait: the next command that reaches the relay sends what is queued")
        }
        Some(Err(_)) => say("wait", "wait: the relay is away, nothing is lost"),
        _ if status.queued > 0 => say("send", "send again what is queued: `kuvert receive --max 0`"),
        Some(Ok(heard)) if heard.waiting > 0 => say("receive", "fetch what waits at the relay: `kuvert receive`"),
        _ if status.contacts == 0 => {
            say("add-contact", "add a contact: `kuvert invite` for others, or `kuvert contact add NAME|LINK`")
        }
        _ => say("nothing", "nothing to do"),
    }
}
