package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"relay/delivery/deliverytest"
	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
	"relay/mapping"
)

const kubernetes = "examples/kubernetes"

// These are as much of Kubernetes's types as the examples use.
type (
	kubePod struct {
		TerminationGracePeriodSeconds int             `yaml:"terminationGracePeriodSeconds"`
		RestartPolicy                 string          `yaml:"restartPolicy"`
		InitContainers                []kubeContainer `yaml:"initContainers"`
		Containers                    []kubeContainer
		Volumes                       []struct {
			Name      string
			ConfigMap struct{ Name string } `yaml:"configMap"`
			Secret    struct {
				SecretName string `yaml:"secretName"`
				Items      []struct{ Key, Path string }
			}
		}
		Affinity any
	}
	kubeContainer struct {
		Name, Image     string
		RestartPolicy   string `yaml:"restartPolicy"`
		Args            []string
		Env             []kubeEnv
		Ports           []kubePort
		StartupProbe    *kubeProbe                                `yaml:"startupProbe"`
		LivenessProbe   *kubeProbe                                `yaml:"livenessProbe"`
		ReadinessProbe  *kubeProbe                                `yaml:"readinessProbe"`
		Resources       struct{ Requests, Limits map[string]any } // quantities
		SecurityContext map[string]any                            `yaml:"securityContext"`
		VolumeMounts    []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	kubeEnv struct {
		Name, Value string
		ValueFrom   struct {
			SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
		} `yaml:"valueFrom"`
	}
	kubePort struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	kubeProbe struct {
		HTTPGet          struct{ Path, Port string } `yaml:"httpGet"`
		PeriodSeconds    int                         `yaml:"periodSeconds"`
		TimeoutSeconds   int                         `yaml:"timeoutSeconds"`
		FailureThreshold int                         `yaml:"failureThreshold"`
	}
	kubeWorkload struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct{ Name string }
		Spec       struct {
			Replicas                int
			BackoffLimit            int `yaml:"backoffLimit"`
			TTLSecondsAfterFinished int `yaml:"ttlSecondsAfterFinished"`
			Selector                struct {
				MatchLabels map[string]string `yaml:"matchLabels"`
			}
			Strategy any
			Template struct {
				Metadata struct{ Labels map[string]string }
				Spec     kubePod
			}
		}
	}
)

// kubeDocs decodes the documents of a manifest, each into the next of to.
func kubeDocs(t *testing.T, name string, to ...any) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(readDoc(t, kubernetes+"/"+name)))
	d.KnownFields(true)
	for _, doc := range to {
		require.NoError(t, d.Decode(doc), name)
	}
	require.ErrorIs(t, d.Decode(new(any)), io.EOF, "more documents in %s", name)
}

type kubeData struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name string }
	Data       map[string]string
	StringData map[string]string `yaml:"stringData"`
}

// kubeConfig is the ConfigMap's relay.yaml and what the Secret holds.
func kubeConfig(t *testing.T) (text string, secret map[string]string) {
	t.Helper()
	var config, secrets kubeData
	kubeDocs(t, "config.yaml", &config, &secrets)
	require.Equal(t, "ConfigMap relay", config.Kind+" "+config.Metadata.Name)
	require.Equal(t, "Secret relay", secrets.Kind+" "+secrets.Metadata.Name)
	return config.Data["relay.yaml"], secrets.StringData
}

// relayOf is the container of a workload that runs relay's image.
func (w *kubeWorkload) relayOf(t *testing.T) kubeContainer {
	t.Helper()
	for _, c := range append(w.Spec.Template.Spec.InitContainers, w.Spec.Template.Spec.Containers...) {
		if strings.HasPrefix(c.Image, "relay:") {
			return c
		}
	}
	require.Fail(t, "no relay in "+w.Metadata.Name)
	return kubeContainer{}
}

// kubeLoad loads the ConfigMap's relay.yaml as it is in the container: with its environment, and its files.
func kubeLoad(t *testing.T, w *kubeWorkload) *mapping.Config {
	t.Helper()
	text, secret := kubeConfig(t)
	c := w.relayOf(t)
	folder := t.TempDir()
	for _, mount := range c.VolumeMounts {
		require.True(t, mount.ReadOnly)
		for _, v := range w.Spec.Template.Spec.Volumes {
			for _, item := range v.Secret.Items {
				require.Contains(t, secret, item.Key)
				if v.Name == mount.Name {
					require.NoError(t, os.WriteFile(filepath.Join(folder, item.Path), []byte(secret[item.Key]), 0o600))
					text = strings.ReplaceAll(text, "${file:"+mount.MountPath+"/"+item.Path, "${file:"+folder+"/"+item.Path)
				}
			}
		}
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
		if ref := e.ValueFrom.SecretKeyRef; ref.Key != "" {
			require.Equal(t, "relay", ref.Name)
			require.Contains(t, secret, ref.Key)
			env[e.Name] = secret[ref.Key]
		}
	}
	cfg, err := mapping.Parse("relay.yaml", []byte(text), func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	require.NoError(t, err)
	return cfg
}

func TestTheKubernetesManifestsFitTogether(t *testing.T) {
	t.Parallel()
	var monitor struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct{ Name string }
		Spec       struct {
			Selector struct {
				MatchLabels map[string]string `yaml:"matchLabels"`
			}
			PodMetricsEndpoints []struct {
				Port, Path    string
				Authorization struct{ Credentials struct{ Name, Key string } }
			} `yaml:"podMetricsEndpoints"`
		}
	}
	kubeDocs(t, "podmonitor.yaml", &monitor)
	_, secret := kubeConfig(t)
	scraped := monitor.Spec.PodMetricsEndpoints[0]
	require.Equal(t, "/metrics", scraped.Path)
	require.Equal(t, "relay", scraped.Authorization.Credentials.Name)
	for _, name := range []string{"sidecar.yaml", "standalone.yaml"} {
		var w kubeWorkload
		kubeDocs(t, name, &w)
		c, pod := w.relayOf(t), w.Spec.Template.Spec
		cfg := kubeLoad(t, &w)
		requireCommand(t, c.Args, "run", "/etc/relay/config/relay.yaml")
		require.Equal(t, []kubePort{{scraped.Port, portOf(t, cfg.Admin.Listen)}}, c.Ports, name)
		require.Equal(t, secret[scraped.Authorization.Credentials.Key], cfg.Admin.Token, name)
		require.Subset(t, w.Spec.Template.Metadata.Labels, monitor.Spec.Selector.MatchLabels, name)
		require.Subset(t, w.Spec.Template.Metadata.Labels, w.Spec.Selector.MatchLabels, name)
		require.Greater(t, time.Duration(pod.TerminationGracePeriodSeconds)*time.Second, cfg.ShutdownTimeout+adminStopTimeout, name)
		require.Equal(t, true, c.SecurityContext["readOnlyRootFilesystem"], name)
		require.Less(t, mebibytes(t, c.env("GOMEMLIMIT")), mebibytes(t, fmt.Sprint(c.Resources.Limits["memory"])), name)
		require.Less(t, cfg.Source.Window.Bytes, int64(mebibytes(t, c.env("GOMEMLIMIT")))<<20, name)
		for _, probe := range []*kubeProbe{c.StartupProbe, c.LivenessProbe} {
			require.Equal(t, struct{ Path, Port string }{"/healthz", scraped.Port}, probe.HTTPGet, name)
		}
		if name == "sidecar.yaml" {
			require.Equal(t, "Always", pod.InitContainers[0].RestartPolicy, "what makes it a sidecar")
			require.Nil(t, c.ReadinessProbe, "it would be the application's")
		} else {
			require.Equal(t, struct{ Path, Port string }{"/readyz", scraped.Port}, c.ReadinessProbe.HTTPGet)
		}
	}
	var setup kubeWorkload
	kubeDocs(t, "setup.yaml", &setup)
	kubeLoad(t, &setup)
	requireCommand(t, setup.relayOf(t).Args, "setup", "/etc/relay/config/relay.yaml")
}

func (c kubeContainer) env(name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

func portOf(t *testing.T, listen string) int {
	t.Helper()
	port, err := strconv.Atoi(listen[strings.LastIndex(listen, ":")+1:])
	require.NoError(t, err)
	return port
}

var mebi = regexp.MustCompile(`^(\d+)MiB?$`)

func mebibytes(t *testing.T, text string) int {
	t.Helper()
	found := mebi.FindStringSubmatch(text)
	require.NotNil(t, found, text)
	n, err := strconv.Atoi(found[1])
	require.NoError(t, err)
	return n
}

// kubectl decodes into Kubernetes's own types, and so leaves out what those do not have.
func TestKubectlKnowsEveryFieldOfTheManifests(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Skip("skipped: kubectl is not on this machine")
	}
	for _, name := range []string{"sidecar.yaml", "standalone.yaml", "setup.yaml"} {
		cmd := exec.CommandContext(t.Context(), "kubectl", "set", "serviceaccount", "--local", "-f", name, "default", "-o", "json")
		cmd.Dir = examples + "/kubernetes"
		out, err := cmd.Output()
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			require.NoError(t, err, string(failed.Stderr))
		}
		require.NoError(t, err)
		var ours, theirs map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(readDoc(t, kubernetes+"/"+name)), &ours))
		require.NoError(t, json.NewDecoder(bytes.NewReader(out)).Decode(&theirs))
		requireKept(t, name, ours, theirs)
	}
}

func requireKept(t *testing.T, path string, ours, theirs any) {
	t.Helper()
	switch ours := ours.(type) {
	case map[string]any:
		for key, value := range ours {
			require.Contains(t, theirs, key, path)
			requireKept(t, path+"."+key, value, theirs.(map[string]any)[key])
		}
	case []any:
		require.Len(t, theirs, len(ours), path)
		for i, value := range ours {
			requireKept(t, fmt.Sprintf("%s[%d]", path, i), value, theirs.([]any)[i])
		}
	}
}

func TestTheKubernetesExampleRunsAndTakesOverAChangedConfigMap(t *testing.T) {
	t.Parallel()
	url, err := pgtest.Cluster(t, pgtemp.Options{}).CreateDatabase(t.Context(), "shop")
	require.NoError(t, err)
	billing, search := deliverytest.New(t, nil), deliverytest.New(t, nil)
	text, secret := kubeConfig(t)
	mount, secrets := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(secrets, "billing-secret"), []byte(secret["billing-secret"]), 0o600))
	text = strings.NewReplacer("${DATABASE_URL}", url, "${ADMIN_TOKEN}", secret["admin-token"], `":9187"`, `":0"`,
		"format: json", "format: text", // which is what Admin reads
		"/etc/relay/secrets", secrets, "https://billing.example.com", billing.URL).Replace(text)
	mountConfigMap(t, mount, "..1", text)
	r := &running{t: t, URL: url, Config: filepath.Join(mount, "relay.yaml")}
	r.Conn, err = pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Conn.Close(t.Context()) })
	r.Start() // which waits for /readyz, without a token
	require.Equal(t, "ok\n", r.get("/healthz"))
	resp, err := http.Get(r.Admin() + "/metrics")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	r.Insert("order.created", `{"n": 1}`, "")
	billing.Wait(t, 1)

	mountConfigMap(t, mount, "..2", strings.Replace(text, "endpoints:\n", "endpoints:\n  search: {url: \""+search.URL+"\"}\n", 1))
	r.eventually(func() bool { return strings.Contains(r.Log(), "search") }, "the changed ConfigMap")
	r.Insert("order.created", `{"n": 2}`, "")
	search.Wait(t, 1)
	billing.Wait(t, 2)
	require.Len(t, search.Receipts(), 1)
	r.Stop()
}

// mountConfigMap puts relay.yaml into the folder as the kubelet does: the file is a link into a folder that is a link, and that
// is replaced by a rename.
func mountConfigMap(t *testing.T, folder, version, text string) {
	t.Helper()
	require.NoError(t, os.Mkdir(filepath.Join(folder, version), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(folder, version, "relay.yaml"), []byte(text), 0o600))
	require.NoError(t, os.Symlink(version, filepath.Join(folder, "..data_tmp")))
	old, _ := os.Readlink(filepath.Join(folder, "..data")) // none the first time
	require.NoError(t, os.Rename(filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data")))
	if old == "" {
		require.NoError(t, os.Symlink("..data/relay.yaml", filepath.Join(folder, "relay.yaml")))
		return
	}
	require.NoError(t, os.RemoveAll(filepath.Join(folder, old)))
}
