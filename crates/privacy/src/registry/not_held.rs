//! What the relay cannot tell. Each entry names the test that shows it.

use serde::Serialize;

/// Something that the relay does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct NotHeld {
    /// What people might expect it to have.
    pub what: &'static str,
    /// Why it has not.
    pub why: &'static str,
    /// The file of the test.
    pub file: &'static str,
    /// The test.
    pub test: &'static str,
}

const CANARY: &str = "tests/canary.rs";
const CANARY_TEST: &str = "a_canary_is_nowhere_in_the_relay";

/// The list.
pub const ALL: &[NotHeld] = &[
    NotHeld {
        what: "the words of any message",
        why: "they are sealed on the sender's device; the relay has no key",
        file: CANARY,
        test: CANARY_TEST,
    },
    NotHeld {
        what: "content, name and thumbnail of any file, and where a photo was taken",
        why: "sealed on the sender's device, like a message; place, time and camera are taken out of photos before",
        file: "tests/ladder.rs",
        test: "at_l0_everything_that_is_told_stands_where_the_registry_says",
    },
    NotHeld {
        what: "whether a message was read",
        why: "receipts are sealed, and look like any short message",
        file: CANARY,
        test: CANARY_TEST,
    },
    NotHeld {
        what: "the keys of any client, and whether two have compared their safety number",
        why: "private keys are made on the devices and stay there; both sides compute the number for themselves",
        file: "tests/demo.rs",
        test: "every_claim_of_the_demo_holds",
    },
    NotHeld {
        what: "code that could open a message",
        why: "the relay's program links none",
        file: "crates/relay/tests/dependencies.rs",
        test: "the_relay_has_no_code_that_could_open_a_message",
    },
    NotHeld {
        what: "what people call their contacts",
        why: "aliases stay in the client's sealed store; an address book is uploaded at L0 only, where its owner asks for it",
        file: CANARY,
        test: CANARY_TEST,
    },
    NotHeld {
        what: "delivered messages, even sealed",
        why: "acknowledging deletes the row, and its bytes are overwritten",
        file: "crates/relay-server/tests/relay/retention.rs",
        test: "delivered_mail_is_gone_from_the_files_after_acknowledgement",
    },
    NotHeld {
        what: "undelivered messages after their time",
        why: "the purge deletes them, and nobody can set a longer time",
        file: "crates/relay-server/tests/relay/retention.rs",
        test: "on_day_31_undelivered_mail_is_gone_and_the_recipient_is_told",
    },
    NotHeld {
        what: "who spoke with whom in the past, from where, when somebody was online",
        why: "normal service writes none of it down; only --observe does",
        file: "crates/relay-lens/tests/relay/observation.rs",
        test: "nothing_is_recorded_in_normal_service",
    },
    NotHeld {
        what: "names, numbers and addresses in logs",
        why: "the log has counts, codes and random numbers only; one exception, at L0: the code that verifies a phone number, with the number's last two digits, since no text message is sent",
        file: "crates/relay-server/tests/relay/program.rs",
        test: "logs_hold_no_name_number_address_or_key",
    },
];
