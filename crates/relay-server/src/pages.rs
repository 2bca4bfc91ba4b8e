//! What the manual pages of `kuvert-relay` have beside its help; its long help has the examples, too.

use kuvert_program::manual::{EXIT, Entry, Manual};

/// Of `kuvert-relay`, and of programs that have all of its commands.
pub const MANUAL: Manual =
    Manual { examples: EXAMPLES, exit: EXIT, files: FILES, environment: ENVIRONMENT, see_also: SEE_ALSO };

const SEE_ALSO: &[&str] = &["kuvert(1)", "kuvert-relay(1)", "kuvert-relay-lens(1)"];

const FILES: &[Entry] = &[
    (
        "$XDG_DATA_HOME/kuvert-relay, ~/.local/share/kuvert-relay",
        "The data directory, where nothing else is named. Its mode is 0700.",
    ),
    ("DATA/relay.db", "Accounts, keys, and the envelopes that wait; relay.db-wal and relay.db-shm belong to it."),
    ("DATA/people.db", "Requests for reports, holds, and, at level L0, what accounts told."),
    (
        "DATA/limits.state",
        "What must not begin anew with a restart: counts of registrations, one-time codes that were used.",
    ),
    ("DATA/last-backup", "When the last backup was made."),
];

const ENVIRONMENT: &[Entry] = &[
    ("COLUMNS", "How wide lines for people are, where the terminal is not narrower."),
    ("HOME", "Where the user's data directory is, where XDG_DATA_HOME does not say."),
    ("KUVERT_RELAY_CONFIG", "The configuration file, where --config names none."),
    ("KUVERT_RELAY_DATA", "The data directory, where --data names none."),
    ("KUVERT_RELAY_CLOCK_OFFSET", "Moves the relay's clock by so many seconds, for demonstrations and drills."),
    (
        "KUVERT_RELAY_KEY",
        "Any key of the configuration, in upper case, with _ for the dot: KUVERT_RELAY_LIMITS_CONNECTIONS. It wins over the file. `kuvert-relay config` prints all keys.",
    ),
    (
        "KUVERT_RELAY_STORE",
        "The store, where --store names none: postgres://USER@HOST/DATABASE. Empty: the data directory.",
    ),
    ("NO_COLOR", "Set and not empty: no colours."),
    ("PATH", "Where programs of this project are looked for that are not beside this one."),
    ("PGPASSFILE", "The file with the password of a store on PostgreSQL; ~/.pgpass without it. Its mode is 0600."),
    ("PGPASSWORD", "That password itself. It wins over the file."),
    ("TERM", "dumb or unset: no colours."),
    ("XDG_DATA_HOME", "The user's data directory; ~/.local/share without it."),
];

const EXAMPLES: &[(&str, &[Entry])] = &[
    (
        "",
        &[
            ("kuvert-relay serve", "Serves on this machine alone, and prints the relay's address."),
            ("kuvert-relay config > relay.toml", "Writes a configuration with every key, explained."),
        ],
    ),
    (
        "serve",
        &[
            (
                "kuvert-relay serve --listen '[::]:4433' --public-host relay.example",
                "Serves the world under this name.",
            ),
            ("kuvert-relay serve --config /etc/kuvert/relay.toml", "Serves as the file says."),
        ],
    ),
    (
        "inspect",
        &[("kuvert-relay inspect --data /var/lib/kuvert-relay", "Prints what the relay holds, also while it runs.")],
    ),
    ("backup", &[("kuvert-relay backup --to /backup/2026-11-29", "Backs the relay up, also while it runs.")]),
    (
        "restore",
        &[(
            "kuvert-relay restore --from /backup/2026-11-29 --data /var/lib/kuvert-relay",
            "Makes a data directory of a backup.",
        )],
    ),
    ("invite", &[("kuvert-relay invite create", "Makes an invitation for one account.")]),
    ("invite create", &[("kuvert-relay invite create --uses 20 --days 30", "Makes one for a class.")]),
    ("invite list", &[("kuvert-relay invite list", "Lists those that are good.")]),
    ("invite revoke", &[("kuvert-relay invite revoke NAME", "Takes one back, named as in the list.")]),
    ("hold", &[("kuvert-relay hold list", "Lists the holds.")]),
    (
        "hold add",
        &[(
            "kuvert-relay hold add k3l5m7q2w4e6r2t3y2u4i6o2pa --reason 'order 12/26'",
            "Keeps a report of the account when it is deleted.",
        )],
    ),
    ("hold list", &[("kuvert-relay hold list", "Lists the holds, and what is kept under them.")]),
    (
        "hold release",
        &[(
            "kuvert-relay hold release k3l5m7q2w4e6r2t3y2u4i6o2pa --to report",
            "Ends the hold; what was kept is written out first.",
        )],
    ),
    ("config", &[("kuvert-relay config > relay.toml", "Writes a configuration with every key, explained.")]),
    (
        "config default",
        &[("kuvert-relay config default > relay.toml", "Writes a configuration with every key, explained.")],
    ),
    (
        "config check",
        &[("kuvert-relay config check --config relay.toml", "Says what is wrong with it; starts nothing.")],
    ),
    (
        "migrate",
        &[(
            "kuvert-relay migrate --store postgres://relay@10.0.0.1,10.0.0.2,10.0.0.3/kuvert",
            "Makes the store's tables, or brings them to this version.",
        )],
    ),
    ("cluster", &[("kuvert-relay cluster key > cluster.key", "Draws the key that all relays of a store have.")]),
    ("cluster key", &[("kuvert-relay cluster key > cluster.key", "Draws the key that all relays of a store have.")]),
    (
        "cluster list",
        &[(
            "kuvert-relay cluster list --store postgres://relay@10.0.0.1/kuvert",
            "Lists the relays, and what each holds.",
        )],
    ),
    (
        "cluster add-group",
        &[(
            "kuvert-relay cluster add-group --store postgres://relay@10.0.0.1/kuvert second --address postgres://relay@10.0.1.1/kuvert",
            "Adds an empty database on other servers, for slots to be moved to. Start all relays again, one after the other.",
        )],
    ),
    (
        "cluster groups",
        &[(
            "kuvert-relay cluster groups --store postgres://relay@10.0.0.1/kuvert",
            "Lists the groups of servers, and how many slots each has.",
        )],
    ),
    (
        "cluster move-slots",
        &[(
            "kuvert-relay cluster move-slots --store postgres://relay@10.0.0.1/kuvert --slots 0-2047 --to second",
            "Moves half of all mail to another group while relays serve.",
        )],
    ),
    (
        "cluster drain",
        &[(
            "kuvert-relay cluster drain relay2 --store postgres://relay@10.0.0.1/kuvert",
            "Has relay2 hand over what it holds; with --undo it takes its share again.",
        )],
    ),
    ("registry", &[("kuvert-relay registry notice", "Prints the privacy notice for users.")]),
    ("share", &[("kuvert-relay-lens share parent", "Prints what the parent company would get.")]),
    ("share parent", &[("kuvert-relay-lens share parent --data demo", "Prints what the parent company would get.")]),
    ("share match", &[("kuvert-relay-lens share match --list customers.csv", "Matches a made-up list of customers.")]),
    (
        "share subpoena",
        &[(
            "kuvert-relay-lens share subpoena --account k3l5m7q2w4e6r2t3y2u4i6o2pa",
            "Prints all that is held about an account.",
        )],
    ),
    ("withdraw", &[("kuvert-relay-lens withdraw --yes", "Deletes what accounts told at level L0.")]),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kuvert_program::manual::check;

    use super::*;
    use crate::{command, source};

    /// Commands of `kuvert-relay-lens`.
    const BEYOND: [&str; 5] = ["share", "share parent", "share match", "share subpoena", "withdraw"];

    #[test]
    fn every_command_has_an_example_and_every_example_is_understood() {
        assert_eq!(check::faults(&MANUAL, &command(), &BEYOND), [""; 0]);
    }

    #[test]
    fn every_variable_that_is_read_is_told_of() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for name in ["relay-server", "relay", "relay-sqlite", "relay-lens", "privacy", "program"] {
            for variable in check::variables(&crates.join(name).join("src")).unwrap() {
                // Keys of the configuration are told of as a whole, and the prefix is no variable.
                let told = check::tells_of(&MANUAL, &variable) || variable == source::PREFIX;
                assert!(told, "{name} reads {variable}");
            }
        }
    }

    #[test]
    fn typesetters_have_nothing_to_say_about_the_pages() {
        let pages = tempfile::tempdir().unwrap();
        MANUAL.write(command(), pages.path()).unwrap();
        assert!(pages.path().join("kuvert-relay-invite-create.1").is_file());
        let (_, complaints) = check::complaints(pages.path()).unwrap();
        assert_eq!(complaints, [""; 0]);
    }
}
