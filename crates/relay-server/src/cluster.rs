//! `cluster`: the relays that serve a store on PostgreSQL together.

#[cfg(feature = "postgres")]
pub use with_postgres::run;

#[cfg(not(feature = "postgres"))]
pub use without::run;

#[cfg(feature = "postgres")]
mod with_postgres {
    use std::collections::BTreeMap;
    use std::future::Future;
    use std::time::Duration;

    use kuvert_relay_cluster::key::ClusterKey;
    use kuvert_relay_postgres::cluster::{self, KnownNode, Lease};
    use kuvert_relay_postgres::groups::{self, Groups};
    use kuvert_relay_postgres::moves::{self, Moved, Told};
    use kuvert_relay_postgres::schema::OpenError;
    use kuvert_relay_postgres::settings::Settings;
    use serde_json::json;

    use crate::args::{Cluster, Slots};
    use crate::failure::Failure;
    use crate::{print, say};

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
            Cluster::AddGroup { store, name, address } => {
                let settings = settings(&store)?;
                let id = wait(async { Ok(groups::add(&settings, &name, &address).await?) })?;
                print(&if json {
                    format!("{}\n", json!({"type": "group", "name": name, "number": id.get()}))
                } else {
                    format!(
                        "the group {name} was added. Start all relays again, one after the other; then move slots\n"
                    )
                })
            }
            Cluster::Groups { store } => {
                let settings = settings(&store)?;
                let lines = wait(async {
                    let tables = cluster::Cluster::connect(settings).await?;
                    Ok(group_lines(tables.groups(), &tables.leases().await?, json))
                })?;
                print(&lines)
            }
            Cluster::MoveSlots { store, slots, to } => {
                let settings = settings(&store)?;
                let moved = wait(move_slots(settings, slots, &to, json))?;
                print(&if json {
                    let moved = json!({
                        "type": "result", "slots": moved.slots, "there": moved.there, "envelopes": moved.envelopes,
                        "away_ms": milliseconds(moved.away),
                    });
                    format!("{moved}\n")
                } else {
                    let Moved { slots, there, envelopes, away } = moved;
                    let away = milliseconds(away);
                    format!(
                        "{slots} slots have moved to {to}, with {envelopes} envelopes; {there} were there. Each was away for \
                         {away} ms at most\n"
                    )
                })
            }
        }
    }

    fn milliseconds(time: Duration) -> u64 {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }

    async fn move_slots(settings: Settings, slots: Slots, to: &str, json: bool) -> Result<Moved, Failure> {
        let tables = cluster::Cluster::connect(settings).await?;
        let to = tables.groups().named(to).ok_or_else(|| {
            Failure::usage("group-unknown", format!("the store has no group `{to}`: see `cluster groups`"))
        })?;
        let slots = (slots.first..=slots.last).collect();
        let mut watch = |told| {
            match told {
                Told::Step(_) => {}
                Told::Again => say("something failed; trying again"),
                Told::Moved { slots, of, envelopes, away } if json => {
                    let moved = json!({
                        "type": "moved", "slots": slots, "of": of, "envelopes": envelopes, "away_ms": milliseconds(away),
                    });
                    // The result says the same in the end.
                    let _ = print(&format!("{moved}\n"));
                }
                Told::Moved { slots, of, .. } => say(&format!("{slots} of {of} slots have moved")),
            }
            true
        };
        Ok(moves::move_slots(tables.groups(), &slots, to, &mut watch).await?)
    }

    fn group_lines(groups: &Groups, leases: &[Lease], json: bool) -> String {
        let of = |group| leases.iter().filter(|lease| lease.group == group).count();
        let mut lines = String::new();
        for group in groups.all() {
            let (name, place, slots) = (&group.name, group.place(), of(Some(group.id)));
            lines += &if json {
                format!(
                    "{}\n",
                    json!({"type": "group", "name": name, "number": group.id.get(), "place": place, "slots": slots})
                )
            } else {
                format!("{name}  {place}  has {slots} slots\n")
            };
        }
        let away = of(None);
        if away > 0 || json {
            lines += &if json {
                format!("{}\n", json!({"type": "away", "slots": away}))
            } else {
                format!("{away} slots are in a group that does not answer, or are moving\n")
            };
        }
        lines
    }

    fn line(node: &KnownNode, slots: usize, json: bool) -> String {
        let KnownNode { node: number, name, address, silent, draining, .. } = node;
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
