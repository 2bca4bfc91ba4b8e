//! `config`: the default file, and what is wrong with one.

use std::io::{self, Write};

use serde_json::json;

use crate::args::{Config, Serve};
use crate::failure::Failure;
use crate::serve::settle;
use crate::source::DEFAULT_FILE;

/// Runs `config`.
///
/// # Errors
/// See [`Failure`].
pub fn run(command: Option<Config>, json: bool) -> Result<(), Failure> {
    match command {
        None | Some(Config::Default) => print(DEFAULT_FILE),
        Some(Config::Check { config }) => {
            let settled = settle(Serve { config, ..Serve::default() }, 0)?;
            if json {
                print(&format!("{}\n", json!({"type": "config", "listen": settled.listen, "data": settled.data})))
            } else {
                print(&format!("good: listens on {}, keeps its data in {}\n", settled.listen, settled.data.display()))
            }
        }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| Failure::output(&error))
}
