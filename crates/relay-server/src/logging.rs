//! Logs: counts, codes and random connection numbers. Never a name, a number, an address (IP or account) or a key.
//!
//! Only this crate's own statements are written, whatever the level: what libraries log may hold IP addresses.

use std::io;

use kuvert_program::words::takes_colours;
use kuvert_relay::config::{Log, LogLevel};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

/// Starts to write logs to stderr. What cannot be written there is left out: to say so, the library would end the thread that
/// logs. A process that logs already goes on as it did.
pub fn start(log: Log) {
    let layer: Box<dyn Layer<Registry> + Send + Sync> = if log.json {
        fmt::layer()
            .json()
            .log_internal_errors(false)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(io::stderr)
            .boxed()
    } else {
        fmt::layer().log_internal_errors(false).with_writer(io::stderr).with_ansi(takes_colours(&io::stderr())).boxed()
    };
    // The only error is that a program which embeds the relay has set up its own logs: they win.
    let _ = tracing_subscriber::registry().with(layer.with_filter(targets(log.level))).try_init();
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_target("kuvert_relay", level)
}
