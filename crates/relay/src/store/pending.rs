//! The answer to come.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::StoreError;

/// The answer of a store operation that is already under way. A future that needs no particular runtime; dropping it
/// cancels nothing.
#[must_use = "the operation is under way, but whether it succeeded is only known from here"]
pub struct Pending<T, E>(oneshot::Receiver<Result<T, E>>);

/// Where a backend puts the answer.
pub type Reply<T, E> = oneshot::Sender<Result<T, E>>;

impl<T, E: From<StoreError>> Pending<T, E> {
    /// A place for the answer, and the future that waits for it.
    pub fn channel() -> (Reply<T, E>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

    /// An answer that is known already.
    pub fn ready(answer: Result<T, E>) -> Self {
        let (sender, pending) = Self::channel();
        // The receiver is right here, so this cannot fail.
        let _ = sender.send(answer);
        pending
    }

    /// Blocks the thread until the answer is there. Not for use inside of a runtime's task.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn wait(self) -> Result<T, E> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(lost()))
    }
}

impl<T, E: From<StoreError>> Future for Pending<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(lost())))
    }
}

/// The backend went away with the question: how far it came is not known.
fn lost<E: From<StoreError>>() -> E {
    StoreError::Unknown("the store's worker ended".into()).into()
}

impl<T, E> fmt::Debug for Pending<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending(…)")
    }
}
