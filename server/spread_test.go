package server

import (
	"fmt"
	"testing"
)

// A backend that a reload adds beside another one gets few requests at first, and all of them once that is off.
func TestUpstream_slowStart(t *testing.T) {
	one, two := mirror(t, "one"), mirror(t, "two")
	file := func(slow string, backends ...string) string {
		text := quiet + "global.worker_threads = 1\nhttp = { name = \"web\", listen = \"127.0.0.1:0\" }\n" +
			"[upstreams.default]\nload_balancing = \"round_robin\"\nslow_start = \"" + slow + "\"\nbackends = ["
		for _, b := range backends {
			text += fmt.Sprintf("{ address = %q }, ", b)
		}
		return text + "]\n"
	}
	s := serve(t, parse(t, file("1h", one)), Options{})
	for _, step := range []struct {
		file string
		want int // of 18 requests for the second backend
	}{
		{file("1h", one), 0},
		{file("1h", one, two), 2},
		{file("0", one, two), 9},
	} {
		if _, err := s.Apply(parse(t, step.file)); err != nil {
			t.Fatal(err)
		}
		seconds := 0
		for range 18 {
			if _, body := get(t, s, "web", "/"); len(body) > 3 && body[:3] == "two" {
				seconds++
			}
		}
		if seconds != step.want {
			t.Errorf("%d of 18 requests for the second backend, not %d, with\n%s", seconds, step.want, step.file)
		}
	}
}
