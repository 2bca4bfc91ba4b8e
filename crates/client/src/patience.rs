//! Trying again: a relay that is away, restarts or asks for patience is come back to, with pauses that grow.

use std::time::Duration;

use tokio::time::sleep;

use crate::client::{Client, Connection};
use crate::connect::Established;
use crate::error::Error;
use crate::rng;

/// Between two tries to connect: at first, and at most.
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// The longest pause that a relay can ask of a client that comes back.
const LONGEST_PATIENCE: Duration = Duration::from_secs(10 * 60);

impl Client {
    /// Connects after an error that passes ([`Error::passes`]): waits, tries, and goes on until the relay is there. Pauses
    /// grow from a quarter of a second to 15 s; where the relay asked for more, to that. Can be dropped at any time.
    ///
    /// # Errors
    /// What time does not heal: `relay-fingerprint`, `authentication-failed`, `account-deleted`, those of the store, …
    pub async fn connect_patiently(&self, after: &Error) -> Result<Connection, Error> {
        let (established, _) = self.establish_patiently(BACKOFF.0, after).await?;
        Ok(Connection::new(established))
    }

    /// A fresh link, and the pause that a next break begins with.
    pub(crate) async fn establish_patiently(
        &self,
        mut pause: Duration,
        after: &Error,
    ) -> Result<(Established, Duration), Error> {
        let mut asked = after.patience();
        loop {
            let wait = jittered(pause).max(asked.min(LONGEST_PATIENCE));
            tracing::info!(code = after.code(), milliseconds = millis(wait), "trying again after a pause");
            sleep(wait).await;
            pause = (pause * 2).min(BACKOFF.1);
            match self.establish().await {
                Ok(established) => return Ok((established, pause)),
                Err(error) if error.passes() => asked = error.patience(),
                Err(error) => return Err(error),
            }
        }
    }
}

/// For the log.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Half to one and a half times as long: the clients of a relay that restarted must not all come at once.
fn jittered(pause: Duration) -> Duration {
    let [byte] = rng::bytes::<1>();
    pause / 2 + pause * u32::from(byte) / 255
}
