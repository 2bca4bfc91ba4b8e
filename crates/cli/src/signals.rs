//! The signals that end a command, as something to wait for, so that it can end in good order.
//!
//! | signal | waited for by |
//! |---|---|
//! | Ctrl-C (SIGINT), SIGTERM | every command that has something to finish |
//! | SIGHUP, SIGQUIT | also those that change the terminal, or have started processes or made files that must go with them |

use std::future::poll_fn;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Failure;

/// Waits for the user or the system to end the program.
#[derive(Debug)]
pub struct Stop {
    signals: Vec<(SignalKind, Signal)>,
}

impl Stop {
    /// From here on Ctrl-C and SIGTERM do not kill the process: the caller has to wait for [`Stop::requested`].
    ///
    /// # Errors
    /// The system refuses the handler.
    pub fn listen() -> Result<Self, Failure> {
        Self::to(&[SignalKind::interrupt(), SignalKind::terminate()])
    }

    /// The same, and for SIGHUP and SIGQUIT. A SIGHUP that is ignored, as `nohup` has it, stays ignored.
    ///
    /// # Errors
    /// The system refuses the handler.
    pub fn listen_to_all() -> Result<Self, Failure> {
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate(), SignalKind::quit()];
        if !is_ignored(SignalKind::hangup()) {
            kinds.push(SignalKind::hangup());
        }
        Self::to(&kinds)
    }

    fn to(kinds: &[SignalKind]) -> Result<Self, Failure> {
        let handler = |kind: &SignalKind| {
            signal(*kind).map(|signal| (*kind, signal)).map_err(|error| Failure::io("listen for signals", &error))
        };
        Ok(Self { signals: kinds.iter().map(handler).collect::<Result<_, _>>()? })
    }

    /// Returns at the first of these signals.
    pub async fn requested(&mut self) {
        self.signalled().await;
    }

    /// Returns the failure of a command that is of no use half done: [`Failure::Stopped`].
    pub async fn signalled(&mut self) -> Failure {
        poll_fn(|context| {
            for (kind, signal) in &mut self.signals {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(Failure::Stopped(kind.as_raw_value()));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Whether the process was started with a signal ignored. Only Linux tells without unsafe code; elsewhere: no.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    u32::try_from(kind.as_raw_value() - 1).is_ok_and(|bit| mask.checked_shr(bit).unwrap_or(0) & 1 == 1)
}
