-- Version 1. Plain SQL of PostgreSQL 15, no extension. All times: Unix milliseconds, but for node.seen, which is the server's clock.
-- Every column has its entry in the registry (crates/privacy). Steps that were released are never edited.

-- ---- who may write which slot

CREATE TABLE node(                             -- relays that serve this store
    id int2 PRIMARY KEY,
    name text NOT NULL UNIQUE,                 -- chosen by the operator; the same relay comes back under it
    address text NOT NULL,                     -- where other relays reach it; empty for one that serves alone
    epoch int8 NOT NULL,                       -- rises with every start, and when others declare it dead
    seen timestamptz NOT NULL,                 -- its last sign of life, by the server's clock
    draining bool NOT NULL DEFAULT false       -- it is to hold no slots any more
) WITH (fillfactor = 25);

CREATE TABLE writer(                           -- one for each writing connection: node * 8 + lane
    id int2 PRIMARY KEY,
    epoch int8 NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE lease(                            -- which writer may write the mailboxes of a slot
    slot int2 PRIMARY KEY,
    writer int2 NOT NULL,                      -- 0: none
    epoch int8 NOT NULL,                       -- rises whenever the writer changes
    next_cursor int8 NOT NULL                  -- no cursor from here on was ever given out in this slot
) WITH (fillfactor = 50);

CREATE TABLE slot_group(                       -- in which group of servers a slot's rows are; this one's groups are all 0
    slot int2 PRIMARY KEY,
    store_group int2 NOT NULL
);

CREATE TABLE presence(                         -- where a device is attached: a fact, not a hint
    mailbox bytea PRIMARY KEY,                 -- account id 16 bytes, device number 4 bytes big-endian
    node int2 NOT NULL,
    epoch int8 NOT NULL,                       -- of the node when it attached
    attachment int8 NOT NULL                   -- the node's own number of it
) WITH (fillfactor = 50);

INSERT INTO lease SELECT slot, 0, 0, 1 FROM generate_series(0, 4095) AS slot;
INSERT INTO slot_group SELECT slot, 0 FROM generate_series(0, 4095) AS slot;

-- ---- accounts

CREATE TABLE account(
    id bytea PRIMARY KEY,
    slot int2 NOT NULL,
    account_key bytea NOT NULL,
    device_list_number int8 NOT NULL,
    device_list bytea NOT NULL,
    name text COLLATE "C" UNIQUE,
    phone text,
    registered_at int8 NOT NULL,
    access_key_hash bytea,                     -- SHA-256 of the account's access key; null: it has none
    takes_sealed bool NOT NULL DEFAULT false   -- sealed mail is taken with the access key
);
CREATE INDEX account_registered ON account(registered_at);

CREATE TABLE device(
    mailbox int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- a short name for the address; never given twice
    account bytea NOT NULL REFERENCES account(id),
    number int8 NOT NULL,
    signing_key bytea NOT NULL,
    certificate bytea NOT NULL,
    last_seen_day int8,                        -- days since 1970-01-01, UTC: never a time of day
    UNIQUE (account, number)
);

CREATE TABLE blocked(                          -- mail that names a device of `blocked` is dropped for all devices of `account`
    account bytea NOT NULL,
    blocked bytea NOT NULL,
    PRIMARY KEY (account, blocked)
);

CREATE TABLE prekeys(                          -- per device; highest ids so that none comes back
    mailbox int8 PRIMARY KEY,
    signed_id int8, signed_key bytea, signed_signature bytea,
    last_resort_id int8, last_resort_key bytea, last_resort_signature bytea,
    highest_one_time int8 NOT NULL DEFAULT -1,
    highest_one_time_kem int8 NOT NULL DEFAULT -1
);

CREATE TABLE one_time_prekey(
    mailbox int8 NOT NULL,
    kind int2 NOT NULL,                        -- 0 curve, 1 KEM
    id int8 NOT NULL,
    public_key bytea NOT NULL,
    signature bytea,
    PRIMARY KEY (mailbox, kind, id)
);

CREATE TABLE invitation(
    hash bytea PRIMARY KEY,                    -- SHA-256 of the code: a reader of this cannot register with it
    uses_left int8 NOT NULL,
    created_at int8 NOT NULL,
    expires_at int8 NOT NULL
);

CREATE TABLE counter(name text PRIMARY KEY, value int8 NOT NULL);

-- ---- mail

CREATE TABLE envelope(
    mailbox int8 NOT NULL,                     -- device.mailbox; no foreign key: it would cost a look-up per envelope
    cursor int8 NOT NULL,                      -- rises with every envelope of a slot; never comes back
    accepted_at int8 NOT NULL,
    day int4 NOT NULL,                         -- since 1970-01-01: where it is kept, not when it expires
    slot int2 NOT NULL,
    contact bool NOT NULL,                     -- named, and came with the recipient's access key
    id bytea NOT NULL,
    source bytea,                              -- account id 16 bytes, device number 4 bytes big-endian; null: not told
    ciphertext bytea NOT NULL,                 -- encrypted once more, under the key in envelope_key
    PRIMARY KEY (mailbox, cursor, day)
) PARTITION BY RANGE (day);
-- It is not to be compressed: that is tried for nothing.
ALTER TABLE envelope ALTER COLUMN ciphertext SET STORAGE EXTERNAL;
-- For days that no partition was made for: a clock that is far off.
CREATE TABLE envelope_rest PARTITION OF envelope DEFAULT;
CREATE INDEX envelope_rest_accepted_at ON envelope_rest USING brin (accepted_at) WITH (autosummarize = on);

-- Not in partitions: it carries the uniqueness of (mailbox, tag) over midnight. It is written anew whenever rows of it were
-- deleted, so that the keys of deleted mail are in no file any more; hence nothing else needs to clean it up.
CREATE TABLE envelope_key(
    mailbox int8 NOT NULL,
    cursor int8 NOT NULL,
    day int4 NOT NULL,
    size int4 NOT NULL,                        -- bytes of ciphertext as it was handed in
    tag bytea NOT NULL,                        -- of the envelope's source and id: the first 16 bytes of a SHA-256
    key bytea NOT NULL,
    PRIMARY KEY (mailbox, cursor),
    UNIQUE (mailbox, tag)
) WITH (autovacuum_enabled = off);

CREATE TABLE expired(                          -- envelopes deleted unread, not yet reported to the device
    mailbox int8 PRIMARY KEY,
    count int8 NOT NULL
);

-- ---- what accounts have a right to

CREATE TABLE report_request(                   -- one for an account
    account bytea PRIMARY KEY,
    requested_at int8 NOT NULL,
    ready_at int8 NOT NULL,
    kept_until int8 NOT NULL,
    report bytea                               -- a Report of proto/kuvert/v1/relay.proto, once it was made
);

CREATE TABLE incident(                         -- limits that accounts ran into
    id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at int8 NOT NULL,
    kind text NOT NULL,
    account bytea,                             -- null once the account is deleted
    count int8 NOT NULL
);
CREATE INDEX incident_account ON incident(account);

CREATE TABLE hold(                             -- accounts whose report is kept when they are deleted
    account bytea PRIMARY KEY,
    reason text NOT NULL,
    since int8 NOT NULL
);

CREATE TABLE held(                             -- the reports of those that were deleted since
    account bytea PRIMARY KEY,
    taken_at int8 NOT NULL,
    reason text NOT NULL,
    report bytea NOT NULL
);

CREATE TABLE deletion(                         -- accounts that were deleted, and nothing about which
    day int8 PRIMARY KEY,                      -- since 1970-01-01
    accounts int8 NOT NULL
);

-- Without statistics the plan of the statement that writes joins lease by a nested loop, at twice the cost.
ANALYZE writer;
ANALYZE lease;
