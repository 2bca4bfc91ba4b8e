//! A relay that serves a store on PostgreSQL together with others, or alone: what there is to do beside serving.

use std::sync::Arc;
use std::time::Duration;

use kuvert_relay::config::Config;
use kuvert_relay::others::Others;
use kuvert_relay::relay::Parts;
use kuvert_relay_cluster::key::Keys;
use kuvert_relay_cluster::member::{self, Options};
use kuvert_relay_cluster::presence::ClusterPresence;
use kuvert_relay_postgres::settings::Settings;
use kuvert_relay_postgres::{Postgres, Role};

use crate::failure::Failure;

/// How long a relay that starts waits until every part of the store is held by a relay that it reaches.
const SETTLED: Duration = Duration::from_secs(10);

/// A relay's part in a cluster, if it has one.
#[derive(Debug)]
pub struct Member(Option<member::Member>);

impl Member {
    /// Opens the store, alone or as one of several.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn join(config: &Config, store: Settings) -> Result<(Postgres, Self), Failure> {
        let Some(cluster) = &config.cluster else {
            return Ok((Postgres::connect(store, Role::Alone).await?, Self(None)));
        };
        let keys = Keys::read(&cluster.key)?;
        let (name, listen, address) = (cluster.name.clone(), cluster.listen, cluster.address.clone());
        let member = member::Member::join(store, Options { name, listen, address, keys }).await?;
        if !member.settled(SETTLED).await {
            tracing::warn!("parts of the store are held by relays that are not reached from here yet");
        }
        Ok((member.store().clone(), Self(Some(member))))
    }

    /// What the relay is made of beside the store.
    pub fn complete(&self, parts: Parts) -> Parts {
        match &self.0 {
            Some(member) => {
                let presence = Arc::new(member.presence().clone());
                let others: Arc<dyn Others> = Arc::<ClusterPresence>::clone(&presence);
                parts.with_presence(presence).with_others(others).with_figures(member.figures())
            }
            None => parts,
        }
    }

    /// Waits until the relay must serve no more, because others took it for dead.
    pub async fn lost(&self) -> Failure {
        match &self.0 {
            Some(member) => member.lost().await,
            None => std::future::pending().await,
        }
        Failure::new(
            "cluster-lost",
            "the other relays took this one for dead, or another one was started under its name. What was accepted is safe: \
             start it again",
        )
    }

    /// Reads the cluster's keys again.
    pub fn reload(&self, config: &Config) {
        let (Some(member), Some(cluster)) = (&self.0, &config.cluster) else { return };
        let read = Keys::read(&cluster.key).map_err(|error| error.to_string());
        match read.and_then(|keys| member.set_keys(&keys).map_err(|error| error.to_string())) {
            Ok(()) => tracing::info!("the cluster's key was read again"),
            Err(error) => tracing::error!(%error, "the cluster's key was not read again; the old one stays"),
        }
    }

    /// Has others take what this relay holds, while it serves.
    pub async fn hand_over(&self) {
        if let Some(member) = &self.0 {
            member.hand_over().await;
        }
    }

    /// Ends, once nothing is served any more.
    pub async fn leave(self) {
        if let Some(member) = self.0 {
            member.leave().await;
        }
    }
}
