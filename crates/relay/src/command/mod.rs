//! What a client can ask for, a file per command.
//!
//! A command is judged when it is read, and asks the store for its work at once. The submits of one connection go through
//! its [`Session`], which keeps their order however many are under way. A command's answer is a future that the
//! connection's writer waits for.
//!
//! | module | commands | who may |
//! |---|---|---|
//! | [`authenticate`] | Authenticate | whoever holds the device's key |
//! | [`register`] | Register | whoever holds the keys of a new account |
//! | [`submit`] | Submit | every device, under its own name |
//! | [`sealed`] | SubmitSealed, SetAccessKey | nobody who has a name, with the access key; the account for its own |
//! | [`block`] | SetBlocked | an account, for its own mail |
//! | [`attach`] | Attach | the device, for its own mailbox |
//! | [`acknowledge`] | Acknowledge, AcknowledgeExpired | the device, for its own mailbox, what it was sent |
//! | [`prekeys`] | PublishPrekeys, CountPrekeys, TakeBundles | the device for its own; every device takes |
//! | [`account`] | GetAccount, PublishDeviceList | every device looks up; an account publishes its own |
//! | [`correct`] | UpdateAccount | an account, its own |
//! | [`delete`] | DeleteAccount | an account, itself |
//! | [`report`] | RequestReport, FetchReport | an account, its own |
//! | [`extension`] | Extension | every device, where the relay has the extension ([`crate::extension`]) |
//!
//! No command names a mailbox to fetch from, delete from or publish for: it is always the authenticated device's own.

pub mod account;
pub mod acknowledge;
pub mod attach;
pub mod authenticate;
pub mod block;
pub mod correct;
pub mod delete;
pub mod extension;
pub mod prekeys;
pub mod refusal;
pub mod register;
pub mod report;
pub mod sealed;
pub mod submit;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kuvert_types::{AccountId, Address};
use kuvert_wire::v1::client_frame::Body as Request;
use kuvert_wire::v1::server_frame::Body as Response;

use crate::observe::ConnectionNumber;
use crate::service::Service;
use crate::store::Session;

pub use refusal::Refusal;

/// An answer to come. It owns all that it needs, and finishes its work also when nobody is there to hear it.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response, Refusal>> + Send>>;

/// Who asks, on an authenticated connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The relay.
    pub service: Arc<Service>,
    /// The device that authenticated.
    pub device: Address,
    /// Its connection.
    pub connection: ConnectionNumber,
}

impl Caller {
    /// Refuses to store what is as large as its sender likes, where there is little room, and none for this account [KV-093].
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub fn may_store(&self) -> Result<(), Refusal> {
        let Self { service, device, .. } = self;
        if is_kept_out(service, &device.account) { Err(Refusal::low_water()) } else { Ok(()) }
    }
}

/// What belongs to one connection, and what its commands change.
pub struct Lane {
    /// The mailbox that it is attached to.
    pub delivery: attach::Delivery,
    /// The order of its submits.
    pub session: Box<dyn Session>,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

/// Does what an authenticated device asks for on the connection that has this lane.
pub fn run(caller: &Caller, lane: &mut Lane, request: Request) -> Answer {
    let name = name(&request);
    if stores(&request)
        && let Err(refusal) = caller.may_store()
    {
        return counted(&caller.service, name, caller.service.clock.elapsed(), Err(refusal));
    }
    let answer = match request {
        // It says itself what its requests are called.
        Request::Extension(request) => return extension::run(caller, request),
        Request::Submit(request) => submit::run(caller, &mut *lane.session, request),
        Request::Attach(v) => attach::run(caller, &mut lane.delivery, v),
        Request::Acknowledge(request) => acknowledge::run(caller, &mut lane.delivery, request),
        Request::AcknowledgeExpired(request) => acknowledge::run_expired(caller, request),
        Request::PublishPrekeys(request) => prekeys::publish(caller, request),
        Request::CountPrekeys(v) => prekeys::count(caller, v),
        Request::TakeBundles(request) => prekeys::take(caller, request),
        Request::GetAccount(request) => account::get(caller, request),
        Request::PublishDeviceList(request) => account::publish_device_list(caller, request),
        Request::SetAccessKey(request) => sealed::set_access_key(caller, request),
        Request::SubmitSealed(_) => Err(Refusal::new(
            refusal::Code::Invalid,
            "this connection is authenticated; a sealed envelope is submitted on one that is not",
        )),
        Request::SetBlocked(request) => block::set(caller, request),
        Request::UpdateAccount(request) => correct::run(caller, request),
        Request::DeleteAccount(v) => delete::run(caller, v),
        Request::RequestReport(v) => report::request(caller, v),
        Request::FetchReport(request) => report::fetch(caller, request),
        Request::Hello(_) | Request::Authenticate(_) | Request::Register(_) => Err(Refusal::new(
            refusal::Code::Invalid,
            "this connection is authenticated already; open another one to be somebody else",
        )),
    };
    counted(&caller.service, name, caller.service.clock.elapsed(), answer)
}

/// Whether a request leaves as much on the disk as its sender likes.
const fn stores(request: &Request) -> bool {
    matches!(request, Request::Submit(_) | Request::PublishPrekeys(_) | Request::RequestReport(_))
}

/// Whether there is little room, and none for this account [KV-093].
fn is_kept_out(service: &Service, account: &AccountId) -> bool {
    service.young.is_young(account, service.clock.now_ms()) && service.low_water.is_low()
}

/// An answer to a request that was read at `asked`, which is counted when it is there.
pub(crate) fn counted(
    service: &Arc<Service>,
    name: &'static str,
    asked: Duration,
    answer: Result<Answer, Refusal>,
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

/// As metrics name it.
const fn name(request: &Request) -> &'static str {
    match request {
        Request::Hello(_) => "hello",
        Request::Authenticate(_) => "authenticate",
        Request::Register(_) => "register",
        Request::Submit(_) => "submit",
        Request::Attach(_) => "attach",
        Request::Acknowledge(_) => "acknowledge",
        Request::AcknowledgeExpired(_) => "acknowledge_expired",
        Request::PublishPrekeys(_) => "publish_prekeys",
        Request::CountPrekeys(_) => "count_prekeys",
        Request::TakeBundles(_) => "take_bundles",
        Request::GetAccount(_) => "get_account",
        Request::PublishDeviceList(_) => "publish_device_list",
        Request::SubmitSealed(_) => "submit_sealed",
        Request::SetAccessKey(_) => "set_access_key",
        Request::SetBlocked(_) => "set_blocked",
        Request::UpdateAccount(_) => "update_account",
        Request::DeleteAccount(_) => "delete_account",
        Request::RequestReport(_) => "request_report",
        Request::FetchReport(_) => "fetch_report",
        Request::Extension(_) => extension::NOT_OFFERED,
    }
}
