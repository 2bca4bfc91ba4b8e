-- Version 2: more than one group of servers. Every group has all of these tables; all but mail, and who may write it, is in the
-- first group alone. In each group a slot's row in `lease` says that the slot's mail is there: no other group has such a row.

ALTER TABLE slot_group ADD COLUMN epoch int8 NOT NULL DEFAULT 0;  -- rises whenever a connection of another group begins to write it

ALTER TABLE node ADD COLUMN groups int8 NOT NULL DEFAULT 0;       -- the groups that it writes: bit n is group n; 0: it knows of none

CREATE TABLE store_group(                      -- in the first group: all groups; in another one: itself
    id int2 PRIMARY KEY,                       -- 0: the first
    name text NOT NULL UNIQUE,
    address text NOT NULL                      -- without a password; empty for the group that the row is in
);
INSERT INTO store_group VALUES (0, 'home', '');

CREATE TABLE slot_move(                        -- in the first group: slots that are on their way to another one
    slot int2 PRIMARY KEY,
    source int2 NOT NULL,
    target int2 NOT NULL,
    number int8 NOT NULL                       -- of the move; a later one has a higher number
);

CREATE TABLE moving(                           -- in the two groups of a move: what the move of that number, and no other, may do here
    slot int2 PRIMARY KEY,
    number int8 NOT NULL,
    sealed bool NOT NULL DEFAULT false,        -- it took the slot's row out of `lease`, which held the rest
    writer int2 NOT NULL DEFAULT 0,
    epoch int8 NOT NULL DEFAULT 0,
    next_cursor int8 NOT NULL DEFAULT 0
);

CREATE TABLE dropped(                          -- in the first group: mailboxes of deleted devices whose mail in another group is still to go
    mailbox int8 PRIMARY KEY,
    slot int2 NOT NULL
);

CREATE INDEX account_slot ON account(slot);
