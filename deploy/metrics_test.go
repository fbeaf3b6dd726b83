package deploy_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"parley/hub"
	"parley/store"
)

// registered are the names of the hub's metrics, also of those that nothing was counted in yet.
func registered() map[string]bool {
	registry := prometheus.NewRegistry()
	log := store.NewMemory(store.Options{})
	hub.New(hub.Config{Log: log, Directory: log, Metrics: registry})
	descriptions := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descriptions)
		close(descriptions)
	}()
	names := make(map[string]bool)
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for d := range descriptions {
		names[name.FindStringSubmatch(d.String())[1]] = true
	}
	return names
}

func TestDashboardAndAlertsNameMetrics(t *testing.T) {
	known := registered()
	if len(known) < 10 {
		t.Fatalf("only these metrics: %v", known)
	}
	used := make(map[string]bool)
	for _, file := range []string{"grafana.json", "alerts.yml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bparley_\w+`).FindAllString(string(text), -1) {
			name = strings.TrimSuffix(name, "_bucket")
			used[name] = true
			if !known[name] {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
	}
	for name := range known {
		if !used[name] {
			t.Errorf("%s is shown nowhere", name)
		}
	}
}

func TestDashboardIsJSON(t *testing.T) {
	text, err := os.ReadFile("grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title  string
		Panels []struct {
			ID      int
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	for _, p := range dashboard.Panels {
		if seen[p.ID] || len(p.Targets) == 0 {
			t.Errorf("panel %d is there twice, or shows nothing", p.ID)
		}
		seen[p.ID] = true
	}
}
