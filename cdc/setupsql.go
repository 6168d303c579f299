package cdc

import (
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
	role := quoteIdent(cfg.User)
	fmt.Fprintf(&b, `-- relay: run as a superuser or the owner of the tables, in database %s, with psql and without --single-transaction:
-- a slot cannot be made in a transaction that has written. The server needs wal_level = logical:
-- ALTER SYSTEM SET wal_level = 'logical';  -- then restart it

-- The role that relay connects as. Give it a password with \password, or let it in by pg_hba.conf.
%s
ALTER ROLE %s LOGIN REPLICATION;  -- on RDS instead: GRANT rds_replication TO %s;
GRANT CONNECT ON DATABASE %s TO %s;
`, quoteIdent(cfg.Database), onlyIf(`SELECT FROM pg_roles WHERE rolname = `+quoteLiteral(cfg.User), "CREATE ROLE "+role+" LOGIN REPLICATION"),
		role, role, quoteIdent(cfg.Database), role)
	tablesSQL(&b, &src, role)
	fmt.Fprintf(&b, `
-- The relay's own tables: relay setup and relay run make them here.
CREATE SCHEMA IF NOT EXISTS %s AUTHORIZATION %s;

-- The publication, and after it the slot: the other way round loses rows.
%s
`, quoteIdent(src.Schema), role,
		onlyIf(`SELECT FROM pg_publication WHERE pubname = `+quoteLiteral(src.Publication), createPublicationSQL(src.Publication, src.tableNames())))
	for _, t := range src.Tables {
		schema, table := splitTable(t.Name)
		fmt.Fprintln(&b, onlyIf(fmt.Sprintf(`SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid AND p.pubname = %s
    JOIN pg_class c ON c.oid = r.prrelid AND c.relname = %s JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = %s`,
			quoteLiteral(src.Publication), quoteLiteral(table), quoteLiteral(schema)),
			"ALTER PUBLICATION "+quoteIdent(src.Publication)+" ADD TABLE "+quoteTable(t.Name)))
	}
	fmt.Fprintf(&b, `SELECT pg_create_logical_replication_slot(%s, 'pgoutput')
  WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %[1]s);
`, quoteLiteral(src.Slot))
	return b.String(), nil
}

func tablesSQL(b *strings.Builder, src *Source, role string) {
	granted := make(map[string]bool)
	for i := range src.Tables {
		t := &src.Tables[i]
		fmt.Fprintf(b, "\n-- Outbox %s. relay reads it for replay and explain; streaming needs no grant.\n", t.Name)
		if t.standard() {
			fmt.Fprintln(b, strings.Replace(createTableSQL(t.Name), "CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)+";")
		}
		if schema, _ := splitTable(t.Name); !granted[schema] {
			granted[schema] = true
			fmt.Fprintf(b, "GRANT USAGE ON SCHEMA %s TO %s;\n", quoteIdent(schema), role)
		}
		grant := "SELECT"
		if t.Delete {
			grant = "SELECT, DELETE"
		}
		fmt.Fprintf(b, "GRANT %s ON %s TO %s;\n", grant, quoteTable(t.Name), role)
	}
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
