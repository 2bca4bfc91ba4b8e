//! `kuvert account profile`, `kuvert account show`

use std::fs;
use std::path::Path;

use kuvert_client::ProfileChange;

use crate::args::{Part, Profile};
use crate::commands::open;
use crate::error::Failure;
use crate::options::Options;
use crate::output::record::Record;

/// Changes the profile, or shows it if there is nothing to change.
pub async fn run(args: Profile, options: &Options) -> Result<(), Failure> {
    let change = change(args)?;
    if change != ProfileChange::default() {
        let client = open(options).await?;
        let connection = client.connect().await?;
        connection.set_profile(change).await?;
        connection.close().await;
    }
    show(None, options).await
}

fn change(args: Profile) -> Result<ProfileChange, Failure> {
    let Profile { display_name, email, about, picture, public, private, clear } = args;
    let cleared = |part| clear.contains(&part).then(String::new);
    let picture = picture.as_deref().map(read).transpose()?;
    Ok(ProfileChange {
        display_name: cleared(Part::DisplayName).or(display_name),
        email: cleared(Part::Email).or(email),
        about: cleared(Part::About).or(about),
        picture: cleared(Part::Picture).map(String::into_bytes).or(picture),
        public: (public || private).then_some(public),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::io(&format!("read {}", path.display()), &error))
}

/// Shows one's own profile, or a contact's.
pub async fn show(who: Option<&str>, options: &Options) -> Result<(), Failure> {
    let client = open(options).await?;
    let of = match who {
        Some(who) => Some(client.contacts().find(who).await?.account),
        None => None,
    };
    let connection = client.connect().await?;
    let profile = connection.profile(of).await?;
    let account = profile.account.to_string();
    options.output.print(&Record::profile(&profile, &account))?;
    connection.close().await;
    Ok(())
}
