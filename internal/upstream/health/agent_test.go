package health

import "testing"

// What a line says changes what was said before it, and no more than that.
func TestReadLine(t *testing.T) {
	drained, down := stance{drain: true}, stance{down: true}
	for _, c := range []struct {
		line string
		from stance
		want stance
		part float64
		ok   bool
	}{
		{line: "75%", part: 0.75, ok: true},
		{line: "75% up", from: down, part: 0.75, ok: true},
		{line: "0%", part: 0, ok: true},
		{line: "250%", part: 1, ok: true},
		{line: "65536%", part: -1},
		{line: "-5%", part: -1},
		{line: "%", part: -1},
		{line: "75", part: -1},
		{line: "drain", want: drained, part: -1, ok: true},
		{line: "DRAIN,\t50%", want: drained, part: 0.5, ok: true},
		{line: "maint", from: drained, want: stance{maint: true}, part: -1, ok: true},
		{line: "drain", from: stance{maint: true}, want: drained, part: -1, ok: true},
		{line: "ready", from: stance{maint: true, down: true}, want: down, part: -1, ok: true},
		{line: "up", from: stance{drain: true, down: true}, want: drained, part: -1, ok: true},
		{line: "up ready", from: stance{drain: true, down: true}, part: -1, ok: true},
		{line: "10%", from: drained, want: drained, part: 0.1, ok: true},
		{line: "down", want: down, part: -1, ok: true},
		{line: "fail", want: down, part: -1, ok: true},
		{line: "stopped#up 75%", want: down, part: -1, ok: true},
		{line: "maxconn:30 up", from: down, part: -1, ok: true},
		{line: "maxconn:30", from: down, want: down, part: -1},
		{line: "HTTP/1.0 400 Bad Request", part: -1},
		{line: "", from: drained, want: drained, part: -1},
	} {
		got, part, ok := readLine([]byte(c.line), c.from)
		if got != c.want || part != c.part || ok != c.ok {
			t.Errorf("%q from %+v: %+v, %g, %v", c.line, c.from, got, part, ok)
		}
	}
}

// Whatever an agent sends, the part of the weight is one, or none.
func FuzzReadLine(f *testing.F) {
	for _, line := range []string{"75% up", "drain,maint", "down#up", "1e3%", "\x00%"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, from := range []stance{{}, {drain: true}, {maint: true, down: true}} {
			next, part, ok := readLine(line, from)
			if part != -1 && (part < 0 || part > 1) || next.drain && next.maint {
				t.Errorf("%q: %+v, %g", line, next, part)
			}
			if !ok && (next != from || part != -1) {
				t.Errorf("%q has no word that is known, and says %+v, %g", line, next, part)
			}
		}
	})
}
