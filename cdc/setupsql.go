package cdc

import (
	"cmp"
	"fmt"
	"strings"
)

// createTableSQL is the default outbox.
func createTableSQL(name string) string {
	return "CREATE TABLE " + quoteTable(name) + ` (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  type       text NOT NULL,
  key        text,
  payload    jsonb NOT NULL,
  headers    jsonb,
  created_at timestamptz NOT NULL DEFAULT now()
)`
}

// createPublicationSQL publishes inserts only: with deletes, the application's DELETE would fail on a table without a
// primary key.
func createPublicationSQL(name string, tables []string) string {
	sql := "CREATE PUBLICATION " + quoteIdent(name)
	if len(tables) > 0 {
		quoted := make([]string, len(tables))
		for i, t := range tables {
			quoted[i] = quoteTable(t)
		}
		sql += " FOR TABLE " + strings.Join(quoted, ", ")
	}
	return sql + " WITH (publish = 'insert', publish_via_partition_root = true)"
}

// SetupSQL returns what Setup does as SQL for psql, for a DBA to read and run: the role of the URL with the least it
// needs, outbox, publication, slot, and a schema of its own for the relay's tables. It may be run again at any time.
func SetupSQL(src Source) (string, error) {
	cfg, err := configure(src.URL, false)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	roleSQL(&b, cfg.User, cmp.Or(cfg.Database, cfg.User)) // the server takes the role's name for a database, too
	role := quoteIdent(cfg.User)
	tablesSQL(&b, &src, role)
	fmt.Fprintf(&b, `
-- The relay's own tables go here: nowhere else does the role create anything.
CREATE SCHEMA IF NOT EXISTS %s AUTHORIZATION %s;
`, quoteIdent(src.Schema), role)
	streamSQL(&b, &src)
	return b.String(), nil
}

func roleSQL(b *strings.Builder, user, database string) {
	role := quoteIdent(user)
	fmt.Fprintf(b, `-- relay: run as a superuser, in database %s, with psql and without --single-transaction:
-- a slot cannot be made in a transaction that has written. The server needs wal_level = logical:
-- ALTER SYSTEM SET wal_level = 'logical';  -- then restart it

-- The role that relay connects as. Give it a password with \password, and let it in by pg_hba.conf: a line for this database
-- is all that it needs. With one for "replication" it could copy the whole cluster.
%s
ALTER ROLE %s LOGIN REPLICATION;  -- on RDS instead: GRANT rds_replication TO %s;
GRANT CONNECT ON DATABASE %s TO %s;
-- Before PostgreSQL 15 every role may create tables in schema public, this one too: REVOKE CREATE ON SCHEMA public FROM PUBLIC
-- ends it, if nothing else relies on it.
`, comment(quoteIdent(database)), onlyIf(`SELECT FROM pg_roles WHERE rolname = `+quoteLiteral(user), "CREATE ROLE "+role+" LOGIN REPLICATION"),
		role, comment(role), quoteIdent(database), role)
}

// comment keeps a name from ending the comment it stands in.
func comment(name string) string { return strings.NewReplacer("\n", " ", "\r", " ").Replace(name) }

func tablesSQL(b *strings.Builder, src *Source, role string) {
	granted := make(map[string]bool)
	for i := range src.Tables {
		t := &src.Tables[i]
		grant, why := "SELECT", "relay reads it for replay and explain; streaming needs no grant"
		if t.Delete {
			grant, why = "SELECT, DELETE", "relay reads it for replay and explain, and deletes from it for its retention; streaming needs no grant"
		}
		fmt.Fprintf(b, "\n-- Outbox %s. %s.\n", comment(t.Name), why)
		if t.standard() {
			fmt.Fprintln(b, strings.Replace(createTableSQL(t.Name), "CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)+";")
		}
		if schema, _ := splitTable(t.Name); !granted[schema] {
			granted[schema] = true
			fmt.Fprintf(b, "GRANT USAGE ON SCHEMA %s TO %s;\n", quoteIdent(schema), role)
		}
		fmt.Fprintf(b, "GRANT %s ON %s TO %s;\n", grant, quoteTable(t.Name), role)
	}
}

// streamSQL makes the publication, of which the DBA is the owner, and the slot.
func streamSQL(b *strings.Builder, src *Source) {
	name := quoteLiteral(src.Publication)
	fmt.Fprintf(b, "\n-- The publication, and after it the slot: the other way round loses rows.\n%s\n",
		onlyIf("SELECT FROM pg_publication WHERE pubname = "+name, createPublicationSQL(src.Publication, src.tableNames())))
	for _, t := range src.Tables {
		schema, table := splitTable(t.Name)
		fmt.Fprintln(b, onlyIf(fmt.Sprintf(`SELECT FROM pg_publication p WHERE p.pubname = %s AND (p.puballtables OR EXISTS (SELECT FROM pg_publication_rel r
    JOIN pg_class c ON c.oid = r.prrelid AND c.relname = %s JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = %s WHERE r.prpubid = p.oid))`,
			name, quoteLiteral(table), quoteLiteral(schema)),
			"ALTER PUBLICATION "+quoteIdent(src.Publication)+" ADD TABLE "+quoteTable(t.Name)))
	}
	fmt.Fprintln(b, onlyIf("SELECT FROM pg_replication_slots WHERE slot_name = "+quoteLiteral(src.Slot), createSlotSQL(src.Slot)))
}

// onlyIf wraps a statement so that it runs when the query finds nothing. The tag of the dollar quotes keeps a name with
// dollar signs from ending them.
func onlyIf(exists, statement string) string {
	tag := "$relay$"
	for strings.Contains(exists+statement, tag) {
		tag = tag[:len(tag)-1] + "_$"
	}
	return fmt.Sprintf("DO %s BEGIN IF NOT EXISTS (%s) THEN %s; END IF; END %s;", tag, exists, statement, tag)
}
