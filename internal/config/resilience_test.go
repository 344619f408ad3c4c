package config_test

import (
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
)

// What is wrong with a key of retry or outlier is said, with a value that would be right.
func TestParse_resilienceMistakes(t *testing.T) {
	for line, want := range map[string]string{
		`retry.on = ["conect"]`:           `did you mean "connect"?`,
		`retry.on = ["grpc:unavailible"]`: `did you mean "grpc:unavailable"?`,
		`retry.on = [399]`:                `"399" is no condition of a retry`,
		`retry.budget = "20"`:             `write "20%"`,
		`retry.budget = "101%"`:           `not a percentage from 1% to 100%`,
		`outlier.max_ejected = "off"`:     `write "50%"`,
		`retry.hedge_after = "off"`:       `write it as "250ms"`,
		`retry.hedge_after = "2m"`:        `between 0s and 1m`,
	} {
		text := "upstream_defaults." + line + "\n"
		_, report := config.Options{}.Parse("edge.toml", []byte(text))
		var b strings.Builder
		if err := report.Render(&b); err != nil {
			t.Fatal(err)
		}
		if report.OK() || !strings.Contains(b.String(), want) {
			t.Errorf("%s: %s", line, b.String())
		}
	}
	both := "upstream_defaults.retry = { hedge_after = \"2s\", per_try = \"2s\" }\n"
	_, report := config.Options{}.Parse("edge.toml", []byte(both))
	if !report.OK() || !strings.Contains(string(report.JSON()), "per_try ends its first attempt after 2s") {
		t.Errorf("hedging after the time of a try: %s", report.JSON())
	}
	for _, line := range []string{
		`retry.on = [503, "5xx", "timeout", "grpc:aborted"]`, `retry.budget = "off"`, `retry.on = []`,
		`outlier.errors = 3`, `retry.hedge_after = ""`, `retry.hedge_after = "0s"`, `retry.hedge_after = "50ms"`,
	} {
		c, report := config.Options{}.Parse("edge.toml", []byte("upstream_defaults."+line+"\n"))
		if !report.OK() || c == nil {
			t.Errorf("%s is refused", line)
		}
	}
}
