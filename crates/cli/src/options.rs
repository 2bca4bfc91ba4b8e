//! From raw flags to resolved options: which home, which form of output, how much to say.

use std::net::IpAddr;
use std::path::PathBuf;

use etcetera::BaseStrategy;
use kuvert_relay::program::words::takes_colours;
use kuvert_types::Level;

use crate::args::GlobalArgs;
use crate::error::Failure;
use crate::output::Output;

/// What every command gets.
#[derive(Debug)]
pub struct Options {
    home: Option<PathBuf>,
    /// The level of disclosure that the home is to go to.
    pub level: Option<Level>,
    /// The address of this machine to connect from.
    pub local_address: Option<IpAddr>,
    /// Where results go, and in which form.
    pub output: Output,
}

impl Options {
    /// Resolves the global flags.
    pub fn resolve(args: GlobalArgs) -> Self {
        Self {
            home: args.home.filter(|home| !home.as_os_str().is_empty()),
            level: args.level,
            local_address: args.local_address,
            output: Output::new(args.json),
        }
    }

    /// The home directory: `--home`, `KUVERT_HOME`, or `kuvert` in the XDG data directory.
    ///
    /// # Errors
    /// None was named and there is no user's directory to put it into.
    pub fn home(&self) -> Result<PathBuf, Failure> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        let base = etcetera::choose_base_strategy().map_err(|_| {
            Failure::new("no-home", "there is no home directory to keep the account in: name one with --home DIR")
        })?;
        Ok(base.data_dir().join("kuvert"))
    }
}

/// Starts the log on stderr. Nothing is logged below `-v` but warnings; `RUST_LOG` overrides.
pub fn start_log(verbose: u8) {
    let default = match verbose {
        0 => "error",
        1 => "kuvert=info,kuvert_client=info,warn",
        2 => "kuvert=debug,kuvert_client=debug,info",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    // A second subscriber cannot be there: this is called once, by main.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(takes_colours(&std::io::stderr()))
        .try_init();
}
