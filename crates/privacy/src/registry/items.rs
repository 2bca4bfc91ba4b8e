//! The catalogue: what descriptions of a mass-market messenger say that its server sees, item by item, and where running
//! software shows it. Numbers are for good: code, tests and the lens refer to them as M-09.

use serde::Serialize;

use super::field::choice;

/// An item of the catalogue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Item {
    /// 9 is M-09.
    pub number: u8,
    /// The chapter of the catalogue.
    pub chapter: Chapter,
    /// What the descriptions say.
    pub says: &'static str,
    /// How running software is to show it.
    pub mode: Mode,
    /// How far it is shown.
    pub shown: Shown,
}

choice! {
    /// The chapters of the catalogue.
    Chapter {
        /// What is sealed.
        Content = "Content",
        /// What is not.
        Metadata = "Metadata",
        /// Who a user is and knows.
        Account = "Account and contacts",
        /// What is agreed to and passed on.
        Sharing = "Consent and sharing",
        /// What people may ask for, and how long data are kept.
        Rights = "Rights and retention",
        /// What businesses have.
        Business = "Business",
    }
}

choice! {
    /// How an item is to be shown.
    Mode {
        /// It runs.
        Real = "runs",
        /// Part of it runs, part of it is simulated and labelled so.
        Mixed = "runs in part, simulated in part",
        /// Simulated and labelled so.
        Simulated = "simulated",
        /// Explained in words.
        Text = "in words",
        /// It runs, in a later version.
        RealLater = "runs, later",
        /// Simulated, in a later version.
        SimulatedLater = "simulated, later",
    }
}

/// How far an item is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Shown {
    /// All of it.
    Yes(Proof),
    /// Some of it.
    Partly {
        /// What is.
        proof: Proof,
        /// What is not.
        missing: &'static str,
    },
    /// Nothing yet.
    NotYet {
        /// Why, or what it waits for.
        missing: &'static str,
    },
    /// In words, here.
    Words {
        /// Them.
        words: &'static str,
    },
}

/// Where something can be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Proof {
    /// A file, and an item in it.
    pub code: (&'static str, &'static str),
    /// A file, and a test in it.
    pub test: (&'static str, &'static str),
    /// Where a person sees it.
    pub place: &'static str,
}

const EVENTS: &str = "crates/relay/src/observe/event.rs";
const OBSERVATION_TEST: (&str, &str) =
    ("crates/relay-lens/tests/relay/observation.rs", "every_thing_that_the_relay_learns_is_an_event");
const PEOPLE_TEST: &str = "crates/relay-lens/tests/relay/people.rs";
const CLIENT_TEST: &str = "crates/client/tests/people.rs";

const fn item(number: u8, chapter: Chapter, mode: Mode, says: &'static str, shown: Shown) -> Item {
    Item { number, chapter, says, mode, shown }
}

const fn not_yet(missing: &'static str) -> Shown {
    Shown::NotYet { missing }
}

const NO_GROUPS: &str = "there are no groups yet";
const NO_BUSINESS: &str = "there are no business accounts yet";
const VIEW_TEST: &str = "crates/lens-page/tests/view.rs";

const DELETION: &str = "crates/relay/src/deletion.rs";
const POLICY: &str = "crates/relay-lens/src/policy.rs";
const SHARE: &str = "crates/relay-lens/src/program/share.rs";
const RIGHTS_TEST: &str = "tests/rights.rs";
const RELAY_RIGHTS_TEST: &str = "crates/relay-lens/tests/relay/rights.rs";
const SHARING: &str = "what_the_demonstration_shares_is_what_was_accepted_and_is_written_down";

/// A line of the simulated permission sheet.
const fn sheet(place: &'static str) -> Shown {
    Shown::Yes(Proof {
        code: ("crates/client/src/people/sheet.rs", "PERMISSIONS"),
        test: (CLIENT_TEST, "a_phones_permissions_are_simulated_and_denied_until_they_are_granted"),
        place,
    })
}

/// A file of the report.
const fn report_proof(place: &'static str) -> Proof {
    Proof {
        code: ("crates/relay-sqlite/src/report/rows.rs", "TABLES"),
        test: (RELAY_RIGHTS_TEST, "the_report_holds_what_the_registry_says_and_fits_its_schema"),
        place,
    }
}

const fn report(place: &'static str) -> Shown {
    Shown::Yes(report_proof(place))
}

/// M-01 … M-47.
pub const ALL: &[Item] = &[
    item(
        1,
        Chapter::Content,
        Mode::Real,
        "Messages, calls, photos, video and voice are end-to-end encrypted: neither the provider nor anybody else reads them on the way",
        Shown::Partly {
            proof: Proof {
                code: ("crates/relay/src/store/mod.rs", "NewEnvelope"),
                test: ("tests/canary.rs", "a_canary_is_nowhere_in_the_relay"),
                place: "`kuvert demo`; the lens page, \"What waits\" between the two screens. Photos, videos, voice notes and documents: \
                        `kuvert send --file`; the lens page, \"Files: who gave whom something\" and a line of their own between two \
                        people; `crates/lens-page/src/view/transfers.rs`, `tests/ladder.rs`: content, name, place and thumbnail of a \
                        file are nowhere at the relay, at any level",
            },
            missing: "calls",
        },
    ),
    item(
        2,
        Chapter::Content,
        Mode::Real,
        "Plaintext exists on the end devices only; the servers, in the USA, hold ciphertext",
        Shown::Yes(Proof {
            code: ("crates/relay-sqlite/src/store/schema.rs", "ciphertext"),
            test: ("tests/canary.rs", "a_canary_is_nowhere_in_the_relay"),
            place: "`kuvert demo`; the lens page, \"What waits\"; the region is a label of the operator's (`region`), on the lens \
                    page and in `kuvert-relay inspect`: simulated in the demo",
        }),
    ),
    item(
        3,
        Chapter::Content,
        Mode::Real,
        "Undelivered ciphertext is kept for at most 30 days, and deleted after delivery",
        Shown::Yes(Proof {
            code: ("crates/relay/src/mailbox/expiry.rs", "expires_at"),
            test: (
                "crates/relay-server/tests/relay/retention.rs",
                "on_day_31_undelivered_mail_is_gone_and_the_recipient_is_told",
            ),
            place: "`kuvert demo`, `kuvert-relay inspect`; the lens page, \"What waits\"",
        }),
    ),
    item(
        4,
        Chapter::Content,
        Mode::RealLater,
        "Status updates and a shared location are encrypted too; a status vanishes after 24 hours",
        not_yet("there are no status updates and no shared locations yet"),
    ),
    item(
        5,
        Chapter::Content,
        Mode::Real,
        "Messages stay on their recipients' devices after the sender's account is deleted",
        Shown::Yes(Proof {
            code: (DELETION, "delete"),
            test: (RIGHTS_TEST, "an_account_is_corrected_and_deleted_and_what_it_sent_stays_with_bob"),
            place: "`kuvert account delete`, then `kuvert history` at the other end; the lens page, on both devices",
        }),
    ),
    item(
        6,
        Chapter::Content,
        Mode::Real,
        "Messages to a business are encrypted, but the business itself receives what they say",
        Shown::Yes(Proof {
            code: ("crates/demo/src/story/town.rs", "OFFICES"),
            test: ("tests/story.rs", "the_day_is_lived_at_two_levels_and_only_l0_names_who_writes"),
            place: "`kuvert demo --story doctor`: a practice, a law office and a shop are end points like any other, and read \
                    what is written to them; the lens page, on both devices",
        }),
    ),
    item(
        7,
        Chapter::Content,
        Mode::Real,
        "Investigators go to the device, because the server cannot help; chats from a device are evidence that courts admit",
        Shown::Yes(Proof {
            code: ("crates/relay-server/src/inspect/mod.rs", "run"),
            test: (
                "crates/relay-server/tests/relay/program.rs",
                "inspect_prints_everything_that_a_running_relay_holds",
            ),
            place: "`kuvert-relay inspect` and `kuvert-relay-lens share subpoena`: what a seizure of the relay yields; \
                    `kuvert history`: what one of the device yields; the lens page, \"What could be handed over\". What courts admit is a matter of words",
        }),
    ),
    item(
        8,
        Chapter::Content,
        Mode::Real,
        "The provider can show only what the user made public: picture and status",
        Shown::Yes(Proof {
            code: ("crates/relay-lens/src/command/profile.rs", "public"),
            test: (PEOPLE_TEST, "others_see_of_a_profile_what_was_made_public"),
            place: "`kuvert account profile --public`, `kuvert account show`; the lens page, \"Known\"",
        }),
    ),
    item(
        9,
        Chapter::Metadata,
        Mode::Real,
        "Who, from which device, from which place, with whom, for how long",
        Shown::Yes(Proof {
            code: (EVENTS, "Event"),
            test: OBSERVATION_TEST,
            place: "`kuvert demo`; the lens page, \"Who with whom\" and \"Devices\"; `observe.db`",
        }),
    ),
    item(
        10,
        Chapter::Metadata,
        Mode::Real,
        "Time, frequency and duration of use, its kind, the features used, time stamps",
        Shown::Yes(Proof {
            code: (EVENTS, "Attached"),
            test: OBSERVATION_TEST,
            place: "the lens page, \"When\" and \"Known\"; `observe.db`. Normal service stores the day of the last use only",
        }),
    ),
    item(
        11,
        Chapter::Metadata,
        Mode::Real,
        "The IP address, and from it and the dialling code a rough place",
        Shown::Yes(Proof {
            code: ("crates/lens-page/src/view/place.rs", "of_address"),
            test: (VIEW_TEST, "a_marker_stands_only_where_the_level_tells_it"),
            place: "`kuvert demo`; the lens page, \"Known\" and \"Devices\": the address, a country from the dialling code, and a \
                    place from a small table of invented places: simulated",
        }),
    ),
    item(
        12,
        Chapter::Metadata,
        Mode::Mixed,
        "The device: model, operating system, battery, signal, browser, mobile network, provider",
        Shown::Yes(Proof {
            code: ("crates/client/src/people/device.rs", "details"),
            test: (CLIENT_TEST, "at_l0_the_machine_is_told_at_registration_and_once_a_day"),
            place: "`kuvert-relay-lens inspect` and the lens page, \"Known\", at L0: model, system, language and kind of network. \
                    Battery, signal, browser, mobile network and provider are simulated, and not sent unless `kuvert account \
                    permissions --grant` says so",
        }),
    ),
    item(
        13,
        Chapter::Metadata,
        Mode::Simulated,
        "The identifier of the parent company's other messenger, where that is installed",
        sheet(
            "`kuvert account permissions`, a simulated sheet on which everything is denied to begin with; the lens page, \"Known\"",
        ),
    ),
    item(
        14,
        Chapter::Metadata,
        Mode::Mixed,
        "Network and device at registration",
        Shown::Yes(Proof {
            code: ("crates/client/src/people/mod.rs", "settle"),
            test: (CLIENT_TEST, "at_l0_the_machine_is_told_at_registration_and_once_a_day"),
            place: "the lens page, \"Known\", and `kuvert-relay-lens inspect`, at L0; `observe.db`: registration and IP address share a \
                    connection's number",
        }),
    ),
    item(
        15,
        Chapter::Metadata,
        Mode::Simulated,
        "Permissions asked for: location, call lists, SMS, microphone, camera, album, installed apps, memory card",
        sheet(
            "`kuvert account permissions`, a simulated sheet on which everything is denied to begin with, and none of it read; the lens page, \"Known\". A photo or a voice note needs no permission: \
             `kuvert send --file PATH` reads the file that is named, and no album; `tests/files.rs`",
        ),
    ),
    item(
        16,
        Chapter::Account,
        Mode::Real,
        "A phone number, verified by a code; name, e-mail, about text and picture, each with its date",
        Shown::Yes(Proof {
            code: ("crates/relay-lens/src/phone.rs", "verify"),
            test: (PEOPLE_TEST, "a_number_is_whose_code_came_back"),
            place: "`kuvert account phone`, `kuvert account profile`, `kuvert-relay-lens inspect`; the lens page, \"Known\". The code's \
                        delivery is simulated: it stands in the relay's log",
        }),
    ),
    item(
        17,
        Chapter::Account,
        Mode::Real,
        "The whole address book is uploaded (numbers, names, e-mail, birthday, address), also of people without an account",
        Shown::Yes(Proof {
            code: ("crates/relay-lens/src/address_book.rs", "shadows"),
            test: (PEOPLE_TEST, "an_address_book_tells_who_is_here_and_keeps_who_is_not"),
            place: "`kuvert account upload`, `kuvert-relay-lens inspect`; the lens page, \"Who with whom\" and \"Known\"",
        }),
    ),
    item(
        18,
        Chapter::Account,
        Mode::Real,
        "Denying access to the address book is the advised protection",
        Shown::Yes(Proof {
            code: ("crates/client/src/people/mod.rs", "tell"),
            test: (CLIENT_TEST, "above_l0_nothing_of_it_leaves"),
            place: "`kuvert account upload` above L0; the lens page, \"Known\": what would be missing; \"Who with whom\": at L1 people from address books are gone",
        }),
    ),
    item(19, Chapter::Account, Mode::Real, "The groups and communities that a user is in", not_yet(NO_GROUPS)),
    item(
        20,
        Chapter::Sharing,
        Mode::Real,
        "From 2016 on, phone number and frequency of use go to the parent company, and on to its partners",
        Shown::Yes(Proof {
            code: (SHARE, "parent"),
            test: (RIGHTS_TEST, SHARING),
            place: "`kuvert-relay-lens share parent`; the lens page, \"Agreed to, shared, asked for\"",
        }),
    ),
    item(
        21,
        Chapter::Sharing,
        Mode::Real,
        "Purposes given: advertising, suggestions of friends, infrastructure and security, interoperability, against spam",
        Shown::Yes(Proof {
            code: ("crates/privacy/src/demonstration.rs", "PURPOSES"),
            test: (RIGHTS_TEST, SHARING),
            place: "`kuvert-relay-lens share parent`; the lens page, \"Agreed to, shared, asked for\"; this relay's own purposes: \
                    docs/privacy/record-of-processing.md",
        }),
    ),
    item(
        22,
        Chapter::Sharing,
        Mode::Real,
        "Customer lists of advertisers are matched by phone number",
        Shown::Yes(Proof {
            code: (SHARE, "match_list"),
            test: (RIGHTS_TEST, SHARING),
            place: "`kuvert-relay-lens share match`; the lens page, \"Agreed to, shared, asked for\"",
        }),
    ),
    item(
        23,
        Chapter::Sharing,
        Mode::Real,
        "Use for advertising can be refused when consenting or within 30 days after, then binding either way; the number is shared regardless",
        Shown::Yes(Proof {
            code: (POLICY, "object"),
            test: (POLICY, "thirty_days_end_to_the_millisecond_and_bind_from_then_on"),
            place: "`kuvert account consent`; `kuvert-relay-lens share parent`; the lens page, \"Agreed to, shared, asked for\"",
        }),
    ),
    item(
        24,
        Chapter::Sharing,
        Mode::Real,
        "A later text says that sharing cannot be prevented and settings only reduce it: the descriptions disagree",
        Shown::Yes(Proof {
            code: (POLICY, "Reduced"),
            test: (POLICY, "a_later_version_takes_the_place_of_an_earlier_choice"),
            place: "`kuvert account consent`: both versions; the lens page, \"Agreed to, shared, asked for\"",
        }),
    ),
    item(
        25,
        Chapter::Sharing,
        Mode::Real,
        "Data may go to law enforcement and to service providers",
        Shown::Yes(Proof {
            code: (SHARE, "subpoena"),
            test: (RIGHTS_TEST, SHARING),
            place: "`kuvert-relay-lens share subpoena`; the lens page, \"What could be handed over\"",
        }),
    ),
    item(
        26,
        Chapter::Sharing,
        Mode::Text,
        "Data are \"not sold\"",
        Shown::Words {
            words: "A program cannot show that a sale does not happen. What flows without one is M-20 and M-23.",
        },
    ),
    item(
        27,
        Chapter::Sharing,
        Mode::Real,
        "Which terms were accepted, and when",
        Shown::Yes(Proof {
            code: ("crates/relay-lens/src/consents.rs", "ledger"),
            test: (RELAY_RIGHTS_TEST, "terms_are_accepted_once_and_objected_to_in_time"),
            place: "`kuvert account consent`; consents.json of the report; the lens page, \"Agreed to, shared, asked for\"",
        }),
    ),
    item(
        28,
        Chapter::Rights,
        Mode::Real,
        "A report of the account's data can be asked for, free of charge, ready after about three days",
        Shown::Yes(Proof {
            code: ("crates/relay-sqlite/src/people/reports.rs", "ask"),
            test: (RELAY_RIGHTS_TEST, "a_report_is_ready_after_the_delay_and_over_a_restart"),
            place: "`kuvert account report`; `report_delay_hours` of the relay's configuration; the lens page, \"Agreed to, shared, \
                    asked for\"",
        }),
    ),
    item(
        29,
        Chapter::Rights,
        Mode::Real,
        "The report's first folder, account information: date, network and device of registration; number, name, e-mail, status and picture with their dates",
        report("account_information.json of `kuvert account report`; its fields on the lens page"),
    ),
    item(
        30,
        Chapter::Rights,
        Mode::Real,
        "Its second folder, connections: contacts as numbers; groups at the time of the report",
        Shown::Partly {
            proof: report_proof("connections.json of `kuvert account report`; its fields on the lens page"),
            missing: NO_GROUPS,
        },
    ),
    item(
        31,
        Chapter::Rights,
        Mode::Real,
        "Its third folder, settings: when which terms were accepted",
        report("settings.json and consents.json of `kuvert account report`; their fields on the lens page"),
    ),
    item(
        32,
        Chapter::Rights,
        Mode::Real,
        "Deleting an account removes its data within 90 days, except de-identified logs, logs of incidents, and what the law holds back",
        Shown::Yes(Proof {
            code: (DELETION, "delete"),
            test: (RELAY_RIGHTS_TEST, "three_things_are_left_of_a_deleted_account_and_each_ends"),
            place: "`kuvert account delete`; `kuvert-relay inspect`, `kuvert-relay hold`; the lens page, \"Agreed to, shared, asked \
                    for\"",
        }),
    ),
    item(
        33,
        Chapter::Rights,
        Mode::Real,
        "Otherwise data are kept as long as necessary, by their kind",
        Shown::Yes(Proof {
            code: ("crates/privacy/src/registry/field.rs", "Retention"),
            test: (
                "crates/relay-server/tests/registry.rs",
                "the_purge_keeps_envelopes_exactly_as_long_as_the_registry_says",
            ),
            place: "docs/privacy/deletion-plan.md; `kuvert-relay registry deletion`; the lens page, \"Agreed to, shared, asked for\"",
        }),
    ),
    item(
        34,
        Chapter::Rights,
        Mode::Real,
        "Access, correction and deletion on request",
        Shown::Yes(Proof {
            code: ("crates/cli/src/commands/account/mod.rs", "run"),
            test: (RIGHTS_TEST, "an_account_is_corrected_and_deleted_and_what_it_sent_stays_with_bob"),
            place: "`kuvert account report`, `correct`, `delete`; the lens page, \"Agreed to, shared, asked for\"",
        }),
    ),
    item(
        35,
        Chapter::Business,
        Mode::RealLater,
        "A business profile: hours, address, description, e-mail, website, social links",
        not_yet(NO_BUSINESS),
    ),
    item(36, Chapter::Business, Mode::RealLater, "Greeting, away message, quick replies", not_yet(NO_BUSINESS)),
    item(37, Chapter::Business, Mode::RealLater, "A catalogue; labels on chats", not_yet(NO_BUSINESS)),
    item(
        38,
        Chapter::Business,
        Mode::RealLater,
        "Statistics of what was sent, delivered and read; a newsletter counts its readers",
        not_yet(NO_BUSINESS),
    ),
    item(
        39,
        Chapter::Business,
        Mode::RealLater,
        "A web client; a verified badge; registration of a landline",
        not_yet(NO_BUSINESS),
    ),
    item(
        40,
        Chapter::Business,
        Mode::RealLater,
        "An API: notices in real time, agreed to before the first contact, blocked later, billed by notice",
        not_yet(NO_BUSINESS),
    ),
    item(
        41,
        Chapter::Business,
        Mode::RealLater,
        "An API without an app: a company's systems, bulk, automation",
        not_yet(NO_BUSINESS),
    ),
    item(
        42,
        Chapter::Business,
        Mode::RealLater,
        "Uses: orders, bookings, reminders, a doctor's appointment",
        not_yet(NO_BUSINESS),
    ),
    item(
        43,
        Chapter::Business,
        Mode::SimulatedLater,
        "Advertising in status updates, not in chats",
        not_yet(NO_BUSINESS),
    ),
    item(
        44,
        Chapter::Business,
        Mode::Text,
        "Payment in the app",
        Shown::Words { words: "Kuvert moves no money; a payment leaves its own traces with those who do." },
    ),
    item(
        45,
        Chapter::Business,
        Mode::RealLater,
        "A second factor, access control and backups; duties, liability, fines",
        not_yet("there is no second factor yet; duties and fines are a matter of words"),
    ),
    item(
        46,
        Chapter::Business,
        Mode::Text,
        "Court rulings, countries that block the service, the inquiry of a cartel office",
        Shown::Words { words: "They concern one provider and its law. Software that anybody can run has neither." },
    ),
    item(
        47,
        Chapter::Business,
        Mode::Text,
        "Alternatives: other messengers, team tools, API platforms",
        Shown::Words {
            words: "The levels of the ladder are roughly like them: L0 the messenger that is described, L1 messengers with \
                    random identifiers, L2 messengers with sealed senders.",
        },
    ),
];
