package report

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
)

// Mistakes are errors with a place and a hint, and do not show the DSN.
func TestSentry_mistakes(t *testing.T) {
	for text, want := range map[string]string{
		"[sentry]":                                                         "2:1: error: [sentry] needs a dsn",
		"[sentry]\nenvironment = \"x\"":                                    "2:1: error: [sentry] needs a dsn",
		"sentry.environment = \"x\"":                                       "error: [sentry] needs a dsn",
		"[sentry]\ndsn = 5":                                                `"dsn" must be a DSN`,
		"[sentry]\ndsn = \"hidden\"":                                       "3:7: error: this is not the DSN of",
		"[sentry]\ndsn = \"https://hidden@h\"":                             "not the DSN",
		"[sentry]\ndsn = \"https://h/hidden\"":                             "not the DSN",
		"[sentry]\ndsn = \"ftp://hidden@h/1\"":                             "not the DSN",
		"[sentry]\ndns = \"https://k@h/1\"":                                `did you mean "dsn"`,
		"sentry = { dsn = \"http://k@h/1\", burst = { share = 0.2 } }":     "share",
		"sentry = { dsn = \"http://k@h/1\", burst = { within = \"1s\" } }": "within",
		"sentry = { dsn = \"http://k@h/1\", burst = { failures = 0 } }":    "failures",
	} {
		_, rep := config.Parse("edge.toml", []byte("allow = [\"no-listener\"]\n"+text))
		var all strings.Builder
		_ = rep.Render(&all)
		if !strings.Contains(all.String(), want) || rep.OK() || strings.Contains(all.String(), "hidden") {
			t.Errorf("%s: %s", text, all.String())
		}
	}
	c, rep := config.Parse("edge.toml", []byte("allow = [\"no-listener\"]\nsentry.dsn = \"http://secret@h/1\""))
	if !rep.OK() || of(c).Failures != 20 || of(c).Share != 20 || strings.Contains(string(c.Written), "secret@") {
		t.Errorf("%v %+v %s", rep.Errors, of(c), c.Written)
	}
}

// edge check --connect sends an envelope without an event, with the key of the project, and says why it is refused.
func TestEntry_Ping(t *testing.T) {
	status := 200
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/42/envelope/" || !strings.Contains(r.Header.Get("X-Sentry-Auth"), "sentry_key=key") {
			t.Errorf("%s %s", r.URL, r.Header)
		}
		w.WriteHeader(status)
	}))
	defer s.Close()
	e := &entry{Sentry: Sentry{DSN: strings.Replace(s.URL, "http://", "http://key@", 1) + "/42"}}
	if key, err := e.Ping(); key != "dsn" || err != nil {
		t.Error(key, err)
	}
	status = 403
	if _, err := e.Ping(); err == nil || err.Error() != "it answers 403" {
		t.Error(err)
	}
	s.Close()
	if _, err := e.Ping(); !errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(err.Error(), "key") {
		t.Error(err)
	}
	if _, err := (&entry{}).Ping(); err != nil {
		t.Errorf("without the section: %v", err)
	}
}
