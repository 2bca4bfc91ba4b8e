//! `kuvert relay move`, which is about this home. Everything else behind `kuvert relay` goes to the program `kuvert-relay`.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{CommandFactory as _, FromArgMatches as _};
use kuvert_client::{Error, InviteLink, RelayUrl};
use kuvert_program::family::Program;

use crate::args::{Relay, RelayMove};
use crate::commands::{block_on, open, other};
use crate::error::{Failure, USAGE};
use crate::log::Log;
use crate::options::Options;
use crate::output::record::Record;

/// Hands everything but `move` over to the relay's own program.
///
/// # Errors
/// The relay is not at the new address, or the program cannot be run.
pub fn run(args: Relay, options: &Options) -> Result<ExitCode, Failure> {
    match args.arguments.first().and_then(|first| first.to_str()) {
        Some("move") => moved(args.arguments, options),
        first => {
            let help = args.arguments.len() == 1 && matches!(first, Some("help" | "--help" | "-h"));
            let json = options.output.is_json();
            let program = match Program::named(OsStr::new("relay")) {
                Ok(program) => program,
                Err(missing) => return Ok(other::refuse(&missing, json)),
            };
            if !help {
                return Err(other::become_program(&program, args.arguments, json, None));
            }
            let code = other::run_program(&program, args.arguments, json)?;
            options.output.words("\nFor a home: `kuvert relay move ADDRESS` tells it that its relay has moved")?;
            Ok(code)
        }
    }
}

/// `kuvert relay move ADDRESS`
fn moved(arguments: Vec<OsString>, options: &Options) -> Result<ExitCode, Failure> {
    // What variables say is in the outer options already, below what was given there.
    let command = RelayMove::command().mut_args(|arg| arg.env(Resettable::Reset));
    let args = match command.try_get_matches_from(arguments).and_then(|matches| RelayMove::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => {
            if error.use_stderr() && options.output.is_json() {
                let message = error.to_string();
                let message = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
                options.output.print(&Record::Error { code: "usage", message, line: None })?;
            }
            let _ = error.print();
            return Ok(if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS });
        }
    };
    let log = Log::start(args.global.verbose);
    let options = options.with(args.global);
    let to = match args.address.parse::<RelayUrl>() {
        Ok(address) => address,
        // What is neither is told what an address looks like.
        Err(error) => args.address.parse::<InviteLink>().map_err(|_| Error::RelayUrlInvalid(error))?.relay,
    };
    let moved = block_on(async {
        let client = open(&options).await?;
        let before = client.whoami().await?.relay.to_string();
        client.move_relay(to).await?.close().await;
        let relay = client.whoami().await?.relay.to_string();
        options.output.print(&Record::RelayMoved { relay: &relay, before: &before })
    });
    log.finish();
    moved?;
    Ok(ExitCode::SUCCESS)
}
