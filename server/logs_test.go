package server

import (
	"path/filepath"
	"strings"
	"testing"
)

// A reload is refused whose access log cannot be opened: that of a route, of a listener, or of all.
func TestApply_logThatCannotBeOpened(t *testing.T) {
	const base = quiet + "http.listen = \"127.0.0.1:0\"\n"
	const route = "[[routes]]\npattern = \"/*\"\ndest = \"status:200\"\n"
	s, err := New(parse(t, base+route), Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop() }()
	path := filepath.Join(t.TempDir(), "missing", "a.log")
	for _, text := range []string{
		base + route + "access_log = '" + path + "'\n", base + route + "access_log.path = '" + path + "'\n",
		base + "http.access_log = { path = '" + path + "', sample = 0.1 }\n" + route,
		"log = { output = ['" + path + "'], when = 'status == 200' }\nhttp.listen = \"127.0.0.1:0\"\n" + route,
	} {
		if _, err := s.Apply(parse(t, text)); err == nil || !strings.Contains(err.Error(), "access log: ") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
