//! One play from its beginning to its end: its directories, and the signals that end it.

use std::path::{Path, PathBuf};

use kuvert_cli::error::Failure;
use kuvert_cli::output::Output;
use kuvert_cli::signals::Stop;
use kuvert_cli::{files, runtime};

use crate::args::{Args, Story};
use crate::stage::Stage;
use crate::{scenario, story};

/// Plays the whole story.
///
/// # Errors
/// Whatever a relay or a client can say; [`Failure::Stopped`] where a signal ended it on the way.
pub fn run(mut args: Args, output: &Output) -> Result<(), Failure> {
    let runtime = runtime()?;
    // Before there is something to leave behind.
    let stop = runtime.block_on(async { Stop::listen_to_all() })?;
    let directories = Directories::make(args.keep.take())?;
    let played = runtime.block_on(play(args, &directories, stop, output));
    // The directories go when nothing writes into them any more.
    drop(runtime);
    played
}

async fn play(args: Args, directories: &Directories, mut stop: Stop, output: &Output) -> Result<(), Failure> {
    if let Some(Story::Doctor) = args.story {
        return tokio::select! {
            told = story::play(directories.path(), output) => told,
            // Dropping it ends relay and clients.
            stopped = stop.signalled() => Err(stopped),
        };
    }
    let mut stage = Stage::new(output, args.step);
    let (facts, lens) = tokio::select! {
        played = scenario::play(directories.path(), &mut stage, args.lens) => played?,
        // Dropping the scene ends its processes.
        stopped = stop.signalled() => return Err(stopped),
    };
    if output.is_json() {
        output.document(&facts.document(directories.kept()))?;
    } else {
        stage.summary(&facts)?;
        if let Some(kept) = directories.kept() {
            output.words(&format!("\n  Everything is kept in {}.", kept.display()))?;
        }
    }
    facts.verdict()?;
    if let Some(lens) = lens {
        output.note(&format!("The page stays at {} until Ctrl-C.", lens.url));
        stop.requested().await;
    }
    Ok(())
}

/// Where relay and clients live.
enum Directories {
    /// Goes with the demo.
    Temporary(tempfile::TempDir),
    /// Stays.
    Kept(PathBuf),
}

impl Directories {
    fn make(keep: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(path) = keep else {
            let made = tempfile::Builder::new().prefix("kuvert-demo-").tempdir();
            return made.map(Self::Temporary).map_err(|error| Failure::io("make a temporary directory", &error));
        };
        let doing = format!("use {}", path.display());
        files::make_directories(&path).map_err(|error| Failure::io(&doing, &error))?;
        let mut entries = std::fs::read_dir(&path).map_err(|error| Failure::io(&doing, &error))?;
        if entries.next().is_some() {
            let message = format!("{} is not empty: name a new directory with --keep", path.display());
            return Err(Failure::new("directory-not-empty", message));
        }
        // Other programs' working directories do not matter: children get absolute paths.
        path.canonicalize().map(Self::Kept).map_err(|error| Failure::io(&doing, &error))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(directory) => directory.path(),
            Self::Kept(path) => path,
        }
    }

    fn kept(&self) -> Option<&Path> {
        match self {
            Self::Temporary(_) => None,
            Self::Kept(path) => Some(path),
        }
    }
}
