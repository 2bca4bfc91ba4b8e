//! The lens beside the demo: a page that shows live what this demo's relay holds and has seen, between the two screens.

use std::path::{Path, PathBuf};

use kuvert_cli::error::Failure;
use kuvert_cli::files;
use kuvert_lens_page::{Options, PageError, Server};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::process::Client;

/// The page, served until this is dropped.
#[derive(Debug)]
pub struct Lens {
    /// Where it is.
    pub url: String,
    serving: JoinHandle<Result<(), PageError>>,
    directory: PathBuf,
}

impl Lens {
    /// Serves the page for the relay in `data`; the clients' columns are files in `directory`.
    ///
    /// # Errors
    /// No free port, or no relay's files.
    pub async fn open(data: &Path, directory: &Path, names: [&'static str; 2]) -> Result<Self, Failure> {
        let clients = names.map(|name| (name.to_owned(), column(directory, name)));
        let options = Options { data: data.to_owned(), listen: ([127, 0, 0, 1], 0).into(), clients: clients.into() };
        let server = Server::bind(options).await.map_err(failure)?;
        let url = server.url();
        let serving = tokio::spawn(server.serve());
        Ok(Self { url, serving, directory: directory.to_owned() })
    }

    /// Shows what stands on a client's screen now: its history with one other.
    ///
    /// # Errors
    /// The client fails, or the disk is full.
    pub async fn show(&self, client: &Client, who: &str) -> Result<(), Failure> {
        let history = client.run(&["history", who], "").await?;
        let lines: String = history.iter().map(Value::to_string).map(|line| line + "\n").collect();
        // The page may be reading the file.
        files::replace(&column(&self.directory, client.name), lines)
            .map_err(|error| Failure::io("write a client's column of the lens", &error))
    }
}

impl Drop for Lens {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn column(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{}.jsonl", name.to_lowercase()))
}

fn failure(error: PageError) -> Failure {
    Failure::new(error.code(), error.to_string())
}
