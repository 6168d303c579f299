package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"relay/internal/libpq"
	"relay/mapping"
)

// testEvent is what relay send writes into an outbox.
type testEvent struct {
	ID    string `json:"id"`
	Table string `json:"table,omitempty"`
	Type  string `json:"type"`
	Key   string `json:"key,omitempty"`

	data string
}

func newSendCommand(c *console) *cobra.Command {
	ev := testEvent{}
	cmd := &cobra.Command{
		Use:   "send --type TYPE",
		Short: "Insert a test event into the outbox",
		Long: `Inserts one row into the outbox table, through the columns of relay.yaml, as your application would. A
running relay then delivers it. With several tables, --table says which.`,
		Example: `  relay send --type order.created --key 42 --data '{"total": 99.90}'
  relay send --type ping`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := mapping.Load(c.config)
			if err != nil {
				return err
			}
			if err := ev.send(cmd.Context(), cfg); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(ev)
			}
			c.printf("inserted %s, %s, into %s\n", ev.ID, ev.Type, cmp.Or(ev.Table, "the log as a logical message"))
			return nil
		},
	}
	cmd.Flags().StringVar(&ev.Type, "type", "", "event `type`, as order.created")
	cmd.Flags().StringVar(&ev.Key, "key", "", "ordering `key`; none: NULL")
	cmd.Flags().StringVar(&ev.data, "data", "{}", "payload, `JSON`")
	cmd.Flags().StringVar(&ev.Table, "table", "", "outbox `table`, if relay.yaml has several")
	must(cmd.MarkFlagRequired("type"))
	return cmd
}

func (ev *testEvent) send(ctx context.Context, cfg *mapping.Config) error {
	login, err := pgx.ParseConfig(cfg.Source.URL)
	if err != nil {
		return fmt.Errorf("read source.url: %w", err)
	}
	libpq.DropClientSide(login.RuntimeParams)
	conn, err := pgx.ConnectConfig(ctx, login)
	if err != nil {
		return fmt.Errorf("connect to source.url: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the statement's answer is all that counts
	if len(cfg.Source.Tables) == 0 {
		return ev.emit(ctx, conn, cfg.Source.Messages[0])
	}
	table, err := ev.table(cfg.Source.Tables)
	if err != nil {
		return err
	}
	ev.Table = table.String()
	return ev.insert(ctx, conn, table)
}

func (ev *testEvent) table(tables []mapping.Table) (mapping.Table, error) {
	if ev.Table == "" && len(tables) == 1 {
		return tables[0], nil
	}
	i := slices.IndexFunc(tables, func(t mapping.Table) bool { return t.String() == ev.Table || t.Name == ev.Table })
	if i < 0 {
		names := make([]string, len(tables))
		for i, t := range tables {
			names[i] = t.String()
		}
		return mapping.Table{}, usagef("--table %q: want one of %s", ev.Table, strings.Join(names, ", "))
	}
	return tables[i], nil
}

// emit writes the event as a transactional logical message.
func (ev *testEvent) emit(ctx context.Context, conn *pgx.Conn, prefix string) error {
	if !json.Valid([]byte(ev.data)) {
		return usagef("--data is not JSON")
	}
	ev.ID = uuid.NewString()
	content := map[string]any{"id": ev.ID, "type": ev.Type, "payload": json.RawMessage(ev.data)}
	if ev.Key != "" {
		content["key"] = ev.Key
	}
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `SELECT pg_logical_emit_message(true, $1, $2::text)`, prefix, string(text)); err != nil {
		return fmt.Errorf("emit logical message: %w", err)
	}
	return nil
}

// outboxColumn is a column as far as an insert has to know it.
type outboxColumn struct {
	Type      string // as the catalog formats it, for a cast that keeps every length: character would be one character
	Automatic bool   // has a default or counts by itself
}

const outboxColumnsSQL = `SELECT a.attname, format_type(a.atttypid, -1), a.atthasdef OR a.attidentity <> ''
  FROM pg_attribute a WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped`

func (ev *testEvent) insert(ctx context.Context, conn *pgx.Conn, table mapping.Table) error {
	name := pgx.Identifier{table.Schema, table.Name}.Sanitize()
	columns := map[string]outboxColumn{}
	rows, err := conn.Query(ctx, outboxColumnsSQL, name)
	if err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	var column string
	var col outboxColumn
	if _, err := pgx.ForEachRow(rows, []any{&column, &col.Type, &col.Automatic}, func() error {
		columns[column] = col
		return nil
	}); err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	statement, values, err := ev.statement(name, table.Columns, columns)
	if err != nil {
		return err
	}
	if err := conn.QueryRow(ctx, statement, values...).Scan(&ev.ID); err != nil {
		return fmt.Errorf("insert into %s: %w", name, err)
	}
	return nil
}

// statement returns the INSERT of the event, which sets only what the table does not set by itself.
func (ev *testEvent) statement(table string, names mapping.Columns, columns map[string]outboxColumn) (string, []any, error) {
	var cols, exprs []string
	var values []any
	set := func(column, value string) {
		values = append(values, value)
		expr := fmt.Sprintf("$%d::text::%s", len(values), columns[column].Type)
		if columns[column].Type == "bytea" {
			expr = fmt.Sprintf("convert_to($%d::text, 'UTF8')", len(values))
		}
		cols, exprs = append(cols, pgx.Identifier{column}.Sanitize()), append(exprs, expr)
	}
	for _, column := range []string{names.ID, names.Type, names.Payload} {
		if _, ok := columns[column]; !ok {
			return "", nil, fmt.Errorf("table %s has no column %q; relay check says how to name yours", table, column)
		}
	}
	if strings.HasPrefix(columns[names.Payload].Type, "json") && !json.Valid([]byte(ev.data)) {
		return "", nil, usagef("--data is not JSON, which column %q holds", names.Payload)
	}
	if !columns[names.ID].Automatic {
		set(names.ID, uuid.NewString())
	}
	set(names.Type, ev.Type)
	set(names.Payload, ev.data)
	if ev.Key != "" {
		if _, ok := columns[names.Key]; !ok {
			return "", nil, errors.New("--key: the table has no key column")
		}
		set(names.Key, ev.Key)
	}
	if at, ok := columns[names.Time]; ok && !at.Automatic {
		cols, exprs = append(cols, pgx.Identifier{names.Time}.Sanitize()), append(exprs, "now()")
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) RETURNING %s::text", table, strings.Join(cols, ", "),
		strings.Join(exprs, ", "), pgx.Identifier{names.ID}.Sanitize()), values, nil
}
