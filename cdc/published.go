package cdc

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// publishedSQL is a table's entry in the publication. The JSON detour reads columns that version 14 does not have.
const publishedSQL = `SELECT to_jsonb(p) FROM pg_publication_tables p WHERE pubname = %s AND schemaname = %s AND tablename = %s`

// publishedColumns returns the columns that the stream sends of the table: all but generated ones, if the publication has no
// list for it, which it may from PostgreSQL 15, and does not publish generated ones, which it may from 18.
func publishedColumns(ctx context.Context, conn *pgconn.PgConn, pub string, t *Table) ([]Column, error) {
	rows, err := query(ctx, conn, fmt.Sprintf(`SELECT a.attname, a.atttypid FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN LATERAL (SELECT (%s)->'attnames' AS names) p ON true
  WHERE n.nspname = %[2]s AND c.relname = %[3]s AND a.attnum > 0 AND NOT a.attisdropped
    AND (a.attgenerated = '' OR a.attgenerated = 's' AND current_setting('server_version_num')::int >= 180000 AND p.names IS NOT NULL)
    AND (p.names IS NULL OR p.names ? a.attname::text) ORDER BY a.attnum`,
		fmt.Sprintf(publishedSQL, quoteLiteral(pub), quoteLiteral(t.Schema), quoteLiteral(t.Name)), quoteLiteral(t.Schema), quoteLiteral(t.Name)))
	if err != nil {
		return nil, fmt.Errorf("look up the columns of %s: %w", t, err)
	}
	columns := make([]Column, len(rows))
	for i, r := range rows {
		oid, err := strconv.ParseUint(r[1], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("look up the columns of %s: %w", t, err)
		}
		columns[i] = Column{Name: r[0], Type: uint32(oid)}
	}
	return columns, nil
}

// readSent notes which columns the publication sends.
func (r *catalogTable) readSent(ctx context.Context, conn *pgconn.PgConn, pub string) error {
	t := &Table{}
	t.Schema, t.Name = splitTable(r.name)
	var err error
	if t.Columns, err = publishedColumns(ctx, conn, pub, t); err != nil {
		return err
	}
	for name, c := range r.columns {
		c.sent = t.Column(name) >= 0
		r.columns[name] = c
	}
	return nil
}
