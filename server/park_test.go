package server

import (
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/config/changes"
)

func TestServer_everyWayToSleep(t *testing.T) {
	addr, _ := origin(t, "a")
	for _, keys := range []string{
		`global.park = "auto"`, `global.park = "runtime"`, `global.park = "syscall"`, `global.park = "spin"`,
		`global.pin = true`, "global.park = \"syscall\"\nglobal.pin = true",
		"global.park = \"spin\"\nglobal.pin = true",
	} {
		s := start(t, Options{}, "%s\nhttp.listen = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = %q\n",
			keys, addr)
		for range 10 {
			r, err := http.Get("http://" + s.Addresses()[0].Addr.String() + "/x")
			if err != nil {
				t.Fatal(keys, err)
			}
			if b, err := io.ReadAll(r.Body); r.StatusCode != 200 || string(b) != "a /x " {
				t.Errorf("%s: %d %q %v", keys, r.StatusCode, b, err)
			}
			_ = r.Body.Close()
		}
		if err := s.Stop(); err != nil {
			t.Error(keys, err)
		}
	}
}

func TestDiff_parkAndPinNeedARestart(t *testing.T) {
	const listen = "http.listen = \":80\"\n"
	d := changes.Of(parse(t, listen), parse(t, "global.park = \"spin\"\nglobal.pin = true\n"+listen))
	if !slices.Equal(d.Restart, []string{"park", "pin"}) {
		t.Errorf("needs a restart: %v", d.Restart)
	}
}
