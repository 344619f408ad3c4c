package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/program"
)

// hostile is a host, a path or a name that an attacker has made: it changes the title of the terminal, clears it, and
// begins a line and a column of its own.
const hostile = "a\x1b]0;t\x07\x1b[2J\u009b31m\x7f\r\n  forged\tb"

// filled returns a value of a type with hostile texts in all places.
func filled(t *testing.T, of reflect.Type) reflect.Value {
	t.Helper()
	v := reflect.New(of).Elem()
	marshaler := reflect.TypeFor[json.Marshaler]()
	switch {
	case of == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Now()))
		return v
	case of.Kind() != reflect.String && of.Kind() != reflect.Pointer && of.Implements(marshaler):
		return v
	}
	switch of.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Pointer:
		v.Set(reflect.New(of.Elem()))
		v.Elem().Set(filled(t, of.Elem()))
	case reflect.Slice:
		if of.Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.Append(v, filled(t, of.Elem()), filled(t, of.Elem())))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(of))
		v.SetMapIndex(filled(t, of.Key()), filled(t, of.Elem()))
	case reflect.Struct:
		for i := range of.NumField() {
			if f := of.Field(i); f.IsExported() && f.Name != "Next" { // of a list: it ends here
				v.Field(i).Set(filled(t, f.Type))
			}
		}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		if of == reflect.TypeFor[int]() {
			v.SetInt(7)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(hostile))
	}
	return v
}

// Nothing of what a process says reaches a terminal that it would obey: texts may be of clients, or of a registry.
func TestPrintable_commands(t *testing.T) {
	mux := http.NewServeMux()
	args := map[string][]string{ // of commands that have some
		"why ID": {"id"}, "drain": {hostile + "/" + hostile}, "log": {"debug"}, "rollback --list": {"--list"},
		"cache get": {"get", hostile},
	}
	longer := map[string]bool{"reload": true, "rollback": true, "diff": true, "upgrade": true} // have lines
	var commands []string
	for _, e := range admin.Endpoints() {
		if e.Out == nil || e.Command == "" || strings.HasPrefix(e.Command, "stop") ||
			e.Command == "cache purge" || e.Command == "cache stats" { // the last three say numbers alone
			continue
		}
		commands = append(commands, e.Command)
		mux.HandleFunc(e.Method+" "+e.Pattern, func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(filled(t, reflect.TypeOf(e.Out)).Interface())
		})
	}
	if len(commands) < 10 {
		t.Fatal(commands)
	}
	s := httptest.NewUnstartedServer(mux)
	path := testutil.SocketPath(t)
	l, err := net.Listen("unix", path)
	testutil.Must(t, err)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	defer s.Close()
	for _, name := range commands {
		for _, more := range [][]string{nil, {"--json"}} {
			root := newRoot()
			var out bytes.Buffer
			root.SetOut(&out)
			root.SetErr(&out)
			word, _, _ := strings.Cut(name, " ")
			root.SetArgs(slices.Concat([]string{word}, args[name], []string{"--admin", "unix:" + path}, more))
			if err := root.Execute(); err != nil {
				program.Conclude(&out, "edge", err)
			}
			if !strings.Contains(out.String(), "forged") {
				t.Errorf("%s %v shows nothing of it: %s", name, more, out.String())
			}
			for _, r := range out.String() {
				if r != '\n' && !strconv.IsPrint(r) && (r != '\t' || !longer[word]) {
					t.Errorf("%s %v: %q in %q", name, more, r, out.String())
					break
				}
			}
			if more == nil && !longer[word] && strings.Contains(out.String(), "\n  forged") {
				t.Errorf("%s has a forged line: %q", name, out.String())
			}
		}
	}
}

// An error of a process is one of the command, and as printable.
func TestPrintable_errors(t *testing.T) {
	path := testutil.SocketPath(t)
	l, err := net.Listen("unix", path)
	testutil.Must(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(admin.Problem{Error: hostile})
	})}
	go s.Serve(l) //nolint:errcheck // it ends with Close
	defer s.Close()
	commands(t, t.TempDir(), command{"routes --admin unix:" + path, exitError, `edge: a\x1b]0;t\a|!` + "\x1b"})
}
