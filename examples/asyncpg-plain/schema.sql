CREATE TABLE account (
    id      integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    owner   text    NOT NULL,
    balance numeric NOT NULL DEFAULT 0 CHECK (balance >= 0)
);

INSERT INTO account (owner, balance) VALUES ('the bank', 1000000);
