package server

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/internal/testutil"
)

// What connects after Listen waits until Start, also over an Apply that names its address again, and is served then.
func TestServer_listensBeforeItServes(t *testing.T) {
	testutil.CheckLeaks(t)
	cfg := parse(t, "threads = 2\n"+quiet+"http.listen = \"127.0.0.1:0\"\n"+all200)
	s, err := New(cfg, Options{})
	try(t, err)
	t.Cleanup(func() { _ = s.Stop() })
	try(t, s.Listen())
	w := testutil.Dial(t, s.Addresses()[0].Addr.String())
	w.Send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	if err := s.Listen(); !errors.Is(err, errBegun) {
		t.Errorf("a second Listen: %v", err)
	}
	before := s.Addresses()[0]
	mustApply(t, s, cfg)
	if now := s.Addresses(); len(now) != 1 || now[0] != before {
		t.Errorf("it listens on %v, want %v", now, before)
	}
	if n := s.Conns(); n != 0 {
		t.Errorf("%d connections before Start", n)
	}
	try(t, s.Start())
	if status := w.ReadAll(); len(status) < 12 || status[9:12] != "200" {
		t.Errorf("%q", status)
	}
	r, err := http.Get("http://" + before.Addr.String() + "/")
	try(t, err)
	_, _ = io.Copy(io.Discard, r.Body)
	r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
}

// What Options.Prepare built is put in place with the configuration, or taken back with it.
func TestApply_prepares(t *testing.T) {
	said := ""
	refuse := errors.New("refused")
	var failure error
	s := start(t, Options{Prepare: func(cfg *config.Config) (commit, undo func(), err error) {
		said += "prepare " + cfg.Global.LogLevel
		return func() { said += ", commit. " }, func() { said += ", undo. " }, failure
	}}, quiet+"http.listen = \"127.0.0.1:0\"\n"+all200)
	const file = quiet + "log_level = \"warn\"\nhttp.listen = \"127.0.0.1:0\"\n" + all200
	if want := "prepare info, commit. prepare info, commit. "; said != want { // New, and Listen
		t.Errorf("%q, want %q", said, want)
	}
	said = ""
	apply(t, s, file)
	taken := testutil.Listen(t).Addr().String()
	if _, err := s.Apply(parse(t, quiet+"http.listen = \""+taken+"\"\n"+all200)); err == nil {
		t.Error("the address of another process is applied")
	}
	failure = refuse
	if _, err := s.Apply(parse(t, file)); !errors.Is(err, refuse) {
		t.Error(err)
	}
	if want := "prepare warn, commit. prepare info, undo. prepare warn"; said != want {
		t.Errorf("%q, want %q", said, want)
	}
}
