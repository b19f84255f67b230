CREATE TABLE job (
    id     bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    text   text NOT NULL,
    result text
);
