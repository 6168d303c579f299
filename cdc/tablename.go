package cdc

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// tableName is the name of a table as the catalog has it.
type tableName struct{ schema, table string }

// QualifiedName joins the parts of a table's name as this package takes it: "schema.table", where a part is in double quotes
// if it could not be told from the other without them.
func QualifiedName(schema, table string) string {
	if strings.Contains(schema, ".") || strings.HasPrefix(schema, `"`) {
		schema = quoteIdent(schema)
	}
	if strings.HasPrefix(table, `"`) {
		table = quoteIdent(table)
	}
	return schema + "." + table
}

// splitTable is the opposite of QualifiedName. A name without a dot is in schema public.
func splitTable(name string) (schema, table string) {
	schema, table, ok := cutSchema(name)
	if !ok {
		schema, table = "public", name
	}
	return unquoteIdent(schema), unquoteIdent(table)
}

// cutSchema cuts at the first dot that is not between double quotes.
func cutSchema(name string) (schema, table string, ok bool) {
	if !strings.HasPrefix(name, `"`) {
		return strings.Cut(name, ".")
	}
	quoted := false
	for i, c := range name {
		if c == '"' {
			quoted = !quoted
		}
		if c == '.' && !quoted {
			return name[:i], name[i+1:], true
		}
	}
	return "", "", false
}

func unquoteIdent(name string) string {
	if len(name) > 1 && name[0] == '"' && name[len(name)-1] == '"' {
		return strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
	}
	return name
}

// readTableNames returns which tables the names stand for now. The stream tells rows by the table, not by its name: a row
// comes under the name that its table had when it was written, and would be taken for a stranger's after a rename.
func readTableNames(ctx context.Context, conn *pgconn.PgConn, tables []string) (map[uint32]tableName, error) {
	names := make(map[uint32]tableName, len(tables))
	for _, name := range tables {
		schema, table := splitTable(name)
		rows, err := query(ctx, conn, fmt.Sprintf(`SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = %s AND c.relname = %s`, quoteLiteral(schema), quoteLiteral(table)))
		if err != nil {
			return nil, fmt.Errorf("look up table %s: %w", name, err)
		}
		for _, r := range rows {
			oid, err := strconv.ParseUint(r[0], 10, 32)
			if err != nil {
				return nil, fmt.Errorf("look up table %s: %w", name, err)
			}
			names[uint32(oid)] = tableName{schema, table}
		}
	}
	return names, nil
}
