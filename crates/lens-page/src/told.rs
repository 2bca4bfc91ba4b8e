//! What people told the relay beyond what delivering mail needs, from `people.db`: at L0 only.

use std::path::Path;

use kuvert_relay::admin::KnownAccount;
use kuvert_relay::store::StoreError;
use kuvert_relay_lens::look::{self, Known, Rights, Told};
use kuvert_relay_sqlite::people::{People, PeopleError};
use kuvert_types::AccountId;

/// What one account told.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Who.
    pub account: AccountId,
    /// About himself and his machine.
    pub told: Told,
    /// About others.
    pub address_book: Vec<Known>,
}

/// The database cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ToldError {
    /// It cannot be opened.
    #[error("{0}")]
    Open(#[from] PeopleError),
    /// It cannot be read.
    #[error("{0}")]
    Read(#[from] StoreError),
}

/// What every account told, in the order of registration, without those that told nothing; and what was agreed to, shared and
/// asked for.
///
/// # Errors
/// See [`ToldError`].
pub fn read(data: &Path, accounts: &[KnownAccount]) -> Result<(Vec<Holder>, Rights), ToldError> {
    let Some(people) = People::open_read_only(data)? else { return Ok(Default::default()) };
    let read = people.transact(|tx| {
        let mut holders = Vec::new();
        for KnownAccount { account, .. } in accounts {
            let (told, address_book) = (look::told(tx, account)?, look::address_book(tx, account)?);
            holders.push(Holder { account: *account, told, address_book });
        }
        Ok((holders, look::rights(tx)?))
    });
    let (holders, rights) = read?;
    Ok((holders.into_iter().filter(Holder::is_anything).collect(), rights))
}

impl Holder {
    fn is_anything(&self) -> bool {
        let Told { phone, awaited, profile, devices, .. } = &self.told;
        let parts = [
            phone.is_some(),
            awaited.is_some(),
            profile.display_name.is_some(),
            profile.email.is_some(),
            profile.about.is_some(),
            profile.picture.is_some(),
            !devices.is_empty(),
            !self.address_book.is_empty(),
        ];
        parts.contains(&true)
    }

    /// What the account says about its holder, in words.
    pub fn profile_words(&self) -> Vec<String> {
        let profile = &self.told.profile;
        let texts = [("name", &profile.display_name), ("e-mail", &profile.email), ("about", &profile.about)];
        let texts = texts.into_iter().filter_map(|(what, part)| Some(format!("{what} “{}”", part.as_ref()?.0)));
        let picture = profile.picture.as_ref().map(|(picture, _)| format!("a picture of {} bytes", picture.len()));
        texts.chain(picture).collect()
    }

    /// What its devices say about themselves, in words.
    pub fn device_words(&self) -> impl Iterator<Item = String> {
        self.told.devices.iter().map(|(_, details, _)| {
            let parts = [
                &details.model,
                &details.system,
                &details.system_version,
                &details.app_version,
                &details.language,
                &details.network,
            ];
            parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ")
        })
    }

    /// What its devices made up, as a simulated phone: what, and the invented value.
    pub fn simulated(&self) -> impl Iterator<Item = &(String, String)> {
        self.told.devices.iter().flat_map(|(_, details, _)| &details.simulated)
    }

    /// When the first and the last part of its profile was given, Unix milliseconds.
    pub fn profile_times(&self) -> Option<(u64, u64)> {
        let profile = &self.told.profile;
        let texts = [&profile.display_name, &profile.email, &profile.about];
        let times = texts.into_iter().flatten().map(|(_, at)| *at).chain(profile.picture.iter().map(|(_, at)| *at));
        times.fold(None, |span, at| span.map_or(Some((at, at)), |(first, last)| Some((at.min(first), at.max(last)))))
    }

    /// People in its address book who have no account here and were never asked.
    pub fn shadows(&self) -> impl Iterator<Item = &Known> {
        self.address_book.iter().filter(|known| known.account.is_none())
    }
}

/// What a simulated phone may allow: its name, the row of docs/METADATA.md that it shows, and words for it.
pub const SHEET: [(&str, &str, &str); 14] = [
    ("battery", "M-12", "the charge of the battery"),
    ("signal", "M-12", "the strength of the signal"),
    ("browser", "M-12", "the browser"),
    ("mobile-network", "M-12", "the mobile network"),
    ("provider", "M-12", "the mobile network's provider"),
    ("other-messenger", "M-13", "who somebody is at the parent company's other messenger"),
    ("location", "M-15", "where the phone is, by itself"),
    ("call-lists", "M-15", "whom somebody called"),
    ("sms", "M-15", "text messages on the phone"),
    ("microphone", "M-15", "what the microphone hears"),
    ("camera", "M-15", "what the camera sees"),
    ("album", "M-15", "the pictures on the phone"),
    ("installed-apps", "M-15", "which programs are installed"),
    ("memory-card", "M-15", "what is on the memory card"),
];

/// The row of docs/METADATA.md that something shows which a simulated phone made up.
pub fn simulated_row(what: &str) -> &'static str {
    SHEET.iter().find(|(name, ..)| *name == what).map_or("M-15", |(_, row, _)| row)
}

/// A person in an address book, in words.
pub fn person_words(known: &Known) -> String {
    let person = &known.person;
    let parts = [
        person.name.as_ref(),
        Some(&person.phone),
        person.email.as_ref(),
        person.birthday.as_ref(),
        person.address.as_ref(),
    ];
    parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(", ")
}
