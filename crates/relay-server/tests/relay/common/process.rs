//! A relay as an operator runs it: a process with files, signals and exit codes.

use std::path::Path;
use std::process::Stdio;

use kuvert_types::RelayUrl;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::within;

/// A program without the settings of this process.
pub fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KUVERT_")) {
        command.env_remove(name);
    }
    command.kill_on_drop(true).stdin(Stdio::null());
    command
}

/// A relay that runs as a process.
pub struct Process {
    pub child: Child,
    pub stdout: Lines<BufReader<ChildStdout>>,
    pub url: RelayUrl,
    pub first_line: String,
}

impl Process {
    pub async fn start(data: &Path, more: &[&str]) -> Self {
        Self::start_as(clean(crate::PROGRAM), data, more).await
    }

    /// As `command` and what comes behind it.
    pub async fn start_as(mut command: Command, data: &Path, more: &[&str]) -> Self {
        let mut child = command
            .args(["serve", "--data"])
            .arg(data)
            .args(if more.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] })
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let first_line = within(stdout.next_line()).await.unwrap();
        let Some(first_line) = first_line else {
            panic!(
                "the relay did not start: {}",
                String::from_utf8_lossy(&child.wait_with_output().await.unwrap().stderr)
            );
        };
        let address = match serde_json::from_str::<Value>(&first_line) {
            Ok(ready) => ready["address"].as_str().unwrap().to_owned(),
            Err(_) => first_line.clone(),
        };
        Self { child, stdout, url: address.parse().unwrap(), first_line }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Ends it with a signal; its exit code, and all that it still wrote.
    pub async fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().unwrap();
        within(pipe.read_to_string(&mut stderr)).await.unwrap();
        let status = within(self.child.wait()).await.unwrap();
        assert_eq!(within(self.stdout.next_line()).await.unwrap(), None, "one line on stdout and no more");
        (status.code(), stderr)
    }
}
