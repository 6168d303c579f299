package mapping

import (
	"errors"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"gopkg.in/yaml.v3"
)

func (v value) source(s *Source) {
	v.mapping("source keys", fields{
		"url":          func(v value) { v.databaseURL(&s.URL) },
		"slot":         func(v value) { v.slot(&s.Slot) },
		"publication":  func(v value) { v.identifier(&s.Publication) },
		"schema":       func(v value) { v.schema(&s.Schema) },
		"tables":       func(v value) { v.tables(&s.Tables) },
		"messages":     func(v value) { v.messages(&s.Messages) },
		"existing":     func(v value) { v.nonEmpty(&s.Existing, "skip, send or an SQL condition") },
		"on_slot_lost": func(v value) { v.enum(&s.OnSlotLost, SlotLostStop, SlotLostRecreate) },
		"window":       func(v value) { v.window(&s.Window) },
		"hold":         func(v value) { v.durationAbove(&s.Hold, 0) },
	})
	if len(s.Tables) == 0 && len(s.Messages) == 0 {
		v.d.failAt("found no table and no prefix in source.messages, expected something to read", "source.tables")
	}
}

// databaseURL stores a libpq URL or keyword list. Nothing of it is ever printed: it may hold a password, and where it
// does not parse nobody can tell which part that is.
func (v value) databaseURL(to *string) {
	v.secret = true
	s, ok := v.str("a libpq URL or keywords")
	if !ok {
		return
	}
	*to = s
	if s == "" {
		return // the PG* variables say it all
	}
	if scheme, _, found := strings.Cut(s, "://"); found && scheme != "postgres" && scheme != "postgresql" {
		v.fail("found another kind of URL, expected postgres://user@host:port/database")
		return
	}
	if _, err := pgconn.ParseConfig(s); err != nil {
		v.fail("cannot be parsed as a libpq URL or keywords%s; percent-encode special characters in a password", reason(err))
	}
}

// reason returns the part of pgconn's message that is its own words.
func reason(err error) string {
	if _, ok := errors.AsType[*pgconn.ParseConfigError](err); !ok {
		return ""
	}
	text := err.Error()
	text = text[strings.LastIndex(text, "`: ")+1:]
	text, _, _ = strings.Cut(text, " (")
	return text
}

var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

func (v value) slot(to *string) {
	const expected = "up to 63 lower-case letters, digits and underscores"
	if v.nonEmpty(to, expected) && !slotName.MatchString(*to) {
		v.failFound(expected)
	}
}

func isIdentifier(s string) bool { return s != "" && len(s) <= 63 && !strings.ContainsRune(s, 0) }

// identifier stores a name as it stands in the catalog: unquoted, its case kept.
func (v value) identifier(to *string) {
	const expected = "a name of up to 63 bytes"
	if v.nonEmpty(to, expected) && !isIdentifier(*to) {
		v.failFound(expected)
	}
}

// maxSchema leaves room in the name of the channel by which commands reach a running relay (park.Store.Listen): it is relay_ and
// the schema, and like any identifier in Postgres at most 63 bytes. A longer one LISTEN cuts off and pg_notify refuses.
const maxSchema = 63 - len("relay_")

func (v value) schema(to *string) {
	expected := "a name of up to " + strconv.Itoa(maxSchema) + " bytes"
	if v.nonEmpty(to, expected) && (!isIdentifier(*to) || len(*to) > maxSchema) {
		v.failFound(expected + ": with relay_ before it, it names a notification channel, and an identifier in Postgres is at most 63 bytes")
	}
	if strings.HasPrefix(*to, "pg_") {
		v.fail("found a name that starts with pg_, which Postgres keeps for itself, expected another")
	}
}

func (v value) tables(to *[]Table) {
	v.about.standard([]map[string]string{{"name": defaultTable().String()}})
	items, ok := v.list("a list of tables, each with its name")
	if !ok {
		return
	}
	tables, seen := []Table{}, map[string]bool{}
	for _, item := range items {
		t := item.table()
		if t.Name != "" && seen[t.String()] {
			item.fail("table %s is listed twice", t)
		}
		seen[t.String()] = true
		tables = append(tables, t)
	}
	*to = tables
}

func (v value) table() Table {
	t, named := defaultTable(), false
	t.Name = ""
	v.mapping("name, columns and retention", fields{
		"name":      func(v value) { named = true; v.tableName(&t) },
		"columns":   func(v value) { v.columns(&t.Columns) },
		"retention": func(v value) { v.duration(&t.Retention, 0) },
	})
	v.about.require("name")
	if !named && (v.node.Kind == yaml.MappingNode || v.isNull()) {
		v.fail("found no name, expected name: schema.table")
	}
	return t
}

var qualified = regexp.MustCompile(`^(?:([^."]+|"(?:[^"]|"")+")\.)?([^."]+|"(?:[^"]|"")+")$`)

// tableName stores a table's name. Parts are as in the catalog; double quotes are for a part with a dot.
func (v value) tableName(t *Table) {
	const expected = "schema.table"
	var s string
	if !v.nonEmpty(&s, expected) {
		return
	}
	m := qualified.FindStringSubmatch(s)
	if m == nil {
		v.failFound(expected)
		return
	}
	t.Name = unquote(m[2])
	if m[1] != "" {
		t.Schema = unquote(m[1])
	}
	if !isIdentifier(t.Name) || !isIdentifier(t.Schema) {
		v.failFound("names of up to 63 bytes")
	}
}

func unquote(s string) string {
	if len(s) > 1 && s[0] == '"' {
		return strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
	}
	return s
}

func (v value) columns(c *Columns) {
	column := func(key string, to *string) func(value) {
		return func(v value) {
			v.identifier(to)
			c.Named[key] = true
		}
	}
	v.mapping("column names", fields{
		"id":      column("id", &c.ID),
		"type":    column("type", &c.Type),
		"key":     column("key", &c.Key),
		"payload": column("payload", &c.Payload),
		"headers": column("headers", &c.Headers),
		"time":    column("time", &c.Time),
	})
}

func (v value) messages(to *[]string) {
	v.strings(to, "a prefix of pg_logical_emit_message")
	seen := map[string]bool{}
	for _, prefix := range *to {
		if seen[prefix] {
			v.fail("prefix %q is listed twice", prefix)
		}
		seen[prefix] = true
	}
}

func (v value) window(w *Window) {
	v.mapping("events and bytes", fields{
		"events": func(v value) { v.integer(&w.Events, 1) },
		"bytes":  func(v value) { v.size(&w.Bytes) },
	})
}

func (v value) admin(a *Admin) {
	v.mapping("listen and token", fields{
		"listen": func(v value) { v.listen(&a.Listen) },
		"token":  func(v value) { v.token(&a.Token) },
	})
	if a.Token == "" && a.Listen != "" && !isLoopback(a.Listen) {
		v.d.failAt("found no admin.token, expected one when admin.listen is not a loopback address",
			"admin.token", "admin.listen")
	}
}

// listen stores host:port; an empty one turns the admin interface off.
func (v value) listen(to *string) {
	const expected = "host:port, as in 127.0.0.1:9187"
	v.about.standard(*to)
	s, ok := v.str(expected)
	if !ok {
		return
	}
	if s != "" {
		_, port, err := net.SplitHostPort(s)
		if n, convErr := strconv.ParseUint(port, 10, 16); err != nil || convErr != nil || n > 65535 {
			v.failFound(expected)
			return
		}
	}
	*to = s
}

func (v value) token(to *string) {
	v.secret = true
	if s, ok := v.str("a token"); ok {
		if !isHeaderValue(s) {
			v.fail("found characters that no header can carry, expected printable ones")
			return
		}
		*to = s
	}
}

func isLoopback(listen string) bool {
	host, _, _ := net.SplitHostPort(listen)
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

func (v value) log(l *Log) {
	v.mapping("level and format", fields{
		"level": func(v value) {
			level := strings.ToLower(l.Level.String())
			v.enum(&level, "debug", "info", "warn", "error")
			_ = l.Level.UnmarshalText([]byte(level)) //nolint:errcheck // enum accepts only what it knows
		},
		"format": func(v value) { v.enum(&l.Format, "text", "json") },
	})
}
