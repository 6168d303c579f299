package cdc

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Range is which rows Scan reads, by their time column, to the microsecond. A zero bound is none; rows without a time are in no
// range, nor in one without bounds, unless there is a Snapshot. The zero Range is all rows that have a time.
type Range struct {
	Since  time.Time // inclusive
	Until  time.Time // exclusive
	Newest int       // at most so many of each table, the newest; 0: all. Of a table without a time column, and without bounds, those of the newest transactions

	// Snapshot is one that another connection has exported, and that lasts until the next command there: until Scan has
	// begun. The rows are those of the snapshot, and all of them: rows without a time come last, and tables without a time
	// column are read by transaction.
	Snapshot string

	// Condition is SQL, true for the rows to be read; empty: all. It speaks of the columns of a table, the same for all tables,
	// and finds functions and types of pg_catalog without a schema only. It comes from who may
	// configure the relay: nothing keeps SQL in it from doing what a read-only transaction may do.
	Condition string
}

// Scan hands over the rows that are in the outbox tables now, oldest first by their time column and then by id, in the form
// in which the stream handed them over when they were new: the same columns, the same text. What the table does not
// tell is missing: Place and Tx are zero, and CommitTime is when the scan began. All rows are of one snapshot. Of one table
// a single row is in memory at a time, of several at most 64 of each. An error of each ends the scan and is returned.
func Scan(ctx context.Context, src Source, r Range, each func(*Row) error) error {
	conn, err := connect(ctx, src.URL, false)
	if err != nil {
		return err
	}
	defer closeConn(conn)
	// With row security off a policy is an error; with it on, rows that the stream sent would be left out silently.
	begin := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
	if r.Snapshot != "" {
		begin += "SET TRANSACTION SNAPSHOT " + quoteLiteral(r.Snapshot) + "; "
	}
	began, err := query(ctx, conn, begin+`SET LOCAL row_security = off;
SET LOCAL cursor_tuple_fraction = 1; SELECT floor(extract(epoch FROM now()) * 1000000)::bigint`)
	if err != nil {
		return fmt.Errorf("begin to read the outbox: %w", err)
	}
	micros, err := strconv.ParseInt(began[0][0], 10, 64)
	if err != nil {
		return fmt.Errorf("begin to read the outbox: %w", err)
	}
	s := &scan{conn: conn, now: time.UnixMicro(micros).UTC()}
	for i := range src.Tables {
		if err := s.open(ctx, &src, i, r); err != nil {
			return err
		}
	}
	for {
		next, err := s.earliest(ctx)
		if err != nil || next == nil {
			return err
		}
		if err := each(next.take()); err != nil {
			return err
		}
	}
}

// scan is a transaction with a cursor for each table. Rows are taken from the connection one by one, as they are wanted: what
// has not been read yet is the server's to keep, and it stops sending when the connection is full.
type scan struct {
	conn    *pgconn.PgConn
	now     time.Time
	cursors []*scanCursor

	results *pgconn.MultiResultReader
	reading *scanCursor // that results are of; nil: nothing is left to read
}

// open declares the cursor of a table.
func (s *scan) open(ctx context.Context, src *Source, index int, r Range) error {
	t := &src.Tables[index]
	at, err := readTable(ctx, s.conn, t.Name)
	if err != nil {
		return err
	}
	if f := at.fault(t); f != nil {
		return f
	}
	c := &scanCursor{name: "relay_scan_" + strconv.Itoa(index), table: &Table{}, batch: scanBatchMin}
	c.table.Schema, c.table.Name = splitTable(t.Name)
	if c.table.Columns, err = publishedColumns(ctx, s.conn, src.Publication, c.table); err != nil {
		return err
	}
	statement, err := s.statement(ctx, src.Publication, t, at, c, r)
	if err != nil {
		return err
	}
	if _, err := query(ctx, s.conn, statement); err != nil {
		return scanFault(ctx, src.URL, t.Name, at, err)
	}
	s.cursors = append(s.cursors, c)
	return nil
}

// statement returns the declaration of a table's cursor. Its first column is the time, to merge the tables by.
func (s *scan) statement(ctx context.Context, pub string, t *SourceTable, at *catalogTable, c *scanCursor, r Range) (string, error) {
	when, err := timeColumn(t, at)
	by := quoteIdent(when)
	moment := "extract(epoch FROM " + by + ")"
	switch {
	case err == nil && r.Snapshot != "":
		moment = "coalesce(" + moment + ", 'Infinity')"
	case err != nil && (r.Newest > 0 || r.Snapshot != "") && r.Since.IsZero() && r.Until.IsZero():
		by, moment = "-age(xmin)", "(-age(xmin))" // by transaction, which tells about the newest well enough
	case err != nil:
		return "", err
	}
	id := t.column(parts[0])
	if c.table.Column(id) < 0 {
		return "", fmt.Errorf("table %s has no column %q for the event's id; name yours: columns: {id: …} under source.tables", t.Name, id)
	}
	filters, err := query(ctx, s.conn, `SELECT coalesce(f->>'rowfilter', '') FROM (`+
		fmt.Sprintf(publishedSQL, quoteLiteral(pub), quoteLiteral(c.table.Schema), quoteLiteral(c.table.Name))+`) AS p(f)`)
	if err != nil {
		return "", fmt.Errorf("look up the filters of publication %s: %w", pub, err)
	}
	var conditions []string
	if r.Snapshot == "" {
		conditions = append(conditions, by+" IS NOT NULL")
	}
	if !r.Since.IsZero() {
		conditions = append(conditions, by+" >= "+timeLiteral(r.Since))
	}
	if !r.Until.IsZero() {
		conditions = append(conditions, by+" < "+timeLiteral(r.Until))
	}
	if len(filters) == 1 && filters[0][0] != "" {
		conditions = append(conditions, "("+filters[0][0]+")")
	}
	if r.Condition != "" {
		conditions = append(conditions, "("+r.Condition+"\n)") // the line's end ends a comment
	}
	from := quoteTable(t.Name)
	if !at.partitioned() {
		from = "ONLY " + from // the rows of a table that inherits from it come under that one's name
	}
	outputs := []string{moment + "::float8"}
	for _, column := range c.table.Columns {
		outputs = append(outputs, quoteIdent(column.Name))
	}
	selected := fmt.Sprintf("SELECT %s FROM %s WHERE %s", strings.Join(outputs, ", "), from, strings.Join(append(conditions, "true"), " AND "))
	if r.Newest > 0 { // the output columns by their place: their names may be any
		selected = fmt.Sprintf("SELECT * FROM (%s ORDER BY %s DESC, %s DESC LIMIT %d) AS newest ORDER BY 1, %d",
			selected, by, quoteIdent(id), r.Newest, c.table.Column(id)+2)
	} else {
		selected += fmt.Sprintf(" ORDER BY %s, %s", by, quoteIdent(id))
	}
	return fmt.Sprintf("DECLARE %s NO SCROLL CURSOR FOR %s", c.name, selected), nil
}

// timeColumn returns the name of the column that the rows are read by.
func timeColumn(t *SourceTable, at *catalogTable) (string, error) {
	i := slices.IndexFunc(parts, func(p part) bool { return p.name == "time" })
	name := t.column(parts[i])
	column, ok := at.columns[name]
	remedy := "name the column that holds the event's time: columns: {time: …} under source.tables"
	switch {
	case !ok:
		return "", &Fault{Kind: FaultColumn, Problem: fmt.Sprintf("table %s has no column %q, so which rows are of that time cannot be told", t.Name, name), Remedy: remedy}
	case !slices.Contains(parts[i].types, column.typ):
		return "", &Fault{Kind: FaultColumn, Problem: fmt.Sprintf("column %q of %s is of type %s, not a timestamp, so which rows are of that time cannot be told", name, t.Name, column.typ), Remedy: remedy}
	}
	return name, nil
}

func timeLiteral(t time.Time) string {
	return quoteLiteral(t.UTC().Format("2006-01-02T15:04:05.999999Z07:00")) + "::timestamptz"
}

// scanFault says what mends it when the role may not read the table.
func scanFault(ctx context.Context, url, table string, at *catalogTable, err error) error {
	if pgCode(err) != codePrivilege {
		return fmt.Errorf("read table %s: %w", table, err)
	}
	role := "the relay's role"
	if cfg, parseErr := configure(url, false); parseErr == nil && cfg.User != "" {
		role = quoteIdent(cfg.User)
	}
	f := &Fault{Kind: FaultPrivilege, Problem: "table " + table + " cannot be read", Remedy: "GRANT SELECT ON " + quoteTable(table) + " TO " + role, Err: err}
	if at.readable {
		f.Remedy = "ALTER ROLE " + role + " BYPASSRLS"
	}
	return f
}

// earliest returns the cursor that stands before the earliest row, or nil when all are at their end.
func (s *scan) earliest(ctx context.Context) (*scanCursor, error) {
	var next *scanCursor
	for _, c := range s.cursors {
		if err := s.fill(ctx, c); err != nil {
			return nil, err
		}
		if len(c.rows) > 0 && (next == nil || c.rows[0].at < next.rows[0].at) {
			next = c
		}
	}
	return next, nil
}

// How many rows are asked for at once: as many as took about so many bytes the last time. How large the next ones are nobody
// knows, and what is left of a fetch has to be read before another table can be asked, so it is never more than scanBatchMax.
const (
	scanBatchMin = 8
	scanBatchMax = 64
	scanBytes    = 2 << 20
)

// scanCursor is a cursor on one table, and the rows of it that are in memory.
type scanCursor struct {
	name  string
	table *Table
	rows  []scannedRow
	batch int // rows of a fetch
	ended bool

	got, size int // rows and bytes of the fetch at hand
}

type scannedRow struct {
	at  float64 // seconds, in which a microsecond of our centuries is exact enough to compare
	row *Row
}

func (c *scanCursor) take() *Row {
	row := c.rows[0].row
	c.rows[0] = scannedRow{}
	c.rows = c.rows[1:]
	return row
}

// fill reads a row when none is there.
func (s *scan) fill(ctx context.Context, c *scanCursor) error {
	for len(c.rows) == 0 && !c.ended {
		if s.reading != c {
			if err := s.fetch(ctx, c); err != nil {
				return err
			}
		}
		if err := s.read(); err != nil {
			return err
		}
	}
	return nil
}

// fetch asks for rows of c, after what is left of another's.
func (s *scan) fetch(ctx context.Context, c *scanCursor) error {
	for s.reading != nil {
		if err := s.read(); err != nil {
			return err
		}
	}
	s.results = s.conn.Exec(ctx, fmt.Sprintf("FETCH %d FROM %s", c.batch, c.name))
	s.results.NextResult() // what it does not find, Close says in read
	s.reading, c.got, c.size = c, 0, 0
	return nil
}

// read takes one row, or the end of the fetch, from the connection.
func (s *scan) read() error {
	c := s.reading
	if result := s.results.ResultReader(); result != nil && result.NextRow() {
		values := result.Values()
		at, err := strconv.ParseFloat(string(values[0]), 64)
		if err != nil {
			return fmt.Errorf("read table %s: %w", c.table, err)
		}
		row := &Row{CommitTime: s.now, Table: c.table, Values: ownValues(values[1:])}
		c.rows = append(c.rows, scannedRow{at, row})
		c.got++
		c.size += row.Size()
		return nil
	}
	s.reading = nil
	if err := s.results.Close(); err != nil {
		return fmt.Errorf("read table %s: %w", c.table, err)
	}
	c.ended = c.got < c.batch
	switch {
	case c.size > scanBytes:
		c.batch = max(1, c.batch/2)
	case c.size < scanBytes/2:
		c.batch = min(scanBatchMax, 2*c.batch)
	}
	return nil
}

// ownValues copies values out of the read buffer, all into one piece of memory.
func ownValues(values [][]byte) [][]byte {
	size := 0
	for _, v := range values {
		size += len(v)
	}
	data := make([]byte, 0, size)
	own := make([][]byte, len(values))
	for i, v := range values {
		if v != nil {
			from := len(data)
			data = append(data, v...)
			own[i] = data[from:len(data):len(data)]
		}
	}
	return own
}
