//! Ctrl-C and SIGTERM as something to wait for, so that a command can end in good order.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Failure;

/// Waits for the user or the system to end the program.
#[derive(Debug)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// From here on neither signal kills the process: the caller has to wait for [`Stop::requested`].
    ///
    /// # Errors
    /// The system refuses the handler.
    pub fn listen() -> Result<Self, Failure> {
        let handler = |kind| signal(kind).map_err(|error| Failure::io("listen for signals", &error));
        Ok(Self { interrupt: handler(SignalKind::interrupt())?, terminate: handler(SignalKind::terminate())? })
    }

    /// Returns at the first Ctrl-C or SIGTERM.
    pub async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
