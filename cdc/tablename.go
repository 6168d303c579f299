package cdc

import (
	"context"
	"fmt"
	"slices"
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

// catalogName is what a table and its columns are called now.
type catalogName struct {
	tableName
	live    []string // all columns
	columns []Column // the first ones that are sent, up to the first that was dropped: so far a place in the row tells which column it is
	cut     bool     // there is one that was dropped, and columns may be less than are sent
}

// readCatalogNames returns which tables the names stand for now, by relation OID. The stream tells rows by the table, not by
// its name: a row comes under the name that its table had when it was written, and would be taken for a stranger's after a
// rename.
func readCatalogNames(ctx context.Context, conn *pgconn.PgConn, pub string, tables []string) (map[uint32]catalogName, error) {
	all := make(map[uint32]catalogName, len(tables))
	for _, name := range tables {
		schema, table := splitTable(name)
		sent, err := publishedColumns(ctx, conn, pub, &Table{Schema: schema, Name: table})
		if err != nil {
			return nil, err
		}
		rows, err := query(ctx, conn, fmt.Sprintf(`SELECT c.oid, coalesce(a.attname, ''), coalesce(a.attisdropped, false) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 WHERE n.nspname = %s AND c.relname = %s ORDER BY a.attnum`, quoteLiteral(schema), quoteLiteral(table)))
		if err != nil {
			return nil, fmt.Errorf("look up table %s: %w", name, err)
		}
		if len(rows) == 0 {
			continue
		}
		oid, err := strconv.ParseUint(rows[0][0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("look up table %s: %w", name, err)
		}
		n := catalogName{tableName: tableName{schema, table}}
		for _, r := range rows {
			n.take(r[1], r[2] == "t", sent)
		}
		all[uint32(oid)] = n
	}
	return all, nil
}

// take takes the next column of the table.
func (n *catalogName) take(name string, dropped bool, sent []Column) {
	if dropped {
		n.cut = true
		return
	}
	n.live = append(n.live, name)
	if next := len(n.columns); !n.cut && next < len(sent) && sent[next].Name == name {
		n.columns = append(n.columns, sent[next])
	}
}

// noteNames notes in a table, as the stream describes it, what columns that were renamed since are called now. It does so only
// where all that can be compared fits: the publication may have sent other columns then. (Who gives it another list of columns and
// renames one of the old list, before the stream has passed the rows of before, may find one of the same type in its place.)
func (n *catalogName) noteNames(t *Table) {
	was, is := names(t.Columns), names(n.columns)
	if len(is) < len(was) && !n.cut {
		return
	}
	now := make([]string, len(was))
	for i := range min(len(was), len(is)) {
		switch {
		case was[i] == is[i]:
		case t.Columns[i].Type != n.columns[i].Type, slices.Contains(n.live, was[i]), slices.Contains(was, is[i]):
			return // not only renamed
		default:
			now[i] = is[i]
		}
	}
	for i := range now {
		t.Columns[i].Now = now[i]
	}
}

func names(columns []Column) []string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.Name
	}
	return all
}
