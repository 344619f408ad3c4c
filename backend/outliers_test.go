package backend

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/forward/ejection"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// What is reported of a member that has gone says nothing about the one that has its slot now.
func TestOutliers_reportsOfAMemberThatHasGone(t *testing.T) {
	addresses := func(from int) (list []string) {
		for i := range slotsFree + 2 {
			list = append(list, fmt.Sprintf("10.0.0.%d:80", from+i))
		}
		return list
	}
	r, s := reactor(t), Of(addresses(1)...)
	u := NewOutliers(s, 1, ejection.Options{Errors: 5})
	good := func() {
		for range 1000 {
			for _, m := range s.Members() {
				u.Good(r, m)
			}
		}
	}
	good()
	old := s.Members()[1]
	u.Bad(r, old, ejection.Failed{Fault: true})
	s.Update(specs("10.0.0.1:80"))
	s.Update(specs(append(addresses(101), "10.0.0.1:80")...))
	var next *Member
	for _, m := range s.Members() {
		if m.Slot() == old.Slot() {
			next = m
		}
	}
	if next == nil || next == old {
		t.Fatal("no other member has the slot")
	}
	u.Bad(r, next, ejection.Failed{Fault: true})
	for range 100 {
		u.Bad(r, old, ejection.Failed{Fault: true})
	}
	good()
	for range 4 {
		if u.Bad(r, next, ejection.Failed{Fault: true}); next.Reasons() != 0 {
			t.Fatalf("%v", next.Reasons())
		}
	}
	if u.Bad(r, next, ejection.Failed{Fault: true}); next.Reasons() != Ejected || old.Reasons() != 0 {
		t.Errorf("after five of its own: %v, the other one %v", next.Reasons(), old.Reasons())
	}
}

// An ejection is one line of the log, which says why, and its end another one.
func TestOutliers_log(t *testing.T) {
	r, s := reactor(t), Of("10.0.0.1:80", "10.0.0.2:80")
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	t.Cleanup(LogChanges("api", s))
	u := NewOutliers(s, 1, ejection.Options{Errors: 5})
	for range 1000 {
		u.Good(r, s.Members()[1])
	}
	for range 7 {
		u.Bad(r, s.Members()[0], ejection.Failed{Fault: true})
	}
	if n := u.Ejections(); n != (ejection.Counts{ejection.Faults: 1}) || s.Members()[0].Reasons() != Ejected {
		t.Fatalf("ejections: %v", n)
	}
	u.Stop()
	if s.Members()[0].Reasons() != 0 {
		t.Error("it is ejected for ever")
	}
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%q", lines)
	}
	for i, want := range []string{
		"backend down\" upstream=api backend=10.0.0.1:80 tier=0 reason=ejected_faults failed=5 of=5 for=",
		"backend up\" upstream=api backend=10.0.0.1:80 tier=0 reason=ejected_faults by=\"ejection is off\" was_down=",
	} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("%s\nwant %s", lines[i], want)
		}
	}
	m := s.Members()[1]
	if n := testutil.Allocs(1000, func() { u.Good(r, m) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// A failure is no answer, and does not hide the one before it.
func TestMember_answeredWithin(t *testing.T) {
	r, s := reactor(t), Of("10.0.0.1:80")
	s.View(1, nil)
	m, now := s.Members()[0], r.Now()
	at := func(d time.Duration) int64 { return now + int64(d) }
	want := func(what string, answered, served bool) {
		t.Helper()
		if got := m.AnsweredWithin(at(time.Second), 5*time.Second); got != answered {
			t.Errorf("%s: answered: %v", what, got)
		}
		if got := m.ServedWithin(at(time.Second), 5*time.Second); got != served {
			t.Errorf("%s: served: %v", what, got)
		}
	}
	want("nothing", false, false)
	m.Failed(r)
	want("a failure", false, false)
	m.Answered(r, time.Millisecond)
	m.Answered(r, time.Millisecond)
	want("an answer in the same millisecond", false, false)
	m = Of("10.0.0.1:80").Members()[0]
	m.set.View(1, nil)
	m.Answered(r, time.Millisecond)
	want("an answer", true, true)
	for range 3 {
		m.Failed(r)
		want("and a failure", true, false)
	}
	if m.AnsweredWithin(at(6*time.Second), 5*time.Second) {
		t.Error("an old answer counts")
	}
}
