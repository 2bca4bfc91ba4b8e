//! The program `kuvert-lens`: serves the page until it is told to stop.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use crate::{Options, PageError, Server};

/// Show what a relay sees: a page on this machine only
///
/// Reads the relay's data directory, also while the relay runs. Start the relay with `--observe` to see who talks with
/// whom, when and from where; without it the page shows the little that normal service keeps.
#[derive(Debug, Parser)]
#[command(name = "kuvert-lens", version)]
pub struct Args {
    /// The relay's data directory
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where to serve the page: a loopback address; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// A column beside the relay's, at most two: a client's messages as `kuvert --json history` prints them
    #[arg(long = "client", value_name = "NAME=FILE", value_parser = client)]
    pub clients: Vec<(String, PathBuf)>,
    /// JSON lines on stdout
    #[arg(long)]
    pub json: bool,
}

fn client(argument: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = argument.split_once('=').ok_or("write NAME=FILE, for instance Alice=alice.jsonl")?;
    Ok((name.to_owned(), file.into()))
}

/// Runs the program.
pub fn run() -> ExitCode {
    run_with(Args::parse())
}

/// Runs the program with these arguments. Exit code 0: asked to stop; 1: failed.
pub fn run_with(args: Args) -> ExitCode {
    let json = args.json;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = match runtime {
        Ok(runtime) => runtime.block_on(serve(args)),
        Err(error) => Err(PageError::Serve(error)),
    };
    let Err(error) = served else { return ExitCode::SUCCESS };
    if json {
        println!("{}", json!({"type": "error", "code": error.code(), "message": error.to_string()}));
    } else {
        eprintln!("error: {error}");
    }
    ExitCode::FAILURE
}

async fn serve(args: Args) -> Result<(), PageError> {
    let Args { data, listen, clients, json } = args;
    let server = Server::bind(Options { data, listen, clients }).await?;
    announce(&server, json);
    tokio::select! {
        served = server.serve() => served,
        () = asked_to_stop() => Ok(()),
    }
}

fn announce(server: &Server, json: bool) {
    let url = server.url();
    let line = if json { json!({"type": "lens", "url": url}).to_string() } else { url };
    let mut stdout = std::io::stdout().lock();
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
