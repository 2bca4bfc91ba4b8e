//! The lens's page: what a relay holds and has seen, live, at each level of the disclosure ladder.
//!
//! | module | holds |
//! |---|---|
//! | [`files`] | the relay's files, read from outside |
//! | [`told`] | what people told the relay beyond what mail needs, from its files |
//! | [`transcript`] | the two clients' side, as their own `history` prints it |
//! | [`view`] | what the relay knows and does not know at a level: a pure function of the files |
//! | [`server`] | the page over HTTP on loopback |
//! | `token` | the secret part of the page's address |
//! | `watch` | tells the page when the files changed |
//! | [`program`] | the program `kuvert-lens` |

// `println!` and `eprintln!` panic where nothing can be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod files;
pub mod program;
pub mod server;
mod token;
pub mod told;
pub mod transcript;
pub mod view;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use server::Server;

/// What the page shows and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The relay's data directory.
    pub data: PathBuf,
    /// Where the page is served: a loopback address; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The columns beside the relay's: a name and a file each; two at most are shown.
    pub clients: Vec<(String, PathBuf)>,
}

/// Why the page cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The page shows people's data: no other machine on the network may see it.
    #[error(
        "{0} is no loopback address: the lens shows people's data and is served to this machine only. Use 127.0.0.1."
    )]
    NotLoopback(SocketAddr),
    /// The port is taken, say.
    #[error("cannot listen on {0}: {1}. Another port does, or port 0 for any.")]
    Listen(SocketAddr, std::io::Error),
    /// The system gives no randomness for the page's secret address.
    #[error("cannot draw a secret for the page's address: {0}")]
    Randomness(getrandom::Error),
    /// Serving ended.
    #[error("the page's server stopped: {0}")]
    Serve(std::io::Error),
    /// The relay's files cannot be read.
    #[error(transparent)]
    Files(#[from] files::FilesError),
}

impl PageError {
    /// For scripts; see docs/ERRORS.md.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotLoopback(_) => "lens-not-loopback",
            Self::Listen(..) => "lens-listen",
            Self::Randomness(_) | Self::Serve(_) => "lens-serve",
            Self::Files(_) => "lens-relay-files",
        }
    }
}
