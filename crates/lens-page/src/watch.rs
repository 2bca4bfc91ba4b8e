//! Looks at the files' time stamps and tells those that wait that something changed.

use std::time::Duration;

use tokio::sync::watch;

use crate::files::Files;

/// How often it looks. Four small `stat` calls.
const INTERVAL: Duration = Duration::from_millis(250);

/// Counts the changes. Ends when the last listener is gone.
pub fn start(files: Files) -> watch::Receiver<u64> {
    let (sender, receiver) = watch::channel(0);
    tokio::spawn(async move {
        let mut last = files.version();
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = sender.closed() => return,
            }
            let now = files.version();
            if now != last {
                last = now;
                sender.send_modify(|changes| *changes += 1);
            }
        }
    });
    receiver
}
