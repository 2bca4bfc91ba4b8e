//! A small town and one of its days. All people in it are invented.

use std::net::Ipv4Addr;

use kuvert_lens_page::view::place;

/// A person, by the name that he or she goes by in the story.
pub type Name = &'static str;

/// Those who want to be found by strangers, and so take a public name at every level.
pub const OFFICES: [(Name, &str); 3] = [
    ("practice-winter", "Dr. Winter, practice for oncology"),
    ("law-office-roth", "Roth, lawyer for family law"),
    ("shop-maier", "Maier's shop"),
];

/// All others.
pub const PEOPLE: [(Name, &str); 6] = [
    ("anna", "teacher"),
    ("ben", "carpenter, married to Dora"),
    ("clara", "Anna's sister"),
    ("dora", "librarian, married to Ben"),
    ("emil", "baker"),
    ("frieda", "florist"),
];

/// Who lives or works in which house, by its number: [`kuvert_lens_page::view::place`] knows where each is.
pub const HOUSES: [&[Name]; 8] = [
    &["anna"],
    &["ben", "dora"],
    &["clara"],
    &["emil"],
    &["frieda"],
    &["practice-winter"],
    &["law-office-roth"],
    &["shop-maier"],
];

/// The address that a person connects from.
pub fn address(name: Name) -> Option<Ipv4Addr> {
    let (number, _) = (1..).zip(HOUSES).find(|(_, house)| house.contains(&name))?;
    Some(place::house(number))
}

/// One message of the day.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Minutes since midnight.
    pub at: u32,
    /// Who writes.
    pub from: Name,
    /// To whom.
    pub to: Name,
    /// What.
    pub text: &'static str,
    /// A file that goes with it.
    pub file: Option<Paper>,
}

/// A file: what it is called, and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    /// Its name.
    pub name: &'static str,
    /// How many bytes it has.
    pub bytes: usize,
}

const fn line(hour: u32, minute: u32, from: Name, to: Name, text: &'static str) -> Line {
    Line { at: hour * 60 + minute, from, to, text, file: None }
}

impl Line {
    const fn with(self, name: &'static str, bytes: usize) -> Self {
        Self { file: Some(Paper { name, bytes }), ..self }
    }
}

/// The day, in its order.
pub const DAY: &[Line] = &[
    line(0, 12, "emil", "frieda", "Still awake? I can see your light."),
    line(0, 16, "frieda", "emil", "Come to the back door."),
    line(1, 40, "emil", "frieda", "Home. Nobody saw me."),
    line(1, 44, "frieda", "emil", "Sleep well, baker."),
    line(6, 30, "shop-maier", "emil", "Forty rolls today, please."),
    line(6, 35, "emil", "shop-maier", "They are on their way."),
    line(7, 50, "anna", "practice-winter", "The lump has grown. May I come this week?"),
    line(7, 58, "practice-winter", "anna", "Today at 11:15, please. Bring the referral.").with("form.pdf", 180_000),
    line(8, 3, "anna", "clara", "I have to go there today. I am afraid."),
    line(8, 7, "clara", "anna", "I am coming with you. Breathe."),
    line(8, 20, "dora", "shop-maier", "Flour, two pounds of apples, and the paper."),
    line(8, 31, "shop-maier", "dora", "Ready at ten."),
    line(9, 5, "ben", "law-office-roth", "Here are the account statements you asked for.")
        .with("statements.pdf", 4_100_000),
    line(9, 21, "law-office-roth", "ben", "Thank you. We should talk about the house."),
    line(9, 26, "ben", "law-office-roth", "She does not know yet."),
    line(10, 2, "emil", "practice-winter", "Is my check-up still on for Friday?"),
    line(10, 40, "practice-winter", "emil", "Yes, at nine."),
    line(12, 50, "anna", "clara", "They took a sample. Result on Thursday."),
    line(12, 55, "clara", "anna", "I will stay with you until then."),
    line(13, 30, "clara", "shop-maier", "Two portions of soup for my sister, please."),
    line(13, 41, "shop-maier", "clara", "Comes at six."),
    line(14, 10, "law-office-roth", "ben", "The draft is ready. Wednesday at five?"),
    line(14, 15, "ben", "law-office-roth", "Wednesday. Not by post, please."),
    line(15, 5, "frieda", "shop-maier", "Can I leave a poster for the flower market?"),
    line(15, 20, "shop-maier", "frieda", "Of course."),
    line(16, 0, "practice-winter", "anna", "Please do not eat before the next visit."),
    line(16, 5, "anna", "practice-winter", "Understood. Thank you."),
    line(18, 10, "dora", "clara", "Ben is so quiet these weeks. Do you know why?"),
    line(18, 25, "clara", "dora", "No. Ask him."),
    line(21, 30, "dora", "ben", "Will you be late again?"),
    line(22, 15, "ben", "dora", "Work. Do not wait."),
    line(22, 22, "ben", "law-office-roth", "Can we do it before the holidays?"),
    line(23, 30, "frieda", "emil", "Tonight as well?"),
    line(23, 34, "emil", "frieda", "At midnight."),
];

/// What a viewer is asked to guess.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Who is ill?
    Patient,
    /// Whose marriage is about to end?
    Client,
    /// Which two meet in secret?
    Lovers,
}

impl Question {
    /// Every question.
    pub const ALL: [Self; 3] = [Self::Patient, Self::Client, Self::Lovers];

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Patient => "Who is ill?",
            Self::Client => "Who prepares a divorce?",
            Self::Lovers => "Which two meet in secret, at night?",
        }
    }

    /// The answer.
    pub const fn truth(self) -> &'static [Name] {
        match self {
            Self::Patient => &["anna"],
            Self::Client => &["ben"],
            Self::Lovers => &["emil", "frieda"],
        }
    }

    /// The lines that show it, once the letters are open.
    pub fn proof(self) -> impl Iterator<Item = &'static Line> {
        let about = move |line: &&Line| match self {
            Self::Patient => line.from == "anna" && line.to == "practice-winter",
            Self::Client => line.from == "ben" && line.to == "law-office-roth",
            Self::Lovers => line.at < 6 * 60,
        };
        DAY.iter().filter(about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_runs_forward_and_everybody_in_it_lives_there() {
        // Time for the receipts of each.
        assert!(DAY.windows(2).all(|pair| pair[0].at + 2 < pair[1].at));
        let lives = |name: Name| PEOPLE.iter().chain(&OFFICES).any(|(who, _)| *who == name);
        assert!(PEOPLE.iter().chain(&OFFICES).all(|(who, _)| address(who).is_some()));
        assert!(DAY.iter().all(|line| lives(line.from) && lives(line.to) && line.from != line.to && line.at < 24 * 60));
        for question in Question::ALL {
            assert!(question.truth().iter().all(|name| PEOPLE.iter().any(|(who, _)| who == name)));
            assert!(question.proof().count() > 1);
        }
    }
}
