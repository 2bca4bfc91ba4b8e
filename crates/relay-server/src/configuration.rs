//! `config`: the default file, and what is wrong with one.

use std::io::{self, Write};

use serde_json::json;

use crate::args::{Config, Serve};
use crate::edition::Edition;
use crate::failure::Failure;
use crate::serve::settle;
use crate::source;

/// Runs `config`.
///
/// # Errors
/// See [`Failure`].
pub fn run(edition: &dyn Edition, command: Option<Config>, json: bool) -> Result<(), Failure> {
    match command {
        None | Some(Config::Default) => print(&source::default_file(edition)),
        Some(Config::Check { config }) => {
            let settled = settle(edition, Serve { config, ..Serve::default() }, None, 0)?;
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
