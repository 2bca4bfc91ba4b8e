-- Version 4: files on their way, in the first group alone. Their bytes are objects elsewhere, in pieces, encrypted once more under the
-- key in blob_key. A blob's row is locked before anything of it is changed, so what is counted for it is counted once.

CREATE SEQUENCE blob_slot;

CREATE TABLE blob(
    id bytea PRIMARY KEY,
    account bytea NOT NULL,
    token bytea NOT NULL,                      -- SHA-256 of the upload's token
    size int8 NOT NULL,                        -- bytes
    charged int8 NOT NULL,                     -- bytes that it counts as for its account
    durable int8 NOT NULL,                     -- bytes whose pieces stand in blob_piece
    created_at int8 NOT NULL,
    committed_at int8,                         -- null: an upload
    shared bool NOT NULL,                      -- one capability for all readers
    slot int8 NOT NULL,                        -- blob_key.slot
    epoch int8 NOT NULL                        -- rises with every stream that goes on with the upload; it is in the objects' names
);
CREATE INDEX blob_account ON blob(account, charged);
CREATE INDEX blob_committed ON blob(committed_at) WHERE committed_at IS NOT NULL;
CREATE INDEX blob_upload ON blob(created_at) WHERE committed_at IS NULL;

CREATE TABLE blob_reader(
    blob bytea NOT NULL,
    capability bytea NOT NULL,                 -- SHA-256 of what a reader shows
    PRIMARY KEY (blob, capability)
);

-- Written anew whenever rows of it were deleted, as envelope_key is.
CREATE TABLE blob_key(
    slot int8 NOT NULL,
    key bytea NOT NULL,
    PRIMARY KEY (slot)
) WITH (autovacuum_enabled = off);

CREATE TABLE blob_piece(                       -- objects that hold a blob's bytes
    blob bytea NOT NULL,
    number int4 NOT NULL,                      -- the piece begins at so many MiB
    epoch int8 NOT NULL,                       -- of the stream that wrote it
    length int4 NOT NULL,                      -- at most 1 MiB; less for the last one only
    PRIMARY KEY (blob, number)
);

CREATE TABLE blob_gone(                        -- objects that are to be deleted, tried every minute
    object text COLLATE "C" PRIMARY KEY
);
