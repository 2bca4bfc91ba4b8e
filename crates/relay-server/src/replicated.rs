//! A relay whose store is on PostgreSQL: alone, or together with others.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kuvert_relay::clock::Clock;
use kuvert_relay::config::Config;
use kuvert_relay::relay::{Parts, RunningRelay, close_store};
use kuvert_relay::store::Store;
use kuvert_relay_cluster::key::Keys;
use kuvert_relay_cluster::member::{Member, Options};
use kuvert_relay_postgres::settings::Settings;
use kuvert_relay_postgres::{Postgres, Role};

use crate::failure::Failure;

/// How long a relay that starts waits until every part of the store is held by a relay that it reaches.
const SETTLED: Duration = Duration::from_secs(10);

/// The cluster's keys, if there is a cluster.
///
/// # Errors
/// Their file cannot be used.
pub fn keys(config: &Config) -> Result<Option<Keys>, Failure> {
    Ok(config.cluster.as_ref().map(|cluster| Keys::read(&cluster.key)).transpose()?)
}

/// Starts the relay. It serves when this returns.
///
/// # Errors
/// See [`Failure`].
pub async fn start(
    config: &Config,
    store: Settings,
    keys: Option<Keys>,
    clock: Arc<dyn Clock>,
) -> Result<(RunningRelay, Option<Member>), Failure> {
    config.check()?;
    make_private(&config.data)?;
    if store.password_in_address() && std::env::args().any(|argument| Settings::is_address(&argument)) {
        tracing::warn!("the store's password is on the command line, where other users of this machine see it");
    }
    let member = match (&config.cluster, keys) {
        (Some(cluster), Some(keys)) => {
            let (name, listen, address) = (cluster.name.clone(), cluster.listen, cluster.address.clone());
            let member = Member::join(store.clone(), Options { name, listen, address, keys }).await?;
            if !member.settled(SETTLED).await {
                tracing::warn!("parts of the store are held by relays that are not reached from here yet");
            }
            Some(member)
        }
        _ => None,
    };
    let postgres = match &member {
        Some(member) => member.store().clone(),
        None => Postgres::connect(store, Role::Alone).await?,
    };
    let people = kuvert_relay_sqlite::people::People::open(&config.data, None)?;
    let sources =
        kuvert_relay_sqlite::report::Sources { data: config.data.clone(), retention_days: config.retention_days };
    let rights = Arc::new(kuvert_relay_sqlite::SqliteRights::new(people, sources, None)); // STANDIN
    let store: Arc<dyn Store> = Arc::new(postgres);
    let mut parts = Parts::new(clock, Arc::clone(&store), rights);
    if let Some(member) = &member {
        parts = parts.with_presence(Arc::new(member.presence().clone())).with_figures(member.figures());
    }
    match parts.start(config.clone()).await {
        Ok(relay) => Ok((relay, member)),
        Err(error) => {
            close_store(store).await;
            if let Some(member) = member {
                member.leave().await;
            }
            Err(error.into())
        }
    }
}

/// The directory of the relay's keys.
fn make_private(data: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(|error| Failure::write(data, &error))
}

/// Reads the cluster's keys again.
pub fn reload(member: &Member, config: &Config) {
    let read = match keys(config) {
        Ok(Some(keys)) => member.set_keys(&keys).map_err(|error| error.to_string()),
        Ok(None) => Ok(()),
        Err(failure) => Err(failure.message().to_owned()),
    };
    match read {
        Ok(()) => tracing::info!("the cluster's key was read again"),
        Err(error) => tracing::error!(%error, "the cluster's key was not read again; the old one stays"),
    }
}

/// Why a relay ended that others took for dead.
pub fn lost() -> Failure {
    Failure::new(
        "cluster-lost",
        "the other relays took this one for dead, or another one was started under its name. What was accepted is safe: start it again",
    )
}
