//! What a relay can offer beyond mail: an [`Extension`], whose requests travel as bytes in one frame of the protocol. The
//! relay knows an extension by this trait alone. A relay without one answers every such request with `NOT_OFFERED`, and
//! neither reads nor stores its body.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use kuvert_privacy::registry::Field;
use kuvert_types::{AccountId, Address};

pub use crate::command::{AuthenticatedDevice, Code, CommandError};
use crate::store::{Pending, StoreError};

/// An answer to come: the body of the answering frame. It owns all that it needs, and finishes its work also when the
/// connection is gone.
pub type Reply = Pin<Box<dyn Future<Output = Result<Bytes, CommandError>> + Send>>;

/// What became of a request.
pub struct Handled {
    /// The request's name, as metrics give it.
    pub request: &'static str,
    /// The answer, or why there is none.
    pub reply: Result<Reply, CommandError>,
}

impl fmt::Debug for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handled").field("request", &self.request).finish_non_exhaustive()
    }
}

/// What a relay offers beyond mail.
pub trait Extension: Send + Sync + fmt::Debug + 'static {
    /// Its name in frames, at most [`MAX_EXTENSION_NAME_BYTES`](kuvert_types::limits::MAX_EXTENSION_NAME_BYTES).
    fn name(&self) -> &'static str;

    /// What the log says about it at every start.
    fn warning(&self) -> Option<&'static str> {
        None
    }

    /// What it can store, as the registry tells of it.
    fn fields(&self) -> &'static [&'static [Field]];

    /// Does what an authenticated device asks for. It is called in the order of the requests, and asks
    /// [`AuthenticatedDevice::may_store`] before it stores anything.
    fn handle(&self, caller: &AuthenticatedDevice, body: Bytes) -> Handled;

    /// Deletes what devices that left their account's device list have stored.
    fn forget_devices(&self, devices: Vec<Address>) -> Pending<(), StoreError>;

    /// Deletes all that belongs to an account, which is about to be deleted itself. Doing it again changes nothing.
    fn erase(&self, account: AccountId) -> Pending<(), StoreError>;

    /// Deletes what has had its time at `now`, Unix milliseconds: asked once a minute. Says how many rows.
    fn prune(&self, now: u64) -> Pending<usize, StoreError>;
}
