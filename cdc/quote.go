package cdc

import "strings"

// quoteIdent quotes one SQL identifier.
func quoteIdent(name string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(name, "\x00", ""), `"`, `""`) + `"`
}

// quoteLiteral quotes an SQL string. Connections made here pin standard_conforming_strings, so a backslash is a backslash.
func quoteLiteral(text string) string {
	return `'` + strings.ReplaceAll(strings.ReplaceAll(text, "\x00", ""), `'`, `''`) + `'`
}

// quoteTable quotes a table's name, as splitTable reads it, for SQL.
func quoteTable(name string) string {
	schema, table := splitTable(name)
	return quoteIdent(schema) + "." + quoteIdent(table)
}
