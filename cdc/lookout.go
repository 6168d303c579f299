package cdc

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// Lookout looks at slot and publication beside the stream. The stream itself notices neither: Postgres leaves the rows of a
// table out that is no longer published, and says nothing. It keeps a connection of its own, because what the replication
// connection looks up enters the caches that it decodes by. It is not safe for concurrent use.
type Lookout struct {
	src     Source
	conn    *pgconn.PgConn
	known   map[string]string // tables by their name in src: the OID that each had when its rows came through under that name
	filters map[string]filter // by the same name, as they were called when they were first seen
}

// NewLookout returns one for slot, publication and tables of the source. It connects when first used.
func NewLookout(src Source) *Lookout {
	return &Lookout{src: src, known: make(map[string]string), filters: make(map[string]filter)}
}

// Moment is a point in the server's time.
type Moment struct {
	Time time.Time // by the server's clock
	LSN  LSN       // end of its WAL
}

// Sight is what a Lookout saw.
type Sight struct {
	Before, After Moment   // what it saw was read in between
	WAL           *SlotWAL // nil: there is no such slot
	Publication   error    // why rows of the tables do not come through, nil if they do
	Filters       string   // row filters and column lists of the publication, in one line; empty: none

	// Renamed names the tables that were renamed since this Lookout began, in one line; empty: none. Their rows come through, as
	// a stream that is under way knows a table by its identity. The next one finds no table of that name, and waits.
	Renamed string
}

// Look asks the server. After an error it connects anew at the next call.
func (l *Lookout) Look(ctx context.Context) (*Sight, error) {
	if l.conn == nil {
		conn, err := connect(ctx, l.src.URL, false)
		if err != nil {
			return nil, err
		}
		l.conn = conn
	}
	s, err := l.look(ctx)
	if err != nil {
		l.Close()
	}
	return s, err
}

// Close closes the connection.
func (l *Lookout) Close() {
	if l.conn != nil {
		closeConn(l.conn)
		l.conn = nil
	}
}

func (l *Lookout) look(ctx context.Context) (s *Sight, err error) {
	s = &Sight{}
	if s.Before, err = readMoment(ctx, l.conn); err != nil {
		return nil, err
	}
	if s.WAL, err = readSlotWAL(ctx, l.conn, l.src.Slot); err != nil {
		return nil, err
	}
	pub, err := readPublication(ctx, l.conn, l.src.Publication)
	if err != nil {
		return nil, err
	}
	renamed, err := l.readRenamed(ctx, pub)
	if err != nil {
		return nil, err
	}
	s.Renamed = renamedText(renamed)
	there := slices.DeleteFunc(l.src.tableNames(), func(t string) bool { return renamed[t] != "" })
	if s.Publication, err = pub.readFault(ctx, l.conn, l.src.Publication, there); err != nil {
		return nil, err
	}
	filters, err := readFilters(ctx, l.conn, l.src.Publication)
	if err != nil {
		return nil, err
	}
	s.Filters = l.filterText(filters, renamed)
	s.After, err = readMoment(ctx, l.conn)
	return s, err
}

// readRenamed returns what tables are called now that were renamed: none has their name, and the publication goes on with them.
func (l *Lookout) readRenamed(ctx context.Context, pub *publication) (map[string]string, error) {
	if pub == nil {
		return nil, nil
	}
	renamed := make(map[string]string)
	for _, table := range l.src.tableNames() {
		schema, name := splitTable(table)
		rows, err := query(ctx, l.conn, fmt.Sprintf(`SELECT c.oid, n.nspname, c.relname, n.nspname = %[1]s AND c.relname = %[2]s FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %[1]s AND c.relname = %[2]s OR c.oid = %[3]s ORDER BY 4 DESC`,
			quoteLiteral(schema), quoteLiteral(name), cmp.Or(l.known[table], "0")))
		if err != nil {
			return nil, fmt.Errorf("look up table %s: %w", table, err)
		}
		switch {
		case len(rows) == 0:
		case rows[0][3] == "t" && pub.has(table):
			l.known[table] = rows[0][0]
		case rows[0][3] == "f" && pub.tables[rows[0][1]+"."+rows[0][2]]:
			renamed[table] = QualifiedName(rows[0][1], rows[0][2])
		}
	}
	return renamed, nil
}

func renamedText(renamed map[string]string) string {
	var all []string
	for _, table := range slices.Sorted(maps.Keys(renamed)) {
		all = append(all, table+" is "+renamed[table]+" now")
	}
	return strings.Join(all, "; ")
}

func readMoment(ctx context.Context, conn *pgconn.PgConn) (Moment, error) {
	rows, err := query(ctx, conn, `SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END`)
	if err != nil {
		return Moment{}, fmt.Errorf("ask for the server's time: %w", err)
	}
	micros, err := strconv.ParseInt(rows[0][0], 10, 64)
	if err != nil {
		return Moment{}, fmt.Errorf("ask for the server's time: %w", err)
	}
	lsn, err := pglogrepl.ParseLSN(rows[0][1])
	return Moment{time.UnixMicro(micros).UTC(), lsn}, err
}

// filter is what a publication holds back of a table.
type filter struct {
	rows    string // SQL; empty: none
	columns string // the only columns that are sent; empty: all
	raw     string // both as the catalog has them, whatever table and columns are called
}

// readFilters returns the filters of a publication by table, "schema.table". PostgreSQL has them from version 15; the JSON
// detour reads columns that version 14 does not have.
func readFilters(ctx context.Context, conn *pgconn.PgConn, publication string) (map[string]filter, error) {
	rows, err := query(ctx, conn, `SELECT t.schemaname, t.tablename, coalesce(to_jsonb(t)->>'rowfilter', ''),
  CASE WHEN m.list THEN (SELECT coalesce(string_agg(name, ', '), '') FROM jsonb_array_elements_text(to_jsonb(t)->'attnames') AS names(name)) ELSE '' END, coalesce(m.raw, '')
  FROM pg_publication_tables t LEFT JOIN LATERAL (
    SELECT bool_or(to_jsonb(r)->>'prattrs' IS NOT NULL), string_agg(concat_ws(' ', r.prrelid, to_jsonb(r)->>'prattrs', to_jsonb(r)->>'prqual'), ' ')
      FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
      JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE p.pubname = t.pubname AND n.nspname = t.schemaname AND c.relname = t.tablename) m(list, raw) ON true
  WHERE t.pubname = `+quoteLiteral(publication))
	if err != nil {
		return nil, fmt.Errorf("look up the filters of publication %s: %w", publication, err)
	}
	filters := map[string]filter{}
	for _, r := range rows {
		if r[2] != "" || r[3] != "" {
			filters[r[0]+"."+r[1]] = filter{r[2], r[3], r[4]}
		}
	}
	return filters, nil
}

// filterText names the filters on the tables. One that is the same as before has the same text, although its table or the
// columns it speaks of were renamed: nothing else comes through than before.
func (l *Lookout) filterText(filters map[string]filter, renamed map[string]string) string {
	var all []string
	for _, table := range slices.Sorted(slices.Values(l.src.tableNames())) {
		schema, name := splitTable(cmp.Or(renamed[table], table))
		f := filters[schema+"."+name]
		if was, ok := l.filters[table]; ok && f.raw != "" && was.raw == f.raw {
			f = was
		}
		l.filters[table] = f
		if f.rows != "" {
			all = append(all, "only rows of "+table+" where "+f.rows)
		}
		if f.columns != "" {
			all = append(all, "only columns "+f.columns+" of "+table)
		}
	}
	return strings.Join(all, "; ")
}
