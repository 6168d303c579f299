package main

import (
	"debug/elf"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
	"relay/mapping"
)

const compose = "examples/compose"

// composeService is as much of Compose's format as the example uses.
type composeService struct {
	Image string
	Build struct{ Context, Dockerfile, Target string }

	Command     []string
	Environment map[string]string
	Volumes     []string
	Ports       []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Restart     string
	Healthcheck struct {
		Test              []string
		Interval, Timeout time.Duration
		StartPeriod       time.Duration `yaml:"start_period"`
		Retries           int
	}
	StopGracePeriod time.Duration `yaml:"stop_grace_period"`

	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	MemLimit    string   `yaml:"mem_limit"`
}

var composeDefault = regexp.MustCompile(`\$\{[A-Z_]+:-([^}]*)\}`)

func composeServices(t *testing.T) map[string]composeService {
	t.Helper()
	var file struct {
		Name     string
		Relay    composeService `yaml:"x-relay"`
		Services map[string]composeService
		Volumes  map[string]any
	}
	text := composeDefault.ReplaceAllString(readDoc(t, compose+"/compose.yaml"), "$1")
	require.NotContains(t, text, "${")
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	require.NoError(t, d.Decode(&file))
	for name, s := range file.Services {
		for _, volume := range s.Volumes {
			from, _, _ := strings.Cut(volume, ":")
			if _, named := file.Volumes[from]; !named {
				_, err := os.Stat(filepath.Join(examples, "compose", from))
				require.NoError(t, err, name)
			}
		}
		for other, on := range s.DependsOn {
			require.Contains(t, file.Services, other, name)
			require.Equal(t, on.Condition == "service_healthy", file.Services[other].Healthcheck.Test != nil, "%s waits for %s", name, other)
		}
	}
	return file.Services
}

// dockerfile is the instructions of each stage.
func dockerfile(t *testing.T) map[string][]string {
	t.Helper()
	stages, stage := map[string][]string{}, ""
	text := strings.ReplaceAll(readDoc(t, compose+"/Dockerfile"), "\\\n", "")
	for line := range strings.Lines(text) {
		line = strings.Join(strings.Fields(line), " ")
		if from, name, ok := strings.Cut(line, " AS "); ok && strings.HasPrefix(from, "FROM ") {
			stage = name
		}
		if line != "" && line[0] != '#' {
			stages[stage] = append(stages[stage], line)
		}
	}
	return stages
}

func TestTheComposeExampleFitsRelayAndItsImage(t *testing.T) {
	t.Parallel()
	services := composeServices(t)
	stages := dockerfile(t)
	for _, name := range []string{"setup", "relay", "receiver", "app"} {
		s := services[name]
		require.Contains(t, stages, s.Build.Target, name)
		require.FileExists(t, filepath.Join(examples, "compose", s.Build.Context, s.Build.Dockerfile), name)
		require.Contains(t, stages[s.Build.Target], "USER 65532:65532", name)
	}
	require.Contains(t, stages["relay"], "COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt")
	require.Contains(t, stages["relay"], `ENTRYPOINT ["/relay"]`)
	require.Contains(t, stages["relay"], `CMD ["run", "-c", "/etc/relay/relay.yaml"]`)
	requireCommand(t, []string{"run", "-c", "/etc/relay/relay.yaml"}, "run", "/etc/relay/relay.yaml")

	r := services["relay"]
	requireCommand(t, services["setup"].Command, "setup", "/etc/relay/relay.yaml")
	require.Equal(t, []string{"CMD", "/relay"}, r.Healthcheck.Test[:2])
	requireCommand(t, r.Healthcheck.Test[2:], "status", "/etc/relay/relay.yaml")
	require.Greater(t, r.Healthcheck.Timeout, statusTimeout)
	cfg, err := mapping.Parse("relay.yaml", []byte(readDoc(t, compose+"/relay/relay.yaml")), func(name string) (string, bool) {
		value, ok := r.Environment[name]
		return value, ok
	})
	require.NoError(t, err)
	require.Greater(t, r.StopGracePeriod, cfg.ShutdownTimeout+adminStopTimeout)
	_, port, err := net.SplitHostPort(cfg.Admin.Listen)
	require.NoError(t, err)
	require.Equal(t, []string{"127.0.0.1:" + port + ":" + port}, r.Ports)
	require.Contains(t, stages["relay"], "EXPOSE "+port)
	require.Contains(t, services["postgres"].Command, "wal_level=logical")
}

func TestDockerComposeAgreesWithTheExample(t *testing.T) {
	t.Parallel()
	if err := exec.CommandContext(t.Context(), "docker", "compose", "version").Run(); err != nil {
		t.Skip("skipped: docker compose is not on this machine")
	}
	out, err := exec.CommandContext(t.Context(), "docker", "compose", "-f", examples+"/compose/compose.yaml", "config", "--quiet").CombinedOutput()
	require.NoError(t, err, string(out))
}

var goBuild = regexp.MustCompile(`go build (.+) -o /out/ (.+)`)

// buildAsTheImage builds the programs with the command of the Dockerfile and returns their folder.
func buildAsTheImage(t *testing.T) string {
	t.Helper()
	build := strings.Join(dockerfile(t)["build"], "\n")
	require.Contains(t, build, "ENV CGO_ENABLED=0")
	found := goBuild.FindStringSubmatch(build)
	require.NotNil(t, found)
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "go build "+found[1]+" -o "+out+" "+found[2])
	cmd.Dir, cmd.Env = repository, append(os.Environ(), "CGO_ENABLED=0", "VERSION=1.2.3")
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, string(text))
	if runtime.GOOS == "linux" {
		f, err := elf.Open(filepath.Join(out, "relay"))
		require.NoError(t, err)
		defer f.Close() //nolint:errcheck // it was only read
		for _, p := range f.Progs {
			require.NotEqual(t, elf.PT_INTERP, p.Type, "not static: it would not start in the image")
		}
	}
	return out
}

// composed runs the services as processes of this machine: names of containers and their paths become those here.
type composed struct {
	t        *testing.T
	services map[string]composeService
	programs string
	replace  []string
}

func (c *composed) command(service string, args ...string) (*exec.Cmd, *syncBuffer) {
	s := c.services[service]
	replacer := strings.NewReplacer(c.replace...)
	program := map[string]string{"relay": "relay", "app": "orders"}[s.Build.Target]
	cmd := exec.Command(filepath.Join(c.programs, program))
	for _, arg := range args {
		cmd.Args = append(cmd.Args, replacer.Replace(arg))
	}
	for name, value := range s.Environment {
		cmd.Env = append(cmd.Env, name+"="+replacer.Replace(value))
	}
	var out syncBuffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.t.TempDir(), &out, &out
	return cmd, &out
}

func (c *composed) start(service string, args ...string) (*exec.Cmd, *syncBuffer) {
	c.t.Helper()
	cmd, out := c.command(service, args...)
	require.NoError(c.t, cmd.Start())
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if c.t.Failed() {
			c.t.Logf("%s:\n%s", service, out)
		}
	})
	return cmd, out
}

func (c *composed) eventually(cond func() bool, what string) {
	c.t.Helper()
	require.Eventually(c.t, cond, 30*time.Second, 50*time.Millisecond, what)
}

var listening = regexp.MustCompile(`listening at http://\S+:(\d+),`)

func TestTheComposeExampleDeliversWhenItsCommandsRunHere(t *testing.T) {
	t.Parallel()
	url, err := pgtest.Cluster(t, pgtemp.Options{}).CreateDatabase(t.Context(), "shop")
	require.NoError(t, err)
	c := &composed{t: t, services: composeServices(t), programs: buildAsTheImage(t)}
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context())                                          //nolint:errcheck // a test's connection
	_, err = conn.Exec(t.Context(), readDoc(t, "examples/sql/schema.sql")) // Postgres's part
	require.NoError(t, err)

	c.replace = []string{"4000", "0"}
	receiver, received := c.start("receiver", c.services["receiver"].Command...)
	c.eventually(func() bool { return listening.MatchString(received.String()) }, "the receiver listens")
	config := filepath.Join(t.TempDir(), defaultConfig)
	c.replace = []string{
		"postgres://postgres:example@postgres:5432/shop", url, "/etc/relay/relay.yaml", config,
		"http://receiver:4000", "http://127.0.0.1:" + listening.FindStringSubmatch(received.String())[1], "9187", freePort(t),
	}
	text := strings.NewReplacer(c.replace...).Replace(readDoc(t, compose+"/relay/relay.yaml"))
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))

	setup, out := c.command("setup", c.services["setup"].Command...)
	require.NoError(t, setup.Run(), out)
	relay, _ := c.start("relay", "run", "-c", "/etc/relay/relay.yaml")
	app, _ := c.start("app", c.services["app"].Command...)
	healthy := func() bool {
		probe, _ := c.command("relay", c.services["relay"].Healthcheck.Test[2:]...)
		return probe.Run() == nil
	}
	c.eventually(healthy, "relay is healthy")
	c.eventually(func() bool { return strings.Count(received.String(), `"type":"order.created"`) >= 2 }, "an order each second")
	require.NotContains(t, received.String(), " 401 ")

	require.NoError(t, receiver.Process.Kill())
	c.eventually(func() bool {
		status, _ := c.command("relay", "status", "-c", "/etc/relay/relay.yaml")
		return status.Run() != nil
	}, "an endpoint that is down needs a person")
	require.True(t, healthy(), "and no restart")
	for _, cmd := range []*exec.Cmd{app, relay} {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, cmd.Wait(), cmd.Args)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close() //nolint:errcheck // it was only asked
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}
