//! `kuvert chat`: a conversation while it happens.
//!
//! ```text
//!            keys                         events
//! terminal ───────► State ──► view ──► screen
//!                     │ ▲
//!              Effect │ │ LinkEvent
//!                     ▼ │
//!              Client   Link (connects, receives, flushes)
//! ```
//! | module | owns |
//! |---|---|
//! | [`state`] | what the screen shows, as a value; pure |
//! | [`input`] | the input line; pure |
//! | [`view`] | state → canvas; pure |
//! | [`canvas`] | canvas → terminal: what stands there, and drawing what changed |
//! | [`link`] | the connection: comes back when it breaks, sends what is queued |
//! | [`screen`] | the terminal, and the loop around state and link |
//! | [`lines`] | the line mode for stdin that is no terminal, and for terminals without a screen |

mod canvas;
mod input;
mod lines;
mod link;
mod screen;
mod state;
mod view;

use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::terminal;

/// Talks with one contact until the user leaves.
pub async fn run(who: &str, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let contact = client.contacts().find(who).await?;
    let interactive = terminal::has_screen() && !options.output.is_json();
    if interactive { screen::run(client, contact).await } else { lines::run(client, who, options).await }
}
