package backend

import (
	"testing"
	"time"
)

// A trouble is told when it begins, when it becomes another one, each minute while it lasts, and when it is over; a
// member that fails now and then does not fill the log.
func TestMember_troubles(t *testing.T) {
	m := Of("10.0.0.1:80").Members()[0]
	start := time.Unix(1e9, 0)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	type step struct {
		at       int
		what     string // "": it recovers
		told     bool
		failures int
		since    int
	}
	for i, c := range []step{
		{at: 0, what: "refused", told: true, failures: 1},
		{at: 1, what: "refused", failures: 2},
		{at: 59, what: "refused", failures: 3},
		{at: 60, what: "refused", told: true, failures: 4}, // it goes on
		{at: 61, what: "silent", failures: 5},
		{at: 70, what: "silent", told: true, failures: 6}, // it is another one
		{at: 80, told: true, failures: 6},
		{at: 81}, // it serves, as it did
		{at: 81, what: "refused", told: true, failures: 1, since: 81},
		{at: 82, told: true, failures: 1, since: 81},
		{at: 83, what: "refused", failures: 1, since: 83}, // now and then
		{at: 84, failures: 1, since: 83},
		{at: 85, what: "refused", failures: 1, since: 85},
		{at: 92, what: "refused", told: true, failures: 2, since: 85},
		{at: 93, told: true, failures: 2, since: 85},
	} {
		var got Trouble
		var told bool
		if c.what == "" {
			got, told = m.Recover()
		} else {
			got, told = m.Fail(Connecting, c.what, at(c.at))
		}
		if told != c.told || got.Failures != c.failures || c.failures > 0 && !got.Since.Equal(at(c.since)) {
			t.Errorf("step %d: %+v, told %v; want %+v", i, got, told, c)
		}
		if kind := m.Trouble(); (kind == NoTrouble) != (c.what == "") {
			t.Errorf("step %d: trouble %d", i, kind)
		}
	}
}
