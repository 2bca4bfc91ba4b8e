//! Where an answer goes.

use std::fmt;

use kuvert_relay::store::pending::Reply;
use kuvert_relay::store::{Pending, StoreError};

/// Where an answer goes: to a [`Pending`] that is waited for, or right into a function. What comes from another node's lane has a few
/// steps before it reaches the one that asked; as functions they cost neither a task nor a wake-up for each.
///
/// Dropped without an answer, it says that the fate of what was asked is not known.
pub struct Answering<T, E: From<StoreError>>(Option<Way<T, E>>);

enum Way<T, E> {
    Waited(Reply<T, E>),
    Called(Box<dyn FnOnce(Result<T, E>) + Send + Sync>),
}

impl<T, E: From<StoreError>> Answering<T, E> {
    /// Calls a function with it, in the thread that has the answer: nothing in there may block, or take locks that are held by who
    /// answers.
    pub fn with(call: impl FnOnce(Result<T, E>) + Send + Sync + 'static) -> Self {
        Self(Some(Way::Called(Box::new(call))))
    }

    /// One that is waited for, and the future that waits.
    pub fn channel() -> (Self, Pending<T, E>) {
        let (reply, pending) = Pending::channel();
        (reply.into(), pending)
    }

    /// Gives the answer.
    pub fn send(mut self, answer: Result<T, E>) {
        self.give(answer);
    }

    fn give(&mut self, answer: Result<T, E>) {
        match self.0.take() {
            // An error of sending means that the answer is not waited for.
            Some(Way::Waited(reply)) => drop(reply.send(answer)),
            Some(Way::Called(call)) => call(answer),
            None => {}
        }
    }
}

impl<T, E: From<StoreError>> From<Reply<T, E>> for Answering<T, E> {
    fn from(reply: Reply<T, E>) -> Self {
        Self(Some(Way::Waited(reply)))
    }
}

impl<T, E: From<StoreError>> Drop for Answering<T, E> {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.give(Err(StoreError::Unknown("the work ended before its answer".into()).into()));
        }
    }
}

impl<T, E: From<StoreError>> fmt::Debug for Answering<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answering(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn an_answer_comes_once_and_one_that_is_dropped_is_not_known() {
        let (told, heard) = mpsc::channel();
        let call = || {
            let told = told.clone();
            Answering::<u8, StoreError>::with(move |answer| told.send(answer).unwrap())
        };
        call().send(Ok(1));
        drop(call());
        drop(told.clone());
        assert_eq!(heard.recv().unwrap(), Ok(1));
        assert!(matches!(heard.recv().unwrap(), Err(StoreError::Unknown(_))));
        assert!(heard.try_recv().is_err(), "once each");
        let (answering, pending) = Answering::<u8, StoreError>::channel();
        answering.send(Ok(2));
        assert_eq!(pending.wait(), Ok(2));
        let (answering, pending) = Answering::<u8, StoreError>::channel();
        drop(answering);
        assert!(matches!(pending.wait(), Err(StoreError::Unknown(_))));
    }
}
