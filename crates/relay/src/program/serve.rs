//! `serve`: settles the configuration, starts the relay, says where it is, and stops it on a signal.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::FAILED;
use super::args::Serve;
use super::failure::Failure;
use crate::clock::SystemClock;
use crate::config::{Config, LogLevel};
use crate::logging;
use crate::relay::{self, RunningRelay};

/// Name of the file in the data directory that tells `inspect` how the relay serves.
const SERVING_FILE: &str = "serving.toml";

/// Runs `serve`.
///
/// # Errors
/// See [`Failure`].
pub fn run(args: Serve, verbose: u8, json: bool) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock::with_offset(args.clock_offset));
    let config = settle(args, verbose)?;
    logging::start(config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("runtime", format!("cannot start threads: {error}")))?;
    runtime.block_on(async {
        // Before the relay starts, so that no signal is missed.
        let mut stop =
            Stop::new().map_err(|error| Failure::new("signals", format!("cannot listen for signals: {error}")))?;
        let relay = relay::start(config.clone(), clock).await?;
        if let Err(failure) = announce(&relay, &config, json) {
            relay.shutdown().await;
            return Err(failure);
        }
        stop.wait().await;
        tracing::info!("stopping");
        tokio::select! {
            () = relay.shutdown() => Ok(()),
            () = stop.wait() => {
                eprintln!("stopped at once; what was accepted is safe");
                process::exit(FAILED.into())
            }
        }
    })
}

/// Flags win over the environment (clap has settled that), that wins over the file, that over the defaults.
fn settle(args: Serve, verbose: u8) -> Result<Config, Failure> {
    let mut config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    let Serve { config: _, listen, public_host, data, ready_file, retention, observe, clock_offset: _ } = args;
    config.listen = listen.unwrap_or(config.listen);
    config.public_host = public_host.or(config.public_host);
    config.ready_file = ready_file.or(config.ready_file);
    config.retention_days = retention.unwrap_or(config.retention_days);
    config.observe |= observe;
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
    config.check()?;
    Ok(config)
}

/// `kuvert-relay` in the user's data directory (XDG).
pub(super) fn default_data() -> Result<PathBuf, Failure> {
    let base = etcetera::choose_base_strategy().map_err(|_| Failure::no_data_directory())?;
    Ok(base.data_dir().join("kuvert-relay"))
}

/// What `inspect` needs to know and the database does not hold.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Serving {
    retention_days: u32,
}

/// The retention of the relay that served this directory last.
pub(super) fn last_retention(data: &Path) -> Option<u32> {
    let text = fs::read_to_string(data.join(SERVING_FILE)).ok()?;
    Some(toml::from_str::<Serving>(&text).ok()?.retention_days)
}

/// Says where the relay is: on stdout, and in the ready file once everything else is done.
fn announce(relay: &RunningRelay, config: &Config, json: bool) -> Result<(), Failure> {
    let serving = format!("retention_days = {}\n", config.retention_days);
    write_whole(&config.data.join(SERVING_FILE), &serving)?;
    let address = relay.address().to_string();
    let line = if json { json!({"type": "ready", "address": address}).to_string() } else { address.clone() };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(|error| Failure::output(&error))?;
    match &config.ready_file {
        Some(path) => write_whole(path, &format!("{address}\n")),
        None => Ok(()),
    }
}

/// Whoever sees the file sees all of it.
fn write_whole(path: &Path, content: &str) -> Result<(), Failure> {
    let write = || {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", process::id()));
        let temporary = PathBuf::from(name);
        let mut file = File::create(&temporary)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path).inspect_err(|_| {
            // It is only half of what was to be done.
            let _ = fs::remove_file(&temporary);
        })
    };
    write().map_err(|error| Failure::write(path, &error))
}

/// SIGTERM and Ctrl-C.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
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
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.toml");
        fs::write(&file, "retention_days = 7\nlisten = \"127.0.0.1:99\"\nobserve = true\n[log]\nlevel = \"error\"")
            .unwrap();
        let args =
            |retention| Serve { config: Some(file.clone()), data: Some("there".into()), retention, ..Serve::default() };
        let config = settle(args(None), 0).unwrap();
        assert_eq!((config.retention_days, config.listen.port(), config.observe), (7, 99, true));
        assert_eq!(config.log.level, LogLevel::Error);
        let config = settle(args(Some(3)), 1).unwrap();
        assert_eq!((config.retention_days, config.log.level), (3, LogLevel::Debug));
        assert!(settle(args(Some(31)), 0).unwrap_err().is_usage());
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        write_whole(&path, "one\n").unwrap();
        write_whole(&path, "two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_whole(&folder.path().join("no/ready"), "x").is_err());
    }
}
