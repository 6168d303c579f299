package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"relay/delivery"
)

type alertRule struct {
	Alert, Expr         string
	For                 string
	Labels, Annotations map[string]string
}

func alertRules(t *testing.T) []alertRule {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []alertRule
		}
	}
	d := yaml.NewDecoder(strings.NewReader(readDoc(t, "examples/prometheus/alerts.yaml")))
	d.KnownFields(true)
	require.NoError(t, d.Decode(&file))
	require.Len(t, file.Groups, 1)
	return file.Groups[0].Rules
}

var (
	descOf    = regexp.MustCompile(`fqName: "([a-z_]+)".*variableLabels: \{([a-z,]*)\}`)
	metricUse = regexp.MustCompile(`\b(relay_[a-z_]+)(?:\{([^}]*)\})?`)
	labelUse  = regexp.MustCompile(`([a-z]+)=~?"([^"]*)"`)
	byLabels  = regexp.MustCompile(`\b(?:by|on) \(([a-z, ]+)\)`)
	command   = regexp.MustCompile("`relay ([^`]+)`")
)

// exportedMetrics are the labels of every metric that relay exports, by its name.
func exportedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	descs := make(chan *prometheus.Desc, 1000) // more than there are
	newMetrics(nil).registry.Describe(descs)
	close(descs)
	metrics := map[string][]string{}
	for d := range descs {
		if found := descOf.FindStringSubmatch(d.String()); found != nil {
			metrics[found[1]] = strings.Split(found[2], ",")
		}
	}
	require.Contains(t, metrics, "relay_rows_total")
	return metrics
}

func TestTheAlertsAreOverWhatRelayExports(t *testing.T) {
	t.Parallel()
	metrics := exportedMetrics(t)
	values := map[string][]string{
		"state": {string(delivery.Waiting), string(delivery.Dead)}, "status": walStatuses,
	}
	for _, reason := range delivery.AllReasons() {
		values["reason"] = append(values["reason"], string(reason))
	}
	for _, rule := range alertRules(t) {
		uses := metricUse.FindAllStringSubmatch(rule.Expr, -1)
		require.NotEmpty(t, uses, rule.Alert)
		for _, use := range uses {
			name := strings.TrimSuffix(use[1], "_bucket")
			require.Contains(t, metrics, name, rule.Alert)
			for _, label := range labelUse.FindAllStringSubmatch(use[2], -1) {
				require.Contains(t, metrics[name], label[1], rule.Alert)
				require.Subset(t, values[label[1]], strings.Split(label[2], "|"), rule.Alert)
			}
		}
		for _, by := range byLabels.FindAllStringSubmatch(rule.Expr, -1) {
			known := append([]string{"job", "le"}, metrics[strings.TrimSuffix(uses[0][1], "_bucket")]...)
			require.Subset(t, known, strings.Split(by[1], ", "), rule.Alert)
		}
	}
}

func TestTheAlertsSayWhatToDo(t *testing.T) {
	t.Parallel()
	tests := readDoc(t, "examples/prometheus/alerts_test.yaml")
	commands := 0
	for _, rule := range alertRules(t) {
		require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
		require.Contains(t, []string{"page", "ticket"}, rule.Labels["severity"], rule.Alert)
		require.Contains(t, tests, "{alertname: "+rule.Alert+", eval_time", "%s is not shown to be silent", rule.Alert)
		require.Contains(t, tests, `alertname="`+rule.Alert+`"`, "%s is not shown to fire", rule.Alert)
		for _, found := range command.FindAllStringSubmatch(rule.Annotations["description"], -1) {
			args := strings.Fields(strings.ReplaceAll(found[1], "{{ $labels.endpoint }}", "billing"))
			requireCommand(t, args, args[0], defaultConfig)
			commands++
		}
	}
	require.Greater(t, commands, 4)
}

func TestPromtoolAgreesWithTheAlerts(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("skipped: promtool is not on this machine")
	}
	for _, args := range [][]string{
		{"check", "rules", "alerts.yaml"}, {"check", "config", "--syntax-only", "prometheus.yaml"}, {"test", "rules", "alerts_test.yaml"},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = examples + "/prometheus"
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
}
