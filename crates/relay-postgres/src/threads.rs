//! The backend's own threads: operations are under way when they are called, from any thread, within a runtime or without.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::thread;

use kuvert_relay::store::{Pending, StoreError};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::outcome::Fault;
use crate::schema::OpenError;

/// Threads that do the work: mostly they wait for the network.
const WORKERS: usize = 2;

/// Where work is done. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Spawn(Handle);

impl Spawn {
    /// Onto the runtime that this is called in.
    pub fn here() -> Self {
        Self(Handle::current())
    }

    /// Does something, even if the answer is not waited for.
    ///
    /// # Errors
    /// Those of the work; unknown if it panicked or the threads ended.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        self.0.spawn(work).await.unwrap_or_else(|_| Err(Fault::unknown("the work ended before its answer")))
    }

    /// The same, as a [`Pending`].
    pub fn pending<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Pending<T, E> {
        let (reply, pending) = Pending::channel();
        drop(self.0.spawn(async move {
            // An error of sending means that the answer is not waited for.
            let _ = reply.send(work.await);
        }));
        pending
    }

    /// Begins something. The error is that it panicked, which has been printed, or that the threads ended.
    pub fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.0.spawn(work)
    }

    /// Starts something that goes on.
    pub fn start(&self, work: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        self.0.spawn(work)
    }
}

/// The threads. They end when this is dropped, which waits for them.
#[derive(Debug)]
pub struct Threads {
    spawn: Spawn,
    stop: Mutex<Option<(oneshot::Sender<()>, thread::JoinHandle<()>)>>,
}

impl Threads {
    /// Starts them, under a name.
    ///
    /// # Errors
    /// The system refuses.
    pub fn start(name: &str) -> Result<Self, OpenError> {
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).thread_name(name).enable_all().build();
        let runtime = runtime.map_err(OpenError::Threads)?;
        let spawn = Spawn(runtime.handle().clone());
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name(format!("{name}-main"))
            // A runtime must not be dropped within another one's task, hence a thread of its own.
            .spawn(move || {
                let _ = runtime.block_on(stopped);
            })
            .map_err(OpenError::Threads)?;
        Ok(Self { spawn, stop: Mutex::new(Some((stop, thread))) })
    }

    /// Where work is done.
    pub const fn spawn(&self) -> &Spawn {
        &self.spawn
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = stop.send(());
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}
