//! `serve`: settles the configuration, starts the relay, says where it is, and stops it on a signal.

use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use clap::ArgMatches;
use kuvert_program::directories;
use kuvert_relay::clock::SystemClock;
use kuvert_relay::config::{Config, LogLevel, StoreAddress};
use kuvert_relay::relay::{RunningRelay, StartError};
use kuvert_relay::tls::TlsError;
use kuvert_relay::whole_file;
use kuvert_relay_sqlite::SERVING_FILE;
use kuvert_relay_sqlite::serving::{self, Serving};
use kuvert_types::RelayUrl;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::FAILED;
use crate::args::Serve;
use crate::edition::Edition;
use crate::failure::Failure;
use crate::logging;
use crate::source;
use crate::store::{self, Elsewhere};
use crate::{print, say};
use kuvert_relay_sqlite::embedded::Embedded;

/// Runs `serve`.
///
/// # Errors
/// See [`Failure`].
pub fn run(
    edition: &dyn Edition,
    args: Serve,
    matches: Option<&ArgMatches>,
    verbose: u8,
    json: bool,
) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock::with_offset(args.clock_offset));
    let new_key = args.new_key;
    let config = settle(edition, args, matches, verbose)?;
    logging::start(config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("runtime", format!("cannot start threads: {error}")))?;
    runtime.block_on(async {
        // Before the relay starts, so that no signal is missed.
        let mut stop =
            Stop::new().map_err(|error| Failure::new("signals", format!("cannot listen for signals: {error}")))?;
        let (relay, elsewhere) = start(edition, clock, &config).await?;
        let announced = check_key(&relay, &config.data, new_key).and_then(|()| announce(&relay, &config, json));
        if let Err(failure) = announced {
            shut_down(relay, elsewhere).await;
            return Err(failure);
        }
        let ended = loop {
            tokio::select! {
                asked = stop.wait_or_reload() => match asked {
                    Asked::Stop => break Ok(()),
                    Asked::Reload => reload(&relay, elsewhere.as_ref(), &config),
                },
                failure = lost(elsewhere.as_ref()) => break Err(failure),
            }
        };
        tracing::info!("stopping");
        tokio::select! {
            () = shut_down(relay, elsewhere) => ended,
            () = stop.wait() => {
                say("stopped at once; what was accepted is safe");
                process::exit(FAILED.into())
            }
        }
    })
}

/// Waits until the relay must serve no more.
async fn lost(elsewhere: Option<&Elsewhere>) -> Failure {
    match elsewhere {
        Some(elsewhere) => elsewhere.member.lost().await,
        None => std::future::pending().await,
    }
}

/// Reads again what can be read again.
fn reload(relay: &RunningRelay, elsewhere: Option<&Elsewhere>, config: &Config) {
    match relay.reload_certificate() {
        Ok(()) => tracing::info!("the certificate was read again"),
        Err(error) => tracing::error!(%error, "the certificate was not read again; the old one stays"),
    }
    if let Some(elsewhere) = elsewhere {
        elsewhere.member.reload(config);
    }
}

/// Others take what the relay holds, while it serves; then it tells its clients to go, and ends.
async fn shut_down(relay: RunningRelay, elsewhere: Option<Elsewhere>) {
    if let Some(elsewhere) = &elsewhere {
        elsewhere.member.hand_over().await;
    }
    relay.shutdown().await;
    if let Some(elsewhere) = elsewhere {
        elsewhere.member.leave().await;
    }
}

/// Starts the relay on the store that the configuration names.
async fn start(
    edition: &dyn Edition,
    clock: Arc<SystemClock>,
    config: &Config,
) -> Result<(RunningRelay, Option<Elsewhere>), Failure> {
    match (config.store.get(), edition.offer()) {
        (None, offer) => {
            let relay = offer.into_iter().fold(Embedded::new(clock), Embedded::with_offer);
            Ok((relay.start(config.clone()).await?, None))
        }
        (Some(_), Some(_)) => Err(Failure::usage(
            "store-embedded-only",
            "this program keeps its data in a directory alone: leave the key `store` out, or use kuvert-relay",
        )),
        (Some(address), None) => {
            let (relay, elsewhere) = store::start(address, clock, config.clone()).await?;
            Ok((relay, Some(elsewhere)))
        }
    }
}

/// Flags win over the environment, that over the file, that over the defaults. `matches`: where `serve` is run.
pub(super) fn settle(
    edition: &dyn Edition,
    args: Serve,
    matches: Option<&ArgMatches>,
    verbose: u8,
) -> Result<Config, Failure> {
    let mut config = source::read(args.config.as_deref(), std::env::vars_os())?;
    let Serve {
        config: _,
        listen,
        public_host,
        data,
        store,
        ready_file,
        retention,
        new_key: _,
        trust_clock,
        clock_offset: _,
    } = args;
    config.listen = listen.unwrap_or(config.listen);
    config.public_host = public_host.or(config.public_host);
    config.ready_file = ready_file.or(config.ready_file);
    config.retention_days = retention.unwrap_or(config.retention_days);
    config.trust_clock = trust_clock;
    if let Some(store) = store {
        store::warn_of_password(&store);
        config.store = StoreAddress::new(store);
    }
    config.log.level = match verbose {
        0 => config.log.level,
        1 => config.log.level.max(LogLevel::Debug),
        _ => LogLevel::Trace,
    };
    config.data = match data {
        Some(data) => data,
        None if config.data.as_os_str().is_empty() => default_data()?,
        None => config.data,
    };
    edition.settle(matches, &mut config)?;
    config.check()?;
    Ok(config)
}

/// `kuvert-relay` in the user's data directory (XDG).
///
/// # Errors
/// There is no home directory.
pub fn default_data() -> Result<PathBuf, Failure> {
    Ok(directories::data().ok_or_else(Failure::no_data_directory)?.join("kuvert-relay"))
}

/// Refuses to serve with another key than before. Clients pin it: a certificate that was renewed with a new key, or a
/// directory restored without its `tls/`, would lock all clients out.
fn check_key(relay: &RunningRelay, data: &Path, new_key: bool) -> Result<(), Failure> {
    let before = serving::last(data).and_then(|serving| serving.address?.parse::<RelayUrl>().ok());
    match before {
        Some(before) if before.fingerprint != relay.address().fingerprint && !new_key => {
            Err(StartError::Tls(TlsError::OtherKey {
                hint: "or put the old key back; --new-key serves with the new one all the same",
            })
            .into())
        }
        _ => Ok(()),
    }
}

/// Says where the relay is: on stdout, and in the ready file once everything else is done.
fn announce(relay: &RunningRelay, config: &Config, json: bool) -> Result<(), Failure> {
    let address = relay.address().to_string();
    let serving = Serving {
        retention_days: config.retention_days,
        address: Some(address.clone()),
        demonstration: config.demonstration,
        region: config.region.clone(),
    };
    serving.note(&config.data).map_err(|error| Failure::write(&config.data.join(SERVING_FILE), &error))?;
    let line = if json {
        let monitoring = relay.monitoring_address().map(|address| address.to_string());
        json!({"type": "ready", "address": address, "monitoring": monitoring}).to_string()
    } else {
        address.clone()
    };
    // A relay whose stdout nothing reads is as good as any other.
    if let Err(failure) = print(&format!("{line}\n")) {
        tracing::warn!(error = failure.message(), "the relay's address is not on stdout; it serves all the same");
    }
    match &config.ready_file {
        Some(path) => write_whole(path, &format!("{address}\n")),
        None => Ok(()),
    }
}

fn write_whole(path: &Path, content: &str) -> Result<(), Failure> {
    whole_file::write(path, content.as_bytes(), whole_file::READABLE).map_err(|error| Failure::write(path, &error))
}

/// SIGTERM and Ctrl-C, and SIGHUP.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal asks for.
#[derive(PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn wait_or_reload(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::edition::Mail;

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.toml");
        fs::write(&file, "retention_days = 7\nlisten = \"127.0.0.1:99\"\nobserve = false\n[log]\nlevel = \"error\"")
            .unwrap();
        let args =
            |retention| Serve { config: Some(file.clone()), data: Some("there".into()), retention, ..Serve::default() };
        let config = settle(&Mail, args(None), None, 0).unwrap();
        assert_eq!((config.retention_days, config.listen.port(), config.observe), (7, 99, false));
        assert_eq!(config.log.level, LogLevel::Error);
        let config = settle(&Mail, args(Some(3)), None, 1).unwrap();
        assert_eq!((config.retention_days, config.log.level), (3, LogLevel::Debug));
        assert!(settle(&Mail, args(Some(31)), None, 0).unwrap_err().is_usage());
    }

    #[test]
    fn what_another_program_offers_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.toml");
        let settle = |text: &str| {
            fs::write(&file, text).unwrap();
            settle(&Mail, Serve { config: Some(file.clone()), data: Some("there".into()), ..Serve::default() }, None, 0)
        };
        assert!(settle("observe = false\ndemonstration = false").is_ok(), "files of before say so");
        for key in ["observe", "demonstration"] {
            let failure = settle(&format!("{key} = true")).unwrap_err();
            assert!(failure.is_usage() && failure.message().contains("kuvert-relay-lens"), "{failure:?}");
            assert!(failure.message().contains(key), "{failure:?}");
        }
    }
}
