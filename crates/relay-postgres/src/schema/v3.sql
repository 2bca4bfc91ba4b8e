-- Version 3: slots by which a device is linked, in the first group alone. Unlogged: what stands here for some minutes is in no log.

CREATE UNLOGGED TABLE link_slot(
    slot bytea NOT NULL,                       -- 16 bytes
    number int2 NOT NULL,                      -- which piece
    piece bytea NOT NULL,
    begun_at int8 NOT NULL,                    -- of the slot
    PRIMARY KEY (slot, number)
);
