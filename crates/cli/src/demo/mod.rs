//! `kuvert demo`: a real relay and two real clients, each a process of its own, and what can be shown of them.
//!
//! Nothing here is staged: every line on the screen is something that a process printed, a row of the relay's own database,
//! or the result of a search through the relay's files.
//!
//! | module | owns |
//! |---|---|
//! | [`scenario`] | the story, scene by scene |
//! | [`process`] | relay and clients as child processes |
//! | [`relay_files`] | what stands in the relay's files, read from outside |
//! | [`search`] | looking for texts and ciphertext in those files |
//! | [`facts`] | everything that was checked: the summary and the JSON document |
//! | [`scene`] | what a scene shows: three columns of lines |
//! | [`stage`] | drawing scenes, in columns or one after another |
//! | [`described`] | what users are described to tell, for that page |
//! | [`lens`] | the page beside the demo: what the relay sees, live |
//! | [`hex_dump`] | bytes for people |
//! | [`story`] | another play: a day in a small town, told by what the relay saw |

mod described;
mod facts;
mod hex_dump;
mod lens;
mod process;
mod relay_files;
mod scenario;
mod scene;
mod search;
mod stage;
mod story;

use std::path::{Path, PathBuf};

use crate::args::{Demo, Story};
use crate::commands::runtime;
use crate::demo::stage::Stage;
use crate::error::Failure;
use crate::options::Options;
use crate::signals::Stop;

/// Plays the whole story.
///
/// # Errors
/// Whatever a relay or a client can say; [`Failure::Stopped`] where a signal ended it on the way.
pub fn run(mut args: Demo, options: &Options) -> Result<(), Failure> {
    let runtime = runtime()?;
    // Before there is something to leave behind.
    let stop = runtime.block_on(async { Stop::listen_to_all() })?;
    let directories = Directories::make(args.keep.take())?;
    let played = runtime.block_on(play(args, &directories, stop, options));
    // The directories go when nothing writes into them any more.
    drop(runtime);
    played
}

async fn play(args: Demo, directories: &Directories, mut stop: Stop, options: &Options) -> Result<(), Failure> {
    if let Some(Story::Doctor) = args.story {
        return tokio::select! {
            told = story::play(directories.path(), options) => told,
            // Dropping it ends relay and clients.
            stopped = stop.signalled() => Err(stopped),
        };
    }
    let mut stage = Stage::new(&options.output, args.step);
    let (facts, lens) = tokio::select! {
        played = scenario::play(directories.path(), &mut stage, args.lens) => played?,
        // Dropping the scene ends its processes.
        stopped = stop.signalled() => return Err(stopped),
    };
    if options.output.is_json() {
        options.output.document(&facts.document(directories.kept()))?;
    } else {
        stage.summary(&facts)?;
        if let Some(kept) = directories.kept() {
            options.output.words(&format!("\n  Everything is kept in {}.", kept.display()))?;
        }
    }
    facts.verdict()?;
    if let Some(lens) = lens {
        options.output.note(&format!("The page stays at {} until Ctrl-C.", lens.url));
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
        crate::files::make_directories(&path).map_err(|error| Failure::io(&doing, &error))?;
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
