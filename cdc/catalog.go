package cdc

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// server is what relay needs to know about the server and the role it is let in as.
type server struct {
	version   int // server_version_num
	walLevel  string
	database  string
	role      string
	replicate bool // the role may use replication slots

	slotsFree, sendersFree int
}

const serverSQL = `SELECT current_setting('server_version_num'), current_setting('wal_level'), current_database(), current_user,
  (SELECT bool_or(r.rolreplication OR r.rolsuper OR r.rolname = 'rds_replication') FROM pg_roles r
    WHERE r.rolname = current_user OR (r.rolname = 'rds_replication' AND pg_has_role(current_user, r.oid, 'MEMBER'))),
  current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
  current_setting('max_wal_senders')::int - (SELECT count(*) FROM pg_stat_replication)`

func readServer(ctx context.Context, conn *pgconn.PgConn) (*server, error) {
	rows, err := query(ctx, conn, serverSQL)
	if err != nil {
		return nil, fmt.Errorf("ask for the server's settings: %w", err)
	}
	if len(rows) != 1 {
		return nil, fmt.Errorf("ask for the server's settings: %d rows", len(rows))
	}
	r := rows[0]
	s := &server{walLevel: r[1], database: r[2], role: r[3], replicate: r[4] == "t"}
	s.version, _ = strconv.Atoi(r[0])
	s.slotsFree, _ = strconv.Atoi(r[5])
	s.sendersFree, _ = strconv.Atoi(r[6])
	return s, nil
}

const oldestVersion = 140000

func (s *server) fault() error {
	if s.version < oldestVersion {
		return &Fault{Kind: FaultVersion, Problem: fmt.Sprintf("the server is PostgreSQL %d", s.version/10000), Remedy: "use PostgreSQL 14 or later"}
	}
	if s.walLevel != "logical" {
		return &Fault{Kind: FaultWALLevel, Problem: "wal_level is " + s.walLevel + ", not logical", Remedy: "ALTER SYSTEM SET wal_level = 'logical'; then restart the server"}
	}
	return nil
}

// slot is a row of pg_replication_slots.
type slot struct {
	name, plugin, kind, database string
	activePID                    string // empty: nobody streams from it
	confirmed                    LSN
	walStatus, invalidation      string
	retained                     string // bytes of WAL it holds
}

// The JSON detour reads columns that older versions do not have.
const slotSQL = `SELECT slot_type, coalesce(plugin, ''), coalesce(database, ''), coalesce(active_pid::text, ''),
  coalesce(confirmed_flush_lsn::text, '0/0'), coalesce(wal_status, ''), coalesce(to_jsonb(s)->>'invalidation_reason', ''),
  CASE WHEN pg_is_in_recovery() THEN '' ELSE coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::text, '') END
  FROM pg_replication_slots s WHERE slot_name = %s`

// readSlot returns nil when there is no slot of that name.
func readSlot(ctx context.Context, conn *pgconn.PgConn, name string) (*slot, error) {
	rows, err := query(ctx, conn, fmt.Sprintf(slotSQL, quoteLiteral(name)))
	if err != nil {
		return nil, fmt.Errorf("look up slot %s: %w", name, err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	r := rows[0]
	s := &slot{name: name, kind: r[0], plugin: r[1], database: r[2], activePID: r[3], walStatus: r[5], invalidation: r[6], retained: r[7]}
	if s.confirmed, err = pglogrepl.ParseLSN(r[4]); err != nil {
		return nil, fmt.Errorf("look up slot %s: %w", name, err)
	}
	return s, nil
}

// fault says why the slot cannot be streamed from in the database; whether it is active is for START_REPLICATION to say.
func (s *slot) fault(name, database string) error {
	switch {
	case s == nil:
		return slotMissing(name, nil)
	case s.kind != "logical" || s.plugin != "pgoutput":
		what := "of plugin " + s.plugin
		if s.kind != "logical" {
			what = s.kind
		}
		return &Fault{
			Kind: FaultSlotPlugin, Problem: "replication slot " + s.name + " is " + what + ", and belongs to something else",
			Remedy: "name another slot in source.slot and run relay setup",
		}
	case s.database != database:
		return &Fault{
			Kind: FaultSlotDatabase, Problem: "replication slot " + s.name + " belongs to database " + s.database + ", not " + database,
			Remedy: "name another slot in source.slot and run relay setup, or connect to that database",
		}
	case s.walStatus == "lost" || s.invalidation != "":
		return slotInvalidated(s.name, s.invalidation, nil)
	}
	return nil
}

// publication is a row of pg_publication with its tables.
type publication struct {
	name                              string
	all, insert, update, remove, root bool
	tables                            map[string]bool // "schema.table", as rows name it
	members                           map[string]bool // as the publication was told; of a partitioned table these differ
	schemas                           map[string]bool // all tables of which it was told to take, from PostgreSQL 15
}

// readPublication returns nil when there is no publication of that name.
func readPublication(ctx context.Context, conn *pgconn.PgConn, name string) (*publication, error) {
	rows, err := query(ctx, conn, `SELECT puballtables, pubinsert, pubupdate, pubdelete OR pubtruncate, pubviaroot, current_setting('server_version_num') FROM pg_publication WHERE pubname = `+quoteLiteral(name))
	if err != nil {
		return nil, fmt.Errorf("look up publication %s: %w", name, err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	r := rows[0]
	p := &publication{name: name, all: r[0] == "t", insert: r[1] == "t", update: r[2] == "t", remove: r[3] == "t", root: r[4] == "t"}
	if p.tables, err = readTableSet(ctx, conn, `SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = `+quoteLiteral(name)); err != nil {
		return nil, fmt.Errorf("look up the tables of publication %s: %w", name, err)
	}
	if p.members, err = readTableSet(ctx, conn, `SELECT n.nspname, c.relname FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
  JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = `+quoteLiteral(name)); err != nil {
		return nil, fmt.Errorf("look up the members of publication %s: %w", name, err)
	}
	if r[5] < "150000" {
		return p, nil
	}
	schemas, err := query(ctx, conn, `SELECT n.nspname FROM pg_publication_namespace s JOIN pg_publication p ON p.oid = s.pnpubid
  JOIN pg_namespace n ON n.oid = s.pnnspid WHERE p.pubname = `+quoteLiteral(name))
	if err != nil {
		return nil, fmt.Errorf("look up the schemas of publication %s: %w", name, err)
	}
	p.schemas = make(map[string]bool, len(schemas))
	for _, s := range schemas {
		p.schemas[s[0]] = true
	}
	return p, nil
}

func readTableSet(ctx context.Context, conn *pgconn.PgConn, sql string) (map[string]bool, error) {
	rows, err := query(ctx, conn, sql)
	if err != nil {
		return nil, err
	}
	set := make(map[string]bool, len(rows))
	for _, r := range rows {
		set[r[0]+"."+r[1]] = true
	}
	return set, nil
}

// fault says why the rows of tables, which exist, do not come through the publication.
func (p *publication) fault(name string, tables []string) error {
	if err := p.own(name, tables); err != nil {
		return err
	}
	for _, table := range tables {
		if !p.has(table) {
			return p.lacks(table)
		}
	}
	return nil
}

// readFault is fault for tables that may have gone: it looks at one whose rows do not come through.
func (p *publication) readFault(ctx context.Context, conn *pgconn.PgConn, name string, tables []string) (fault, err error) {
	if fault := p.own(name, tables); fault != nil {
		return fault, nil
	}
	for _, table := range tables {
		if p.has(table) {
			continue
		}
		rel, err := readTable(ctx, conn, table)
		if err != nil {
			return nil, err
		}
		return p.lack(table, rel, tables), nil
	}
	return nil, nil
}

// own is what is wrong with the publication itself.
func (p *publication) own(name string, tables []string) error {
	if p == nil {
		return &Fault{Kind: FaultPublication, Problem: "publication " + name + " does not exist", Remedy: "relay setup, or: " + createPublicationSQL(name, tables)}
	}
	if !p.insert {
		return &Fault{
			Kind: FaultPublicationTable, Problem: "publication " + name + " does not publish inserts",
			Remedy: "ALTER PUBLICATION " + quoteIdent(name) + " SET (publish = 'insert')",
		}
	}
	return nil
}

func (p *publication) has(table string) bool {
	schema, name := splitTable(table)
	return p.tables[schema+"."+name]
}

// covers reports whether the publication was told to take the table, be it under the name of another.
func (p *publication) covers(table string) bool {
	schema, name := splitTable(table)
	return p.all || p.schemas[schema] || p.members[schema+"."+name]
}

// others returns the tables that the publication was told to take one by one, but for these.
func (p *publication) others(tables []string) []string {
	others := maps.Clone(p.members)
	for _, table := range tables {
		schema, name := splitTable(table)
		delete(others, schema+"."+name)
	}
	return slices.Sorted(maps.Keys(others))
}

// mayHaveOthers reports whether the publication has tables besides these, of which one may have had one of these names.
func (p *publication) mayHaveOthers(tables []string) bool {
	return p != nil && (p.all || len(p.schemas) > 0 || len(p.others(tables)) > 0)
}

// lack says why the rows of one of the tables do not come through, which is not in the publication. rel is nil if there is none.
func (p *publication) lack(table string, rel *catalogTable, tables []string) error {
	switch {
	case rel == nil:
		return p.misses(table, p.others(tables))
	case rel.root != "" && p.root && p.has(rel.root):
		return p.sendsRoot(table, rel.root)
	}
	if f := rel.fault(&SourceTable{Name: table}); f != nil {
		return f
	}
	return p.lacks(table)
}

// lacks is lack for a table that exists and can be published.
func (p *publication) lacks(table string) error {
	switch {
	case p.covers(table) && p.root:
		return p.sendsRoot(table, "the table that it is a partition of")
	case p.covers(table):
		return &Fault{
			Kind: FaultPublicationTable, Problem: "publication " + p.name + " sends the rows of " + table + " under the names of its partitions, or not at all",
			Remedy: "ALTER PUBLICATION " + quoteIdent(p.name) + " SET (publish_via_partition_root = true)",
		}
	}
	return &Fault{
		Kind: FaultPublicationTable, Problem: "publication " + p.name + " does not contain table " + table,
		Remedy: "ALTER PUBLICATION " + quoteIdent(p.name) + " ADD TABLE " + quoteTable(table),
	}
}

func (p *publication) sendsRoot(table, root string) error {
	return &Fault{
		Kind: FaultPublicationTable, Problem: "publication " + p.name + " sends the rows of " + table + " under the name of " + root,
		Remedy: "name " + root + " under source.tables",
	}
}

// misses speaks of a table that is not there, and may be under another name: the publication goes on with it.
func (p *publication) misses(table string, others []string) error {
	problem := "table " + table + " does not exist"
	if len(others) > 0 {
		problem += "; publication " + p.name + " contains " + listed(others)
	}
	return &Fault{
		Kind: FaultPublicationTable, Problem: problem,
		Remedy: "if " + table + " was renamed, name it as it is called now under source.tables and restart relay, or rename it back: no row is lost; " +
			"otherwise relay setup",
	}
}

// shownTables is how many tables of a publication are named.
const shownTables = 5

func listed(tables []string) string {
	if more := len(tables) - shownTables; more > 0 {
		tables = append(tables[:shownTables:shownTables], fmt.Sprintf("%d more", more))
	}
	return strings.Join(tables, ", ")
}
