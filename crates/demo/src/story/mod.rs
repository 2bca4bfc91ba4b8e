//! `kuvert demo --story doctor`: a day in a small town, lived twice through a real relay, at L0 and at L3. The viewer sees
//! what the relay saw, guesses what happened from that alone, and then the letters are opened.
//!
//! | module | owns |
//! |---|---|
//! | [`town`] | who lives there, what they write, what is asked |
//! | [`live`] | the day, through real clients and a real relay |
//! | [`guess`] | what the relay's observations say to a reader who has nothing else |

mod guess;
mod live;
mod town;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use kuvert_cli::error::Failure;
use kuvert_cli::output::Output;
use kuvert_cli::output::layout::Layout;
use kuvert_cli::output::style::Painter;
use kuvert_client::Level;
use kuvert_lens_page::view::place;
use serde_json::{Value, json};

use self::guess::{Guess, Seen};
use self::live::Day;
use self::town::{DAY, Line, Name, OFFICES, PEOPLE, Question};

/// The levels at which the day is lived.
const LEVELS: [Level; 2] = [Level::L0, Level::L3];

/// Columns of a name, or of an account's beginning.
const NAME_COLUMNS: usize = 16;

/// Columns of a time of day and the blanks behind it.
const BEHIND_THE_TIME: usize = 7;

/// Lives and tells the story.
///
/// # Errors
/// Those of relay and clients; the output has no reader.
pub async fn play(directory: &Path, output: &Output) -> Result<(), Failure> {
    let mut told = Vec::new();
    tell(
        output,
        &format!(
            "\n  A day in a small town. Everybody in it is invented, and so is every word.\n  {} people write {} letters, \
             twice: once telling the relay what mass-market messengers are told (L0), once as little as Kuvert can (L3). \
             You see what the relay sees. What happened?",
            PEOPLE.len() + OFFICES.len(),
            DAY.len()
        ),
        0,
    )?;
    for level in LEVELS {
        let folder = directory.join(level.to_string());
        kuvert_cli::files::make_directories(&folder)
            .map_err(|error| Failure::io("make a directory for the story", &error))?;
        output.note(&format!("Living the day at {level} …"));
        let view = View::new(level, live::live(&folder, level).await?);
        view.show(output).await?;
        told.push(view);
    }
    if output.is_json() {
        let levels: Vec<Value> = told.iter().map(View::document).collect();
        return output.document(&json!({ "type": "story", "story": "doctor", "levels": levels }));
    }
    let right = |view: &View| Question::ALL.iter().filter(|question| view.is_right(**question)).count();
    let sums: Vec<String> =
        told.iter().map(|view| format!("{} of {} at {}", right(view), Question::ALL.len(), view.level)).collect();
    tell(
        output,
        &format!(
            "\n  Without opening one letter the relay's records alone answer {}.\n  Nothing was decrypted. L3 hides \
             who writes, not that somebody is written to, nor when; and where so few people write, an answer soon after \
             gives its writer away. docs/LENS.md measures it for larger towns.",
            sums.join(", ")
        ),
        0,
    )
}

/// Words for people, in lines that fit; those after the first stand `further` columns to the right.
fn tell(output: &Output, text: &str, further: usize) -> Result<(), Failure> {
    output.words(&Layout::of(&io::stdout()).paragraphs(text, further))
}

/// One telling of the day.
struct View {
    level: Level,
    seen: Vec<Seen>,
    /// The names that the relay knows, by account.
    names: BTreeMap<String, Name>,
    /// Who is who, which it does not know.
    accounts: BTreeMap<Name, String>,
}

impl View {
    fn new(level: Level, day: Day) -> Self {
        let Day { observations, accounts } = day;
        let registered = observations.iter().filter(|event| event.kind == "registered");
        let known: Vec<String> = registered.filter_map(|event| event.name.clone()).collect();
        let names = accounts.iter().filter(|(name, _)| known.iter().any(|known| known == *name));
        Self {
            level,
            seen: guess::seen(&observations, live::MIDNIGHT, level),
            names: names.map(|(name, account)| (account.clone(), *name)).collect(),
            accounts,
        }
    }

    /// As the relay knows an account: by its name, or by the beginning of a random number.
    fn called(&self, account: &str) -> String {
        match self.names.get(account) {
            Some(name) => (*name).to_owned(),
            None => format!("account {}…", account.chars().take(6).collect::<String>()),
        }
    }

    fn answer(&self, question: Question) -> Option<Guess> {
        let office =
            |name: &str| self.names.iter().find(|(_, known)| **known == name).map(|(account, _)| account.clone());
        guess::guess(question, &self.seen, office)
    }

    fn truth(&self, question: Question) -> Vec<&str> {
        let mut accounts: Vec<&str> =
            question.truth().iter().filter_map(|name| self.accounts.get(name)).map(String::as_str).collect();
        accounts.sort_unstable();
        accounts
    }

    fn is_right(&self, question: Question) -> bool {
        self.answer(question).is_some_and(|guess| guess.accounts == self.truth(question))
    }

    fn called_all<'a>(&self, accounts: impl IntoIterator<Item = &'a str>) -> String {
        accounts.into_iter().map(|account| self.called(account)).collect::<Vec<_>>().join(" and ")
    }

    async fn show(&self, output: &Output) -> Result<(), Failure> {
        let painter = output.painter();
        if output.is_json() {
            return Ok(());
        }
        let sees = match self.level {
            Level::L0 => "every name and number, who writes to whom, when, how much, from where",
            _ => "for whom an envelope is, when it came, its padded size; no sender, receipts up to a minute late",
        };
        let note = match self.level {
            Level::L0 => {
                "Receipts are envelopes too. Places come from the addresses by a table made for this town: simulated."
            }
            _ => {
                "Receipts are envelopes too. Addresses are not kept, but a relay has them in its memory while people are there."
            }
        };
        tell(output, &format!("\n  {}", painter.strong(&format!("{}: the relay sees {sees}.", self.level))), 0)?;
        tell(output, &format!("  {}", painter.faint(note)), 0)?;
        for envelope in &self.seen {
            tell(output, &self.row(envelope, painter), BEHIND_THE_TIME)?;
        }
        for question in Question::ALL {
            self.ask(question, output).await?;
        }
        Ok(())
    }

    fn row(&self, envelope: &Seen, painter: Painter) -> String {
        let minute = envelope.at as u32;
        let from = envelope.from.as_deref().map_or_else(|| "?".to_owned(), |from| self.called(from));
        let place = envelope.ip.as_deref().and_then(place::of_address);
        let line = format!(
            "{:02}:{:02}  {from:<NAME_COLUMNS$} → {:<NAME_COLUMNS$} {:>6} B{}",
            minute / 60 % 24,
            minute % 60,
            self.called(&envelope.to),
            envelope.size,
            place.map(|place| format!("  from {place}")).unwrap_or_default()
        );
        format!("  {}", painter.warning(&line))
    }

    async fn ask(&self, question: Question, output: &Output) -> Result<(), Failure> {
        let painter = output.painter();
        let words = |text: &str| tell(output, text, 0);
        words(&format!("\n  {}", painter.strong(question.words())))?;
        let yours = viewer(self).await?;
        let truth = self.truth(question);
        if let Some(yours) = yours {
            let verdict = if truth.contains(&yours.as_str()) { "That is so." } else { "That is not so." };
            words(&format!("    You say {}. {verdict}", self.called(&yours)))?;
        }
        let guess = match self.answer(question) {
            Some(guess) => format!(
                "{}, {:.0} % of the evidence: {}",
                self.called_all(guess.accounts.iter().map(String::as_str)),
                guess.certainty * 100.0,
                if guess.accounts == truth { painter.warning("right") } else { painter.good("wrong") }
            ),
            None => painter.good("no evidence at all"),
        };
        words(&format!("    A program that has the relay's records says: {guess}."))?;
        let who = question.truth().iter().map(|name| match self.called(&self.accounts[name]) {
            called if called == *name => called,
            called => format!("{name} ({called})"),
        });
        let who: Vec<String> = who.collect();
        words(&format!("    It is {}. The letters, which the relay could not read:", who.join(" and ")))?;
        for Line { at, from, to, text, .. } in question.proof() {
            let letter = format!("{:02}:{:02}  {from} to {to}: “{text}”", at / 60, at % 60);
            tell(output, &format!("      {}", painter.person(&letter)), BEHIND_THE_TIME)?;
        }
        Ok(())
    }

    fn document(&self) -> Value {
        let envelopes: Vec<Value> = self
            .seen
            .iter()
            .map(|envelope| {
                json!({
                    "minute": envelope.at,
                    "from": envelope.from.as_deref().map(|from| self.called(from)),
                    "to": self.called(&envelope.to),
                    "size": envelope.size,
                    "ip": envelope.ip,
                    "place_simulated": envelope.ip.as_deref().and_then(place::of_address),
                })
            })
            .collect();
        let questions: Vec<Value> = Question::ALL
            .iter()
            .map(|question| {
                let guess = self.answer(*question);
                json!({
                    "question": question.words(),
                    "guess": guess.as_ref().map(|guess| &guess.accounts),
                    "certainty": guess.as_ref().map(|guess| guess.certainty),
                    "truth": self.truth(*question),
                    "people": question.truth(),
                    "right": self.is_right(*question),
                })
            })
            .collect();
        json!({ "level": self.level.to_string(), "envelopes": envelopes, "questions": questions })
    }
}

/// Asks the person at the terminal; where there is none, no question is asked. An account, if one was chosen.
async fn viewer(view: &View) -> Result<Option<String>, Failure> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Ok(None);
    }
    // In the order of the accounts' random numbers, which says nothing.
    let mut choices: Vec<&String> = PEOPLE.iter().filter_map(|(name, _)| view.accounts.get(name)).collect();
    choices.sort_unstable();
    let letters = choices.iter().zip('a'..).map(|(account, letter)| format!("{letter} {}", view.called(account)));
    let letters = format!("    {}", letters.collect::<Vec<_>>().join("   "));
    let letters = Layout::of(&io::stdout()).paragraphs(&letters, 0);
    let prompt = format!("{letters}\n    Your guess (a letter, or Enter for none): ");
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(prompt.as_bytes()).and_then(|()| stdout.flush());
    drop(stdout);
    written.map_err(|error| Failure::io("write to stdout", &error))?;
    let (send, read) = tokio::sync::oneshot::channel();
    // On a thread of its own: a read cannot be cancelled, and must not keep Ctrl-C from ending the story.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line).map(|_| line);
        // An error means that the question is of no interest any more.
        let _ = send.send(read);
    });
    let line = read.await.map_err(|error| Failure::new("internal", error.to_string()))?;
    let line = line.map_err(|error| Failure::io("read stdin", &error))?;
    let letter = line.trim().chars().next();
    let chosen = letter.and_then(|letter| u32::from(letter).checked_sub(u32::from('a')));
    Ok(chosen.and_then(|index| choices.get(index as usize)).map(|account| (*account).clone()))
}
