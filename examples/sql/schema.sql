-- The table that the examples write besides the outbox, which `relay setup` creates.
CREATE TABLE orders (
  id       bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  customer text NOT NULL,
  total    numeric(10,2) NOT NULL
);
