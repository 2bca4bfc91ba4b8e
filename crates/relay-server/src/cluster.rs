//! `cluster`: the relays that serve a store on PostgreSQL together.

#[cfg(feature = "postgres")]
pub use with_postgres::run;

#[cfg(not(feature = "postgres"))]
pub use without::run;

#[cfg(feature = "postgres")]
mod with_postgres {
    use std::collections::BTreeMap;
    use std::future::Future;

    use kuvert_relay_cluster::key::ClusterKey;
    use kuvert_relay_postgres::cluster::{self, KnownNode};
    use kuvert_relay_postgres::schema::OpenError;
    use kuvert_relay_postgres::settings::Settings;
    use serde_json::json;

    use crate::args::Cluster;
    use crate::failure::Failure;
    use crate::print;

    /// Without a sign of life for so many seconds a relay is shown as silent.
    const SILENT: u64 = 5;

    /// Runs `cluster`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn run(command: Cluster, json: bool) -> Result<(), Failure> {
        match command {
            Cluster::Key => {
                let key = ClusterKey::random()
                    .map_err(|error| Failure::new("random", format!("the system has no randomness: {error}")))?;
                print(&format!("{}\n", key.to_line()))
            }
            Cluster::List { store } => {
                let settings = settings(&store)?;
                let (nodes, held) = wait(async {
                    let tables = cluster::Cluster::connect(settings).await?;
                    Ok((tables.nodes().await?, tables.leases().await?))
                })?;
                let mut slots = BTreeMap::new();
                for lease in held {
                    *slots.entry(lease.node).or_insert(0_usize) += 1;
                }
                let lines: Vec<String> = nodes
                    .iter()
                    .map(|node| line(node, slots.get(&Some(node.node.id)).copied().unwrap_or(0), json))
                    .collect();
                print(&lines.concat())
            }
            Cluster::Drain { store, name, undo } => {
                let settings = settings(&store)?;
                wait(async {
                    let tables = cluster::Cluster::connect(settings).await?;
                    let nodes = tables.nodes().await?;
                    let node = nodes.iter().find(|node| node.name == name).ok_or_else(|| {
                        Failure::new(
                            "node-unknown",
                            format!("no relay of this store has the name `{name}`: see `cluster list`"),
                        )
                    })?;
                    Ok(tables.drain(node.node.id, !undo).await?)
                })
            }
        }
    }

    fn line(node: &KnownNode, slots: usize, json: bool) -> String {
        let KnownNode { node: number, name, address, silent, draining } = node;
        if json {
            let node = json!({
                "type": "node", "name": name, "number": number.id.get(), "address": address, "slots": slots,
                "silent_ms": u64::try_from(silent.as_millis()).unwrap_or(u64::MAX), "draining": draining,
            });
            return format!("{node}\n");
        }
        let mut words = format!("{name}  {address}  holds {slots} slots");
        if *draining {
            words.push_str(", hands them over");
        }
        if silent.as_secs() >= SILENT {
            words.push_str(&format!(", silent for {} s", silent.as_secs()));
        }
        words.push('\n');
        words
    }

    fn settings(address: &str) -> Result<Settings, Failure> {
        Ok(address.parse().map_err(OpenError::from)?)
    }

    fn wait<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| Failure::new("runtime", format!("cannot start: {error}")))?.block_on(work)
    }
}

#[cfg(not(feature = "postgres"))]
mod without {
    use crate::args::Cluster;
    use crate::failure::Failure;

    /// There are no such relays.
    ///
    /// # Errors
    /// Always.
    pub fn run(_: Cluster, _: bool) -> Result<(), Failure> {
        Err(Failure::usage("store-unsupported", "this program was built without PostgreSQL: use kuvert-relay"))
    }
}
