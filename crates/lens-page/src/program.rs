//! The program `kuvert-lens`: serves the page until it is told to stop; writes it to a file; or scores by simulation. Another program can offer
//! it as a subcommand of its own: [`run`] takes the name that usage lines show from its first argument.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use kuvert_lens::command::ScoreArgs;
use kuvert_privacy::registry::Level;
use kuvert_program::manual::{self, Manual};
use kuvert_program::words;
use serde_json::json;

use crate::files::Files;
use crate::server::now;
use crate::{Options, PageError, Server, export, transcript};

/// What the manual pages have beside the help.
const MANUAL: Manual = Manual {
    examples: &[
        (
            "",
            &[
                ("kuvert lens --data DATA", "Serves the page for a relay's data directory."),
                (
                    "kuvert lens --data DATA --client alice=alice.jsonl",
                    "Sets a client's messages beside what the relay sees.",
                ),
            ],
        ),
        ("export", &[("kuvert lens export day.html --data DATA", "Writes a page that opens without a relay.")]),
    ],
    ..Manual::PLAIN
};

/// The command line makes no sense.
const USAGE: u8 = 2;

/// Show what a relay sees: a page on this machine only
///
/// Reads the relay's data directory, also while the relay runs. Serve it with `kuvert-relay-lens serve --observe` to
/// see who talks with whom, when and from where; without that the page shows the little that normal service keeps.
#[derive(Debug, Parser)]
#[command(name = "kuvert-lens", version, propagate_version = true)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The relay's data directory
    #[arg(long, value_name = "DIR", required = true)]
    data: Option<PathBuf>,
    /// Where to serve the page: a loopback address; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A column beside the relay's, at most two: a client's messages as `kuvert --json history` prints them
    #[arg(long = "client", value_name = "NAME=FILE", value_parser = client)]
    clients: Vec<(String, PathBuf)>,
    /// JSON lines on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the page and what it shows to one file, which opens in any browser and loads nothing from elsewhere
    Export(ExportArgs),
    /// A synthetic population talks, an attacker gets the relay's log of each level: how much is inferred, and at what cost
    Score {
        #[command(flatten)]
        args: ScoreArgs,
        /// JSON lines on stdout, one object a level
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// Where to write the page
    #[arg(value_name = "FILE.html")]
    file: PathBuf,
    /// The relay's data directory
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// A column beside the relay's, at most two: a client's messages as `kuvert --json history` prints them
    #[arg(long = "client", value_name = "NAME=FILE", value_parser = client)]
    clients: Vec<(String, PathBuf)>,
    /// The level at which the file opens; without it, the one at which the traffic ran
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    level: Option<Level>,
    /// The time zone of all times, such as Europe/Berlin or UTC; without it, the reader's own
    #[arg(long, value_name = "NAME")]
    time_zone: Option<String>,
    /// Replace a file that is there already
    #[arg(long)]
    force: bool,
    /// JSON lines on stdout
    #[arg(long)]
    json: bool,
}

fn client(argument: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = argument.split_once('=').ok_or("write NAME=FILE, for instance Alice=alice.jsonl")?;
    Ok((name.to_owned(), file.into()))
}

fn level(argument: &str) -> Result<Level, String> {
    let named = Level::ALL.iter().find(|level| level.words().eq_ignore_ascii_case(argument));
    named.copied().ok_or_else(|| "a level is L0, L1, L2 or L3".to_owned())
}

/// The command line, for completions and man pages.
pub fn command() -> clap::Command {
    Args::command()
}

/// Runs the program. The first argument is its name: a path, or words such as `kuvert lens`.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    if let Some(written) = manual::asked_for(command, &MANUAL, &args) {
        return written;
    }
    let name = args.first().map(Path::new).and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let parsed = words::fitted(MANUAL.in_help(command()))
        .bin_name(name)
        .try_get_matches_from(args)
        .and_then(|matches| Args::from_arg_matches(&matches));
    match parsed {
        Ok(Args { command: Some(Command::Score { args, json }), .. }) => kuvert_lens::command::run(&args, json),
        Ok(Args { command: Some(Command::Export(args)), .. }) => export_page(&args),
        Ok(Args { data, listen, clients, json, .. }) => {
            // Required, or the parser has refused.
            page(Options { data: data.unwrap_or_default(), listen, clients }, json)
        }
        Err(error) => {
            // Help and version are no errors.
            words::print(&error);
            if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS }
        }
    }
}

fn page(options: Options, json: bool) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = match runtime {
        Ok(runtime) => runtime.block_on(serve(options, json)),
        Err(error) => Err(PageError::Serve(error)),
    };
    ended(served, json)
}

fn export_page(args: &ExportArgs) -> ExitCode {
    let written = export_to_file(args);
    if written.is_ok() {
        let file = args.file.display().to_string();
        let line = if args.json { json!({"type": "lens-export", "file": file}).to_string() } else { file };
        // The file is there, also where nothing can be said about it.
        let _ = writeln!(io::stdout(), "{line}");
    }
    ended(written, args.json)
}

fn export_to_file(args: &ExportArgs) -> Result<(), PageError> {
    let snapshot = Files::open(&args.data)?.read()?;
    let columns = args.clients.iter().map(|(name, path)| transcript::read(name, path)).collect();
    let parts = export::Parts { columns, level: args.level, zone: args.time_zone.clone() };
    export::write(&args.file, &export::document(&snapshot, parts, now())?, args.force)
}

fn ended(result: Result<(), PageError>, json: bool) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // Where it cannot be written, nothing is left to say it with.
    if json {
        let _ =
            writeln!(io::stdout(), "{}", json!({"type": "error", "code": error.code(), "message": error.to_string()}));
    } else {
        let _ = writeln!(io::stderr(), "error: {error}");
    }
    ExitCode::FAILURE
}

async fn serve(options: Options, json: bool) -> Result<(), PageError> {
    let server = Server::bind(options).await?;
    announce(&server, json);
    tokio::select! {
        served = server.serve() => served,
        () = asked_to_stop() => Ok(()),
    }
}

fn announce(server: &Server, json: bool) {
    let url = server.url();
    let line = if json { json!({"type": "lens", "url": url}).to_string() } else { url };
    let mut stdout = io::stdout().lock();
    // Whoever closed stdout did not want to know.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Ctrl-C or SIGTERM.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_contradiction() {
        command().debug_assert();
    }
}
