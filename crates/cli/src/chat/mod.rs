//! `kuvert chat`: conversations while they happen.
//!
//! ```text
//!            keys                         events
//! terminal ───────► State ──► view ──► Painter ──► terminal
//!                     │ ▲
//!              Effect │ │ what the store has, LinkEvent
//!                     ▼ │
//!              Client   Link (connects, receives or reads along, flushes)
//! ```
//! | module | owns |
//! |---|---|
//! | [`state`] | what the screen shows, as a value; pure |
//! | [`list`], [`talk`], [`input`] | its parts: all conversations, the open one, what is written; pure |
//! | [`dropped`] | paths as people type them and as terminals paste what is dropped; pure |
//! | [`command`], [`keys`] | what is written after `/`; what keys and ticks mean; pure |
//! | [`view`] | state → canvas; pure |
//! | [`canvas`] | canvas → terminal: what stands there, and drawing what changed |
//! | [`painter`] | the thread that does so: a terminal that pauses keeps nothing else waiting |
//! | [`notify`] | bells and notifications |
//! | [`link`] | the connection: comes back when it breaks, receives or reads along, sends what is queued |
//! | [`screen`] | the terminal, and the loop around state, store and link |
//! | [`lines`] | the line mode for stdin that is no terminal, and for terminals without a screen |

mod canvas;
mod command;
mod dropped;
mod input;
mod keys;
mod lines;
mod link;
mod list;
mod notify;
mod painter;
mod screen;
mod state;
mod talk;
mod view;

pub use notify::Notify;

use crate::args;
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::terminal;

/// Talks until the user leaves: on the screen with all, else with one contact.
pub async fn run(args: &args::Chat, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let interactive = terminal::has_screen() && !options.output.is_json();
    let contact = match &args.who {
        Some(who) => Some(client.contacts().find(who).await?),
        None => None,
    };
    if interactive {
        let telling = screen::Telling { notify: args.notify, text: args.notify_text };
        return screen::run(client, contact, telling).await;
    }
    let Some(who) = &args.who else {
        return Err(Failure::new(
            "chat-with-whom",
            "without a screen a chat is with one contact: name it, `kuvert chat WHO`",
        ));
    };
    lines::run(client, who, options).await
}
