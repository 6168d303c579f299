package park

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"relay/internal/failpoint"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one step forward. There is none back: an older relay refuses a newer schema.
type migration struct {
	version int
	name    string
	sql     string // with {{schema}}
}

const migrationTable = `CREATE TABLE IF NOT EXISTS {{schema}}.migration (
  version    integer PRIMARY KEY,
  name       text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
)`

// migrations returns the embedded ones, NNN_name.sql, in order. A hole in the numbers is a mistake of ours.
func migrations() []migration {
	entries, err := fs.ReadDir(migrationFiles, "migrations")
	if err != nil {
		panic(err)
	}
	steps := make([]migration, 0, len(entries))
	for i, entry := range entries {
		number, name, _ := strings.Cut(strings.TrimSuffix(entry.Name(), ".sql"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			panic("migration " + entry.Name() + " is out of order")
		}
		text, err := migrationFiles.ReadFile("migrations/" + entry.Name())
		if err != nil {
			panic(err)
		}
		steps = append(steps, migration{version, name, string(text)})
	}
	return steps
}

// Version returns the version of the tables that this relay works with.
func Version() int { return len(migrations()) }

// NewerError says that the tables were made by a newer relay than this one.
type NewerError struct {
	Schema        string
	Version, Ours int
}

// Error says so.
func (e *NewerError) Error() string {
	return fmt.Sprintf("schema %s is at version %d and this relay knows versions up to %d: run the newer relay, or give this one another source.schema",
		e.Schema, e.Version, e.Ours)
}

// DeniedError says that the role may not create or use the relay's tables, and which statement mends it.
type DeniedError struct {
	Role, Remedy string
	Err          error
}

// Error says so.
func (e *DeniedError) Error() string {
	return fmt.Sprintf("role %s lacks a privilege on the relay's own tables (%v): %s", e.Role, e.Err, e.Remedy)
}

// Unwrap returns the server's error.
func (e *DeniedError) Unwrap() error { return e.Err }

// Migrate brings the tables to this relay's version, one transaction a step, under a lock, so that several relays may start
// at once and one killed half-way leaves whole steps only. It writes nothing, and needs no right to create, when there is nothing to do.
func (s *Store) Migrate(ctx context.Context) error {
	_, err := s.migrate(ctx, migrations())
	return err
}

// Migrate brings the tables in a schema of the database at url to this relay's version and returns what was done.
func Migrate(ctx context.Context, url, schema string) ([]string, error) {
	s, err := Open(ctx, url, schema, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.migrate(ctx, migrations())
}

func (s *Store) migrate(ctx context.Context, steps []migration) (done []string, err error) {
	for {
		version, err := s.Version(ctx)
		switch {
		case err != nil:
			return done, err
		case version > len(steps):
			return done, &NewerError{Schema: s.name, Version: version, Ours: len(steps)}
		case version == len(steps):
			return done, nil
		}
		var applied string
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
			applied, err = s.step(ctx, tx, steps)
			return err
		})
		if err != nil {
			return done, s.denied(ctx, fmt.Errorf("migrate schema %s: %w", s.name, err))
		}
		if applied != "" {
			done = append(done, applied)
		}
	}
}

// step applies the next migration and says so, if another relay has not done so while we waited for the lock.
func (s *Store) step(ctx context.Context, tx pgx.Tx, steps []migration) (string, error) {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, "relay migrate "+s.name); err != nil {
		return "", err
	}
	var exists bool // asked first: CREATE SCHEMA IF NOT EXISTS wants the right to create even if it exists
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, s.name).Scan(&exists); err != nil {
		return "", err
	}
	if !exists {
		if _, err := tx.Exec(ctx, `CREATE SCHEMA `+s.schema); err != nil {
			return "", err
		}
	}
	if _, err := tx.Exec(ctx, s.sql(migrationTable)); err != nil {
		return "", err
	}
	var version int
	if err := tx.QueryRow(ctx, s.sql(`SELECT coalesce(max(version), 0) FROM {{schema}}.migration`)).Scan(&version); err != nil {
		return "", err
	}
	if version >= len(steps) {
		return "", nil
	}
	next := steps[version]
	if _, err := tx.Conn().PgConn().Exec(ctx, s.sql(next.sql)).ReadAll(); err != nil {
		return "", fmt.Errorf("version %d (%s): %w", next.version, next.name, err)
	}
	failpoint.Hit("migrating")
	_, err := tx.Exec(ctx, s.sql(`INSERT INTO {{schema}}.migration (version, name) VALUES ($1, $2)`), next.version, next.name)
	return fmt.Sprintf("schema %s: migrated to version %d (%s)", s.name, next.version, next.name), err
}

// Version returns the version of the tables, 0 if there are none.
func (s *Store) Version(ctx context.Context) (int, error) {
	var version int
	err := s.pool.QueryRow(ctx, s.sql(`SELECT coalesce(max(version), 0) FROM {{schema}}.migration`)).Scan(&version)
	if code := sqlState(err); code == "42P01" || code == "3F000" {
		return 0, nil
	}
	if err != nil {
		return 0, s.denied(ctx, fmt.Errorf("read the version of schema %s: %w", s.name, err))
	}
	return version, nil
}

// denied adds the remedy to an error for want of a privilege.
func (s *Store) denied(ctx context.Context, err error) error {
	if sqlState(err) != "42501" {
		return err
	}
	var role, database string
	if s.pool.QueryRow(ctx, `SELECT current_user, current_database()`).Scan(&role, &database) != nil {
		return err
	}
	remedy := fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s; or have a DBA run what `relay setup --print` prints", quote(database), quote(role))
	return &DeniedError{Role: role, Remedy: remedy, Err: err}
}

func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// MigrationSQL is the migrations as plain SQL for a DBA. It may be run again: steps done are skipped.
func MigrationSQL(schema string) string {
	var b strings.Builder
	b.WriteString("CREATE SCHEMA IF NOT EXISTS {{schema}};\n" + migrationTable + ";\n")
	for _, m := range migrations() {
		fmt.Fprintf(&b, "DO {{tag}} BEGIN\nIF NOT EXISTS (SELECT FROM {{schema}}.migration WHERE version = %d) THEN\n%s", m.version, m.sql)
		fmt.Fprintf(&b, "INSERT INTO {{schema}}.migration (version, name) VALUES (%d, '%s');\nEND IF;\nEND {{tag}};\n", m.version, m.name)
	}
	return script(schema, b.String())
}

// script fills in the schema, and dollar quotes that its name does not end.
func script(schema, text string) string {
	tag := "$relay$"
	for strings.Contains(schema, tag) {
		tag = tag[:len(tag)-1] + "_$"
	}
	return strings.NewReplacer("{{schema}}", quote(schema), "{{tag}}", tag).Replace(text)
}

var created = regexp.MustCompile(`CREATE (?:TABLE|VIEW|SEQUENCE)(?: IF NOT EXISTS)? {{schema}}\.(\w+)`)

// GrantSQL makes a role that did not make the tables their owner, so that a newer relay can migrate them as that role. It
// names each of them: in a schema that has others, those are none of the role's business.
func GrantSQL(schema, role string) string {
	var b, text strings.Builder
	text.WriteString(migrationTable)
	for _, m := range migrations() {
		text.WriteString(m.sql)
	}
	b.WriteString("GRANT USAGE, CREATE ON SCHEMA {{schema}} TO {{role}};\n")
	for _, match := range created.FindAllStringSubmatch(text.String(), -1) {
		fmt.Fprintf(&b, "ALTER TABLE IF EXISTS {{schema}}.%s OWNER TO {{role}};\n", match[1]) // views and sequences too
	}
	return strings.NewReplacer("{{schema}}", quote(schema), "{{role}}", quote(role)).Replace(b.String())
}
