//! Asking for a passphrase on the terminal, without showing it.

use std::io::{self, IsTerminal as _};

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use kuvert_client::MAX_PASSPHRASE_BYTES;
use zeroize::Zeroizing;

use crate::error::Failure;
use crate::output::Output;
use crate::signals::Stop;
use crate::terminal::{Keys, Kind, Taken, Wake};

/// A text that is wiped when it is dropped.
pub type Text = Zeroizing<String>;

/// What a key does to what was typed.
#[derive(PartialEq, Eq, Debug)]
enum Typed {
    /// It goes on.
    More,
    /// It is done.
    Done,
    /// The user wants out.
    Out,
}

/// Asks for a line that is not shown.
///
/// # Errors
/// `passphrase-needed`, where there is no terminal to ask on, or JSON was asked for; the user wants out.
pub async fn ask(question: &str, output: Output) -> Result<Text, Failure> {
    if output.is_json() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let message = "a passphrase is needed, and there is no terminal to ask on: name a file with --passphrase-file, or a key with \
                       --key-file; nothing was done";
        return Err(Failure::new("passphrase-needed", message));
    }
    output.prompt(&format!("{question}, which is not shown:"));
    let mut stop = Stop::listen_to_all()?;
    let mut taken = Taken::take(Kind::Keys)?;
    // Never grows: what is left behind where a text grows is not wiped.
    let mut text = Text::new(String::with_capacity(MAX_PASSPHRASE_BYTES));
    let mut keys = Keys::new();
    let ended = loop {
        tokio::select! {
            biased;
            failure = stop.signalled() => break Err(failure),
            wake = taken.wake() => match wake {
                Wake::Suspend => taken.suspend().await?,
                Wake::Resume => taken.resume()?,
                Wake::Gone => break Err(Failure::Left),
            },
            event = keys.next() => match event {
                None => break Err(Failure::Left),
                Some(Err(error)) => break Err(Failure::io("read from the terminal", &error)),
                Some(Ok(event)) => match take(&mut text, &event) {
                    Typed::More => {}
                    Typed::Done => break Ok(()),
                    Typed::Out => break Err(Failure::interrupted()),
                },
            },
        }
    };
    drop((keys, taken));
    // The key that ended the line was not shown, either.
    output.note("");
    ended.map(|()| text)
}

fn take(text: &mut String, event: &Event) -> Typed {
    let Event::Key(key) = event else { return Typed::More };
    if key.kind == KeyEventKind::Release {
        return Typed::More;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Enter => return Typed::Done,
        KeyCode::Char('c' | 'd') if control => return Typed::Out,
        KeyCode::Char('u') if control => text.clear(),
        KeyCode::Char('j' | 'm') if control => return Typed::Done,
        KeyCode::Char(_) if control => {}
        KeyCode::Backspace => drop(text.pop()),
        KeyCode::Char(c) if text.len() + c.len_utf8() <= MAX_PASSPHRASE_BYTES => text.push(c),
        _ => {}
    }
    Typed::More
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyEvent;

    use super::*;

    fn key(code: KeyCode, modifiers: KeyModifiers) -> Event {
        Event::Key(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn a_line_is_typed_corrected_and_left() {
        let mut text = String::new();
        let plain = |code| key(code, KeyModifiers::NONE);
        let control = |c| key(KeyCode::Char(c), KeyModifiers::CONTROL);
        for event in [plain(KeyCode::Char('x')), control('u'), plain(KeyCode::Char('ä')), plain(KeyCode::Char('b'))] {
            assert_eq!(take(&mut text, &event), Typed::More);
        }
        assert_eq!(text, "äb");
        take(&mut text, &plain(KeyCode::Backspace));
        take(&mut text, &control('x'));
        assert_eq!(text, "ä");
        assert_eq!(take(&mut text, &plain(KeyCode::Enter)), Typed::Done);
        assert_eq!(take(&mut text, &control('c')), Typed::Out);
        text = "x".repeat(MAX_PASSPHRASE_BYTES);
        take(&mut text, &plain(KeyCode::Char('y')));
        assert_eq!(text.len(), MAX_PASSPHRASE_BYTES);
    }
}
