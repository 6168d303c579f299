package campaign

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/cdc/cdctest"
	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	der  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var err error
	a.der, err = x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(a.der)
	require.NoError(t, err)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// write writes the certificate of the authority.
func (a *authority) write(path string) string {
	a.t.Helper()
	require.NoError(a.t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.der}), 0o644))
	return path
}

// issue writes a certificate for a name, and its key.
func (a *authority) issue(dir, file, name string, ips ...net.IP) (cert, key string) {
	a.t.Helper()
	private := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name}, IPAddresses: ips,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	require.NoError(a.t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(a.t, err)
	cert, key = filepath.Join(dir, file+".crt"), filepath.Join(dir, file+".key")
	require.NoError(a.t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	require.NoError(a.t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return cert, key
}

// adopt gives files to whoever the server runs as.
func adopt(t *testing.T, c *pgtemp.Cluster, paths ...string) {
	t.Helper()
	info, err := os.Stat(filepath.Join(c.Dir, "data"))
	require.NoError(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	for _, path := range paths {
		require.NoError(t, os.Chown(path, int(owner.Uid), int(owner.Gid)))
	}
}

// demanding is a cluster that takes each role in its own way: postgres as it comes, but over TCP only with TLS; "certified"
// with a certificate; "known" with a password.
func demanding(t *testing.T, ca *authority) *pgtemp.Cluster {
	t.Helper()
	c := pgtest.Cluster(t, pgtemp.Options{Settings: map[string]string{"unix_socket_directories": ".", "wal_sender_timeout": "0"}})
	s := NewSystem(t, c.URL("postgres"))
	conn := s.Connect()
	data := filepath.Join(c.Dir, "data")
	root := ca.write(filepath.Join(data, "root.crt"))
	cert, key := ca.issue(data, "server", "db.example.com", net.IPv4(127, 0, 0, 1))
	hba := filepath.Join(data, "pg_hba.conf")
	require.NoError(t, os.WriteFile(hba, []byte(`local all all trust
hostssl all certified all cert
host all known all scram-sha-256
host all hurried all trust
hostssl all all all trust
host replication postgres all trust
hostnossl postgres postgres all trust
`), 0o600))
	adopt(t, c, root, cert, key, hba)
	for _, sql := range []string{
		"CREATE ROLE certified SUPERUSER LOGIN", "CREATE ROLE known SUPERUSER LOGIN PASSWORD 'hidden word'", "CREATE ROLE hurried SUPERUSER LOGIN",
		"ALTER ROLE hurried SET statement_timeout = '150ms'", "ALTER ROLE hurried SET lock_timeout = '50ms'",
		"ALTER ROLE hurried SET idle_in_transaction_session_timeout = '50ms'", "ALTER ROLE hurried SET idle_session_timeout = '300ms'",
		"ALTER SYSTEM SET ssl = on", "ALTER SYSTEM SET ssl_ca_file = 'root.crt'", "SELECT pg_reload_conf()",
	} {
		execute(t, conn, sql)
	}
	return c
}

// Every way to say where the database is and who one is works for all of relay's connections: of replication, of the pool, of
// the lock and of the listener.
func TestConnections_OfEveryKindDeliver(t *testing.T) {
	t.Parallel()
	ca, dir := newAuthority(t), t.TempDir()
	c := demanding(t, ca)
	root := ca.write(filepath.Join(dir, "ca.crt"))
	stranger := newAuthority(t).write(filepath.Join(dir, "stranger.crt"))
	cert, key := ca.issue(dir, "client", "certified")
	pass, service := filepath.Join(dir, "pass"), filepath.Join(dir, "service")
	require.NoError(t, os.WriteFile(pass, []byte("127.0.0.1:*:*:known:hidden word\n"), 0o600))
	standby, err := pgtemp.Standby(t.Context(), c, map[string]string{"ssl": "off"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = standby.Stop() }) // it is thrown away

	host := fmt.Sprintf("127.0.0.1:%d", c.Port)
	plain := "postgres://hurried@" + host + "/%s?sslmode=disable"
	cases := map[string]struct {
		url  string   // %s: the database
		env  []string // for relay
		want string   // what it complains of; empty: it delivers
		ssl  bool
	}{
		"disable":                        {url: plain},
		"disable where TLS is asked for": {url: "postgres://postgres@" + host + "/%s?sslmode=disable", want: "the server refuses role"},
		"prefer":                         {url: "postgres://postgres@" + host + "/%s?sslmode=prefer", ssl: true},
		"require":                        {url: "postgres://postgres@" + host + "/%s?sslmode=require", ssl: true},
		"verify-ca":                      {url: "postgres://postgres@" + host + "/%s?sslmode=verify-ca&sslrootcert=" + root, ssl: true},
		"verify-ca of a stranger":        {url: "postgres://postgres@" + host + "/%s?sslmode=verify-ca&sslrootcert=" + stranger, want: "certificate"},
		"verify-full":                    {url: "postgres://postgres@" + host + "/%s?sslmode=verify-full&sslrootcert=" + root, ssl: true},
		"verify-full of another name":    {url: fmt.Sprintf("postgres://postgres@localhost:%d/%%s?sslmode=verify-full&sslrootcert=%s", c.Port, root), want: "certificate"},
		"client certificate":             {url: "postgres://certified@" + host + "/%s?sslmode=verify-full&sslrootcert=" + root + "&sslcert=" + cert + "&sslkey=" + key, ssl: true},
		"no client certificate":          {url: "postgres://certified@" + host + "/%s?sslmode=require", want: "the server refuses role"},
		"passfile":                       {url: "postgres://known@" + host + "/%s?sslmode=require", env: []string{"PGPASSFILE=" + pass}, ssl: true},
		"no password":                    {url: "postgres://known@" + host + "/%s?sslmode=require", want: "password"},
		"service":                        {url: "service=outbox dbname=%s", env: []string{"PGSERVICEFILE=" + service}, ssl: true},
		"keywords":                       {url: fmt.Sprintf("host=127.0.0.1 port=%d user=postgres dbname=%%s sslmode=require", c.Port), ssl: true},
		"what libpq alone knows":         {url: plain + "&keepalives=1&keepalives_idle=30&gssencmode=disable&sslcompression=0&load_balance_hosts=disable&options=-c%%20work_mem%%3D8MB"},
		"unix socket":                    {url: fmt.Sprintf("host=%s port=%d user=postgres dbname=%%s", filepath.Join(c.Dir, "data"), c.Port)},
		"dead first host":                {url: "postgres://hurried@127.0.0.1:1," + host + "/%s?sslmode=disable"},
		"standby first": {
			url: fmt.Sprintf("postgres://hurried@127.0.0.1:%d,%s/%%s?sslmode=disable&target_session_attrs=read-write", standby.Port, host),
		},
	}
	require.NoError(t, os.WriteFile(service, fmt.Appendf(nil, "[outbox]\nhost=127.0.0.1\nport=%d\nuser=known\npassword=hidden word\nsslmode=require\n", c.Port), 0o600))
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			database := "db_" + strings.Map(func(r rune) rune {
				if r == ' ' || r == '-' {
					return '_'
				}
				return r
			}, strings.ToLower(name))
			_, err := c.CreateDatabase(t.Context(), database)
			require.NoError(t, err)
			s := NewSystem(t, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=require", host, database))
			s.Subscribe("all", "", nil)
			s.Setup()
			require.NoError(t, standby.CaughtUp(t.Context(), c))
			s.Via = fmt.Sprintf(test.url, database)
			s.Write()
			s.Relay = s.Spawn(test.env...)
			if test.want != "" {
				s.complains(test.want)
				return
			}
			s.delivers(1)
			rows, err := s.Connect().Query(t.Context(), `SELECT a.pid, s.ssl FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid)
				WHERE a.datname = current_database() AND a.application_name = 'relay'`)
			require.NoError(t, err)
			connections := 0
			for rows.Next() {
				var pid int
				var ssl bool
				require.NoError(t, rows.Scan(&pid, &ssl))
				require.Equal(t, test.ssl, ssl)
				connections++
			}
			require.NoError(t, rows.Err())
			require.GreaterOrEqual(t, connections, 4, "stream, lock, listener, pool")
			require.NotContains(t, s.Relay.Log(), "hidden word")
			s.Stop()
			s.Verdict()
		})
	}
}

// What a role or a database has set against idle and slow sessions is not for relay, which is both: by design.
func TestConnections_OutliveTheTimeoutsOfTheirRole(t *testing.T) {
	t.Parallel()
	c := demanding(t, newAuthority(t))
	s := NewSystem(t, fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", c.Port))
	e := s.Subscribe("all", "", nil)
	down := s.Subscribe("down", "", nil)
	require.NoError(t, down.Set(Failing)) // so that the pool has something to do
	s.Setup()
	s.Via = fmt.Sprintf("postgres://hurried@127.0.0.1:%d/postgres?sslmode=disable", c.Port)
	s.Write()
	s.Start()
	s.Bulk(1, 2000, 0)
	s.Await(20*time.Second, "delivers", func() bool { return e.Good() == 2000 })
	conn := s.Connect()
	long := func() (pids []int32) { // the connections that live long; those of the pool come and go
		s.Await(20*time.Second, "three of them", func() bool {
			err := conn.QueryRow(t.Context(), `SELECT array_agg(pid ORDER BY pid) FROM (
			  SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1
			  UNION SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ExclusiveLock' AND pid IN (SELECT pid FROM pg_stat_activity WHERE query LIKE '-- ping%')
			  UNION SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%') p WHERE pid IS NOT NULL`, s.Slot).Scan(&pids)
			return err == nil && len(pids) == 3
		})
		return pids
	}
	before := long()
	execute(t, conn, "BEGIN")
	execute(t, conn, "LOCK TABLE relay.delivery IN EXCLUSIVE MODE")
	s.Bulk(2, 100, 0)
	time.Sleep(2 * time.Second) // longer than each of the timeouts, waiting for a lock and idle
	execute(t, conn, "COMMIT")
	require.Equal(t, before, long(), "none of them had to connect anew")
	require.NotContains(t, s.Relay.Log(), "timeout")
	require.NotContains(t, s.Relay.Log(), "not reachable")
	require.NoError(t, down.Set(Healthy))
	s.Drained(time.Minute)
	s.Stop()
	s.Verdict()
}

// A server that says nothing, on connections that stay open, is noticed by the lock within seconds, and streaming goes on when
// it is back.
func TestConnections_NoticeASilentServer(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	proxy := cdctest.NewProxy(t, s.URL)
	s.Subscribe("all", "", nil)
	s.Setup()
	s.Via = proxy.URL
	s.Write()
	s.Start()
	s.delivers(1)
	stalled := time.Now()
	proxy.Stall()
	s.Await(15*time.Second, "it is not ready", func() bool {
		code, text := s.Relay.Get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(text, "not delivering")
	})
	t.Log("noticed within", time.Since(stalled))
	proxy.Resume()
	s.delivers(2)
	s.Broken("stalled", stalled, slackBefore, slackDatabase)
	s.Stop()
	s.Verdict()
}
