//! What an entry of the registry says about a field.

use std::fmt;

use serde::{Serialize, Serializer};

/// A closed choice whose values are told in words, in documents and in JSON alike.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $words:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// In words.
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$variant => $words,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.words())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.words())
            }
        }
    };
}
pub(super) use choice;

/// One stored field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Field {
    /// Where it is stored.
    pub place: Place,
    /// The table; for memory, configuration and log: the group.
    pub table: &'static str,
    /// The column or key.
    pub column: &'static str,
    /// What it holds, for people.
    pub meaning: &'static str,
    /// What kind of value it is.
    pub form: Form,
    /// Whose data it is.
    pub subject: Subject,
    /// What kind of data it is.
    pub category: Category,
    /// What it is for.
    pub purpose: Purpose,
    /// On what ground Art. 6 GDPR lets it be processed.
    pub basis: Basis,
    /// How long it is kept.
    pub retention: Retention,
    /// Who sees it beside the operator.
    pub recipients: &'static [Recipient],
    /// The levels of the disclosure ladder at which it is stored.
    pub levels: &'static [Level],
    /// Where it stands in the report that an account can ask for.
    pub report: Section,
    /// What deletes it.
    pub deletion: Deletion,
    /// The items of the catalogue that it shows: 9 is M-09.
    pub items: &'static [u8],
}

impl Field {
    /// `table.column`
    pub fn name(&self) -> String {
        format!("{}.{}", self.table, self.column)
    }

    /// Whether it says something about a person.
    pub fn is_personal(&self) -> bool {
        !matches!(self.subject, Subject::Operator | Subject::Nobody)
    }
}

choice! {
    /// Where a field is stored.
    Place {
        /// `DATA/relay.db`
        Database = "relay.db",
        /// `DATA/people.db`: what people tell beyond what delivering mail needs.
        People = "people.db",
        /// `DATA/blobs.db` and the files below `DATA/blobs/`: files on their way to their readers.
        Blobs = "blobs.db",
        /// `DATA/observe.db`, written only with `--observe`.
        Observations = "observe.db",
        /// PostgreSQL, where a relay keeps its data there: what it has beyond the tables of `relay.db`, `people.db` and `blobs.db`.
        Group = "PostgreSQL",
        /// `DATA/limits.state`: what limits remember over a restart.
        Limits = "limits.state",
        /// Only while the relay runs.
        Memory = "memory",
        /// The operator's configuration file, and what `serve` writes beside the database.
        Configuration = "configuration",
        /// The log.
        Log = "log",
    }
}

choice! {
    /// What kind of value a field has.
    Form {
        /// Random bytes that name something.
        Identifier = "identifier",
        /// A public key, a signature or a signed statement.
        PublicKey = "public key or signature",
        /// Unix milliseconds.
        Time = "time",
        /// A count, a size, a number.
        Number = "number",
        /// Words.
        Text = "text",
        /// Bytes that the relay cannot read.
        Ciphertext = "ciphertext",
        /// Yes or no.
        Flag = "yes or no",
    }
}

choice! {
    /// Whose data a field is.
    Subject {
        /// Who has the account.
        AccountHolder = "the account's holder",
        /// Who wrote an envelope.
        Sender = "the sender",
        /// Whom an envelope is for.
        Recipient = "the recipient",
        /// Sender and recipient both: who is in contact with whom.
        Both = "sender and recipient",
        /// People in an address book, with or without an account.
        Others = "people in an address book",
        /// Who runs the relay.
        Operator = "the operator",
        /// Technical.
        Nobody = "nobody",
    }
}

choice! {
    /// What kind of data a field is.
    Category {
        /// Who a user is.
        Account = "account",
        /// Whom a user knows.
        Contacts = "contacts",
        /// Public keys.
        Keys = "public keys",
        /// Sealed content.
        Content = "sealed content",
        /// Who with whom, when, how much.
        Traffic = "traffic",
        /// From where.
        Connection = "connection",
        /// The relay's own working.
        Operation = "operation",
    }
}

choice! {
    /// What a field is for.
    Purpose {
        /// Getting an envelope to its recipient.
        Delivery = "deliver messages",
        /// Beginning a session with a device that is away.
        KeyExchange = "let others begin an encrypted conversation",
        /// Being found.
        Discovery = "be found by others",
        /// Telling devices apart, safely.
        Authentication = "prove which device is which",
        /// Limits on what one may ask for.
        Protection = "protect the relay from overload and abuse",
        /// Running the relay.
        Operation = "run the relay",
        /// What the law asks for: reports, legal holds, proof of consent.
        Duty = "meet legal duties",
        /// Showing people what a relay can learn.
        Demonstration = "show what a relay can learn",
    }
}

choice! {
    /// On what ground Art. 6(1) GDPR lets a field be processed. A proposal: the operator answers for it.
    Basis {
        /// Art. 6(1)(a)
        Consent = "consent, Art. 6(1)(a) GDPR",
        /// Art. 6(1)(b)
        Contract = "performance of a contract, Art. 6(1)(b) GDPR",
        /// Art. 6(1)(c)
        LegalObligation = "legal obligation, Art. 6(1)(c) GDPR",
        /// Art. 6(1)(f)
        LegitimateInterest = "legitimate interest, Art. 6(1)(f) GDPR",
        /// No personal data.
        NotPersonal = "no personal data",
    }
}

choice! {
    /// Who sees a field beside the operator, and those that can make the operator hand it over.
    Recipient {
        /// The account's own devices.
        OwnDevices = "the account's own devices",
        /// The device that the envelope is for.
        RecipientDevice = "the recipient's device",
        /// Every registered user who looks the account up.
        RegisteredUsers = "registered users who look the account up",
        /// Users who begin a conversation with the device.
        Initiators = "users who begin a conversation with the device",
    }
}

choice! {
    /// A rung of the disclosure ladder: how much the relay is told.
    Level {
        /// Number, address book, plain sender, device, IP: as a mass-market messenger is described.
        L0 = "L0",
        /// Random identifiers, nothing uploaded; addresses in memory only.
        L1 = "L1",
        /// Sealed sender: recipient, time, size.
        L2 = "L2",
        /// A size bucket, the time; receipts late or not at all.
        L3 = "L3",
    }
}

choice! {
    /// A file of the report that an account can ask for.
    Section {
        /// `account_information.json`
        AccountInformation = "account_information",
        /// `connections.json`
        Connections = "connections",
        /// `settings.json`
        Settings = "settings",
        /// `queue.json`
        Queue = "queue",
        /// `recipients.json`
        Recipients = "recipients",
        /// In no file: it is not the account's.
        None = "none",
    }
}

/// How long a field is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Retention {
    /// Until the recipient's device acknowledges it, and never longer than this.
    UntilAcknowledged {
        /// Days.
        at_most_days: u32,
    },
    /// Until every reader has it, and never longer than this.
    UntilRead {
        /// Days.
        at_most_days: u32,
    },
    /// Until it is given to the first who asks.
    UntilHandedOut,
    /// Until it is used, and never longer than this.
    UntilUsed {
        /// Minutes.
        at_most_minutes: u32,
    },
    /// Until its owner publishes a newer one.
    UntilReplaced,
    /// Until the device has told its user.
    UntilTold,
    /// As long as the account exists.
    WithAccount,
    /// While the connection is open.
    WithConnection,
    /// At most until the relay restarts.
    UntilRestart,
    /// Until a limit has rested, and never longer than this.
    UntilRested {
        /// Hours.
        at_most_hours: u32,
    },
    /// So long at the latest.
    AtMost {
        /// Days.
        days: u32,
    },
    /// As long as the law holds it back.
    WhileHeld,
    /// As long as the operator wants.
    OperatorsChoice,
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UntilAcknowledged { at_most_days } => {
                write!(f, "until the recipient's device has taken it in, {at_most_days} days at most")
            }
            Self::UntilRead { at_most_days } => {
                write!(f, "until all its readers have taken it, {at_most_days} days at most")
            }
            Self::UntilHandedOut => f.write_str("until it is handed out, once"),
            Self::UntilUsed { at_most_minutes } => write!(f, "until it is used, {at_most_minutes} minutes at most"),
            Self::UntilReplaced => f.write_str("until a newer one takes its place"),
            Self::UntilTold => f.write_str("until the device has told its user"),
            Self::WithAccount => f.write_str("as long as the account exists"),
            Self::WithConnection => f.write_str("while the connection is open"),
            Self::UntilRestart => f.write_str("until it has rested, or the relay restarts"),
            Self::UntilRested { at_most_hours } => write!(f, "until it has rested, {at_most_hours} hours at most"),
            Self::AtMost { days } => write!(f, "{days} days at most"),
            Self::WhileHeld => f.write_str("as long as a legal hold lasts"),
            Self::OperatorsChoice => f.write_str("as long as the operator keeps it"),
        }
    }
}

impl Serialize for Retention {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

choice! {
    /// What deletes a field.
    Deletion {
        /// Acknowledging deletes the row; what is not fetched, the purge deletes. Both overwrite it.
        AcknowledgeOrPurge = "the row is deleted and overwritten on acknowledgement, by the purge, or with the recipient's account",
        /// The same on PostgreSQL, where nothing is overwritten: the table of keys is written anew without it, within a minute or two.
        AcknowledgeOrRewrite = "the row is deleted on acknowledgement, by the purge, or with the recipient's account; the key's table is then written anew without it",
        /// What the last reader leaves is erased; what is not fetched, the purge erases.
        ReadOrPurge = "the key is overwritten and the row deleted when the last reader has it, by the purge, or with the account that uploaded it; then the file goes",
        /// The same on PostgreSQL, where nothing is overwritten: the table of keys is written anew without it, within a minute or two.
        ReadOrRewrite = "the row and the key are deleted when the last reader has it, by the purge, or with the account that uploaded it; the key's table is then written anew without it, and the objects go",
        /// It names what is still to be deleted in a directory or a bucket.
        AfterObject = "the row is deleted once the object is, which is tried every minute",
        /// Detaching deletes the row; those of a relay that ended are deleted by the others.
        Detach = "the row is deleted when the device detaches or its relay ends",
        /// It names what is still to be deleted on other servers.
        AfterMail = "the row is deleted once the mail is, which is tried every minute",
        /// Handing it out deletes it durably first.
        HandOut = "the row is deleted before it is handed out, or with the account",
        /// Using it deletes it; what is not used, the purge deletes.
        UseOrPurge = "the row is deleted and overwritten when it is used, by the purge, or with the account",
        /// Publishing a newer one overwrites it.
        Replace = "a newer one overwrites it; it goes with the account",
        /// Telling the user takes the row away.
        Tell = "the row is deleted when the device has told its user, or with the account",
        /// With the account.
        Account = "the row is deleted with the account, and overwritten",
        /// Whatever comes first.
        AccountOrPurge = "the row is deleted with the account, or by the purge, and overwritten",
        /// The row stays for its time without the field.
        Deidentify = "deleting the account empties the field at once; the row is deleted by the purge",
        /// The operator ends the hold.
        Release = "the operator releases the hold (`kuvert-relay hold release`)",
        /// Never on disk.
        Memory = "gone from memory by itself",
        /// The limits' file is written anew.
        Rested = "the file is written anew without it once it has rested, or with the account",
        /// The operator deletes the file.
        Operator = "the operator deletes the file",
        /// Nothing to delete.
        Nothing = "nothing personal: stays",
    }
}
