//! What a client can ask for, a file per command.
//!
//! A command is judged when it is read, and asks the store for its work at once. The submits of one connection go through
//! its [`Session`], which keeps their order however many are under way. A command's answer is a future that the
//! connection's writer waits for.
//!
//! One table, `commands!` below, says for each command how metrics name it, whether it leaves as much on the disk as its
//! sender likes, and what does it. A test compares the list here with it.
//!
//! | module | commands | which may |
//! |---|---|---|
//! | [`authenticate`] | Authenticate | a peer that holds the device's key |
//! | [`register`] | Register | a peer that holds the keys of a new account |
//! | [`submit`] | Submit | every device, under its own name |
//! | [`sealed`] | SubmitSealed, SetAccessKey | a peer without a name, with the access key; the account for its own |
//! | [`slot`] | WriteSlot, ReadSlot | a peer without a name that knows the slot's |
//! | [`block`] | SetBlocked | an account, for its own mail |
//! | [`attach`] | Attach | the device, for its own mailbox |
//! | [`acknowledge`] | Acknowledge, AcknowledgeExpired | the device, for its own mailbox, what it was sent |
//! | [`prekeys`] | PublishPrekeys, CountPrekeys, TakeBundles | the device for its own; every device takes |
//! | [`account`] | GetAccount, PublishDeviceList | every device looks up; an account publishes its own |
//! | [`correct`] | UpdateAccount | an account, its own |
//! | [`delete`] | DeleteAccount | an account, itself |
//! | [`report`] | RequestReport, FetchReport | an account, its own |
//! | [`extension`] | Extension | every device, where the relay has the extension ([`crate::extension`]) |
//! | [`mod@self`] | Blob | refused here: a blob has a stream of its own ([`crate::blobs`]) |
//!
//! No command names a mailbox to fetch from, delete from or publish for: it is always the authenticated device's own.

pub mod account;
pub mod acknowledge;
pub mod attach;
pub mod authenticate;
pub mod block;
pub mod correct;
pub mod delete;
pub mod error;
pub mod extension;
pub mod prekeys;

pub mod register;
pub mod report;
pub mod sealed;
pub mod slot;
pub mod submit;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kuvert_types::AccountId;
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::server_frame::Body as Response;

use crate::delivery::Delivery;
use crate::shared::Shared;
use crate::store::Session;

pub use crate::device::AuthenticatedDevice;
pub use error::{Code, CommandError};
pub(crate) use submit::first_day;

/// An answer to come. It owns all that it needs, and finishes its work also when the connection is gone.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response, CommandError>> + Send>>;

impl AuthenticatedDevice {
    /// Refuses to store what is as large as its sender likes, where there is little room, and none for this account [KV-093].
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub fn may_store(&self) -> Result<(), CommandError> {
        let Self { service, device, .. } = self;
        if is_kept_out(service, &device.account) { Err(CommandError::low_water()) } else { Ok(()) }
    }
}

/// What belongs to one connection, and what its commands change.
pub struct Lane {
    /// The mailbox that it is attached to.
    pub delivery: Delivery,
    /// The order of its submits.
    pub session: Box<dyn Session>,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

/// A command, as it is told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command {
    /// Its frame in the protocol.
    pub frame: &'static str,
    /// As metrics name it.
    pub name: &'static str,
    /// Whether it leaves as much on the disk as its sender likes.
    pub stores: bool,
}

/// A line for each command: frame, name, whether it stores, and what does it. What does it is given the device, its lane, the
/// request, and the name, which it may change.
macro_rules! commands {
    ($($frame:ident, $name:literal, $stores:literal => |$device:pat_param, $lane:pat_param, $request:pat_param, $called:pat_param| $work:expr;)*) => {
        /// Every command.
        pub const COMMANDS: &[Command] =
            &[$(Command { frame: stringify!($frame), name: $name, stores: $stores },)*];

        const fn command(request: &Request) -> Command {
            match request {
                $(Request::$frame(_) => Command { frame: stringify!($frame), name: $name, stores: $stores },)*
            }
        }

        fn judge(
            device: &AuthenticatedDevice,
            lane: &mut Lane,
            request: Request,
            called: &mut &'static str,
        ) -> Result<Answer, CommandError> {
            match request {
                $(Request::$frame(request) => {
                    let ($device, $lane, $request, $called) = (device, lane, request, called);
                    $work
                })*
            }
        }
    };
}

commands! {
    Hello, "hello", false => |_, _, _, _| Err(authenticated_already());
    Authenticate, "authenticate", false => |_, _, _, _| Err(authenticated_already());
    Register, "register", false => |_, _, _, _| Err(authenticated_already());
    Submit, "submit", true => |device, lane, request, _| submit::run(device, &mut *lane.session, request);
    SubmitSealed, "submit_sealed", false => |_, _, _, _| Err(no_sealed_mail_here());
    SetAccessKey, "set_access_key", false => |device, _, request, _| sealed::set_access_key(device, request);
    SetBlocked, "set_blocked", false => |device, _, request, _| block::set(device, request);
    Attach, "attach", false => |device, lane, request, _| attach::run(device, &mut lane.delivery, request);
    Acknowledge, "acknowledge", false => |device, lane, request, _| acknowledge::run(device, &mut lane.delivery, request);
    AcknowledgeExpired, "acknowledge_expired", false => |device, _, request, _| acknowledge::run_expired(device, request);
    PublishPrekeys, "publish_prekeys", true => |device, _, request, _| prekeys::publish(device, request);
    CountPrekeys, "count_prekeys", false => |device, _, request, _| prekeys::count(device, request);
    TakeBundles, "take_bundles", false => |device, _, request, _| prekeys::take(device, request);
    GetAccount, "get_account", false => |device, _, request, _| account::get(device, request);
    PublishDeviceList, "publish_device_list", false => |device, _, request, _| account::publish_device_list(device, request);
    UpdateAccount, "update_account", false => |device, _, request, _| correct::run(device, request);
    DeleteAccount, "delete_account", false => |device, _, request, _| delete::run(device, request);
    RequestReport, "request_report", true => |device, _, request, _| report::request(device, request);
    FetchReport, "fetch_report", false => |device, _, request, _| report::fetch(device, request);
    // An extension says itself what its requests are called.
    Extension, "extension", false => |device, _, request, called| extension::run(device, request, called);
    Blob, "blob", false => |_, _, _, _| Err(not_on_this_stream());
    WriteSlot, "write_slot", false => |_, _, _, _| Err(no_slots_here());
    ReadSlot, "read_slot", false => |_, _, _, _| Err(no_slots_here());
}

/// Does what an authenticated device asks for on the connection that has this lane.
pub fn run(device: &AuthenticatedDevice, lane: &mut Lane, request: Request) -> Answer {
    let asked = device.service.clock.elapsed();
    let Command { mut name, stores, .. } = command(&request);
    let may = if stores { device.may_store() } else { Ok(()) };
    let answer = may.and_then(|()| judge(device, lane, request, &mut name));
    counted(&device.service, name, asked, answer)
}

fn authenticated_already() -> CommandError {
    CommandError::new(Code::Invalid, "this connection is authenticated already; open another one to be somebody else")
}

fn no_sealed_mail_here() -> CommandError {
    CommandError::new(
        Code::Invalid,
        "this connection is authenticated; a sealed envelope is submitted on one that is not",
    )
}

fn no_slots_here() -> CommandError {
    CommandError::new(Code::Invalid, "this connection is authenticated; slots are reached on one that is not")
}

fn not_on_this_stream() -> CommandError {
    CommandError::new(Code::Invalid, "this stream is for mail; a blob has a stream of its own")
}

/// Whether there is little room, and none for this account [KV-093].
pub(crate) fn is_kept_out(service: &Shared, account: &AccountId) -> bool {
    service.young.is_young(account, service.clock.now_ms()) && service.low_water.is_low()
}

/// An answer to a request that was read at `asked`, which is counted when it is there.
pub(crate) fn counted(
    service: &Arc<Shared>,
    name: &'static str,
    asked: Duration,
    answer: Result<Answer, CommandError>,
) -> Answer {
    let service = Arc::clone(service);
    Box::pin(async move {
        let answer = match answer {
            Ok(answer) => answer.await,
            Err(refusal) => Err(refusal),
        };
        service.metrics.answered(name, service.clock.elapsed().saturating_sub(asked), &answer);
        answer
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_list_of_commands_is_the_table() {
        // Rows begin with a module's name; the second column has the frames.
        let rows = include_str!("mod.rs").lines().filter(|line| line.starts_with("//! | [`"));
        let frames = rows.filter_map(|row| row.split('|').nth(2)).flat_map(|frames| frames.split(','));
        let listed: Vec<&str> = frames.map(str::trim).collect();
        let distinct: BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!(listed.len(), distinct.len(), "none stands twice");
        let greets = |command: &&Command| command.frame != "Hello";
        assert_eq!(distinct, COMMANDS.iter().filter(greets).map(|command| command.frame).collect());
    }

    #[test]
    fn metrics_name_commands_as_the_protocol_does() {
        for Command { frame, name, .. } in COMMANDS {
            let words = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
            assert_eq!(words.collect::<String>(), *frame);
        }
    }
}
