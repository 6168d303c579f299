package cdc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// catalogTable is a table as the catalog has it now, where Table is one as the stream described it.
type catalogTable struct {
	name     string
	kind     string // relkind
	root     string // of a partition: the table it is a partition of, at the top
	unlogged bool
	readable bool // the role may SELECT from it
	erasable bool // the role may DELETE from it
	columns  map[string]catalogColumn
}

type catalogColumn struct {
	typ       string
	generated bool
	sent      bool // by the publication; see readSent
}

// readTable returns nil when there is no such table.
func readTable(ctx context.Context, conn *pgconn.PgConn, name string) (*catalogTable, error) {
	schema, table := splitTable(name)
	rows, err := query(ctx, conn, fmt.Sprintf(`SELECT c.oid, c.relkind, c.relpersistence, has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'DELETE'),
  coalesce(rn.nspname, ''), coalesce(rc.relname, '') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_class rc ON c.relispartition AND rc.oid = pg_partition_root(c.oid) LEFT JOIN pg_namespace rn ON rn.oid = rc.relnamespace
  WHERE n.nspname = %s AND c.relname = %s`, quoteLiteral(schema), quoteLiteral(table)))
	if err != nil {
		return nil, fmt.Errorf("look up table %s: %w", name, err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	r := &catalogTable{name: name, kind: rows[0][1], unlogged: rows[0][2] != "p", readable: rows[0][3] == "t", erasable: rows[0][4] == "t", columns: make(map[string]catalogColumn)}
	if rows[0][6] != "" {
		r.root = QualifiedName(rows[0][5], rows[0][6])
	}
	rows, err = query(ctx, conn, `SELECT attname, format_type(atttypid, NULL), attgenerated FROM pg_attribute
  WHERE attnum > 0 AND NOT attisdropped AND attrelid = `+rows[0][0])
	if err != nil {
		return nil, fmt.Errorf("look up the columns of %s: %w", name, err)
	}
	for _, c := range rows {
		r.columns[c[0]] = catalogColumn{typ: c[1], generated: c[2] != ""}
	}
	return r, nil
}

func (r *catalogTable) partitioned() bool { return r.kind == "p" }

// fault says why the table cannot be published at all.
func (r *catalogTable) fault(t *SourceTable) *Fault {
	switch {
	case r == nil:
		remedy := "correct source.tables in the configuration"
		if t.standard() {
			remedy = "relay setup, or: " + createTableSQL(t.Name)
		}
		return &Fault{Kind: FaultTable, Problem: "table " + t.Name + " does not exist", Remedy: remedy}
	case r.kind != "r" && r.kind != "p":
		return &Fault{Kind: FaultTable, Problem: t.Name + " is not a table, and cannot be published", Remedy: "name the table behind it in source.tables"}
	case r.unlogged:
		return &Fault{Kind: FaultTable, Problem: "table " + t.Name + " is unlogged or temporary: its rows are not in the WAL", Remedy: "ALTER TABLE " + quoteTable(t.Name) + " SET LOGGED"}
	}
	return nil
}

// columnFaults says which columns are missing, cannot serve, or are not sent by the publication.
func (r *catalogTable) columnFaults(t *SourceTable, pub string) []*Fault {
	var faults []*Fault
	for _, p := range parts {
		name := t.column(p)
		column, ok := r.columns[name]
		switch {
		case !ok && p.optional && !t.Named[p.name]:
		case !ok:
			faults = append(faults, &Fault{
				Kind: FaultColumn, Problem: fmt.Sprintf("table %s has no column %q for the event's %s", t.Name, name, p.name),
				Remedy: fmt.Sprintf("set columns: {%s: …} to one of %s; or ALTER TABLE %s ADD COLUMN %s %s", p.name, r.columnNames(), quoteTable(t.Name), quoteIdent(name), p.typeName()),
			})
		case column.generated && !column.sent:
			faults = append(faults, &Fault{
				Kind: FaultColumn, Problem: fmt.Sprintf("column %q of %s is generated, and is not sent by the server", name, t.Name),
				Remedy: fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP EXPRESSION, and let the application write it; on PostgreSQL 18, if it is stored: "+
					"ALTER PUBLICATION %s SET (publish_generated_columns = stored)", quoteTable(t.Name), quoteIdent(name), quoteIdent(pub)),
			})
		case !column.sent && (!p.optional || t.Named[p.name]):
			faults = append(faults, &Fault{
				Kind: FaultColumn, Problem: fmt.Sprintf("publication %s does not send column %q of %s, for the event's %s", pub, name, t.Name, p.name),
				Remedy: fmt.Sprintf("BEGIN; ALTER PUBLICATION %[1]s DROP TABLE %[2]s; ALTER PUBLICATION %[1]s ADD TABLE %[2]s; COMMIT: in one transaction, "+
					"or what is written in between is lost", quoteIdent(pub), quoteTable(t.Name)),
			})
		case len(p.types) > 0 && !slices.Contains(p.types, column.typ):
			faults = append(faults, &Fault{
				Kind: FaultColumn, Problem: fmt.Sprintf("column %q of %s is of type %s; the event's %s is read from %s", name, t.Name, column.typ, p.name, strings.Join(p.types, ", ")),
				Remedy: fmt.Sprintf("set columns: {%s: …} to another column, or ALTER TABLE %s ALTER COLUMN %s TYPE %s", p.name, quoteTable(t.Name), quoteIdent(name), p.typeName()),
			})
		}
	}
	return faults
}

func (p part) typeName() string {
	switch p.name {
	case "payload", "headers":
		return "jsonb"
	case "time":
		return "timestamptz"
	}
	return "text"
}

func (r *catalogTable) columnNames() string {
	names := make([]string, 0, len(r.columns))
	for name := range r.columns {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
