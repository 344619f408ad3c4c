package backend

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Each change is told once, in order, with why; a hook that was stopped hears nothing.
func TestSet_onChange(t *testing.T) {
	s := Of("10.0.0.1:80", "10.0.0.2:80")
	var got []string
	stop := s.OnChange(func(c *Change) {
		name := c.Member.Address()
		got = append(got, fmt.Sprintf("%s %s %v %s %d/%d", name, c.Reason, c.On, c.Why.Word, c.Open, c.Members))
	})
	m := s.Members()[0]
	m.Mark(Health, true, Why{Word: "refused"})
	m.Mark(Health, true, Why{Word: "status"})
	m.Mark(Draining, true, Why{})
	m.Mark(Health, false, Why{})
	m.Mark(Health, false, Why{})
	m.Up(Draining)
	stop()
	m.Down(Operator)
	want := "10.0.0.1:80 checks true refused 1/2, 10.0.0.1:80 draining true  1/2, " +
		"10.0.0.1:80 checks false refused 1/2, 10.0.0.1:80 draining false  2/2"
	if strings.Join(got, ", ") != want {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, ", "), want)
	}
	if why := m.Why(Operator); why.Word != "" || m.Why(Health).Word != "" {
		t.Errorf("why: %+v, %+v", why, m.Why(Health))
	}
}

// A member that joins with a reason is told when its writer says why.
func TestSet_joinWith(t *testing.T) {
	s := NewSet()
	s.JoinWith(Health)
	var got []string
	s.OnChange(func(c *Change) { got = append(got, fmt.Sprint(c.On, c.Why.Word)) })
	s.Update([]Spec{{Address: "10.0.0.1:80"}, {Address: "10.0.0.2:80"}})
	for _, m := range s.Members() {
		if m.Reasons() != Health {
			t.Fatalf("joined with %v", m.Reasons())
		}
	}
	s.Members()[0].Mark(Health, true, Why{Word: "refused"})
	s.Members()[0].Mark(Health, true, Why{Word: "status"})
	s.Members()[1].Mark(Health, false, Why{})
	if strings.Join(got, " ") != "truerefused false" {
		t.Errorf("told %q", got)
	}
}

// The changes of many goroutines are told in an order that makes sense: each reason comes and goes in turn.
func TestSet_changesInOrder(t *testing.T) {
	s := Of("10.0.0.1:80")
	m := s.Members()[0]
	state := map[Reason]bool{}
	s.OnChange(func(c *Change) {
		if state[c.Reason] == c.On {
			t.Errorf("%v is told twice", c.Reason)
		}
		state[c.Reason] = c.On
	})
	var all sync.WaitGroup
	for _, reason := range []Reason{Health, Ejected, Draining, Operator} {
		all.Go(func() {
			for i := range 1000 {
				m.Mark(reason, i%2 == 0, Why{})
			}
		})
	}
	all.Wait()
}

func TestLogChanges_panic(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var log testutil.Output
		testutil.EventLog(t, slog.NewTextHandler(&log, nil))
		s := Of("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
		s.SetPolicy(Policy{Panic: 0.5})
		stop := LogChanges("api", s)
		all := s.Members()
		all[0].Down(Health)
		all[1].Down(Health)
		time.Sleep(time.Minute)
		all[1].Up(Health)
		stop()
		all[1].Down(Health)
		text := log.Take()
		for _, want := range []string{
			"level=WARN msg=\"panic of backends begins\" upstream=api open=1/3 what=",
			"panic of backends is over\" upstream=api open=2/3 was_panicking=1m0s",
		} {
			if strings.Count(text, want) != 1 {
				t.Errorf("%q is not once in %s", want, text)
			}
		}
	})
}

// A member that changes again and again has a line for each of its first changes in a minute, then one a minute.
func TestLogChanges_flapping(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var log testutil.Output
		testutil.EventLog(t, slog.NewTextHandler(&log, nil))
		s := Of("10.0.0.1:80", "10.0.0.2:80")
		stop := LogChanges("api", s)
		flap := func(changes int, every time.Duration) (lines []string) {
			log.Take()
			for i := range changes {
				time.Sleep(every)
				s.Members()[0].Mark(Health, i%2 == 0, Why{Word: "refused"})
			}
			for line := range strings.Lines(log.Take()) {
				lines = append(lines, line)
			}
			return lines
		}
		if lines := flap(4, time.Minute); len(lines) != 4 || !strings.Contains(lines[3],
			`msg="backend up" upstream=api backend=10.0.0.1:80 tier=0 reason=refused was_down=1m0s open=2/2`) ||
			!strings.Contains(lines[3], "level=INFO") {
			t.Errorf("slow changes: %q", lines)
		}
		// 600 changes in 10 minutes: 6 lines, then one a minute.
		lines := flap(600, time.Second)
		if n := len(lines); n < 6+9 || n > 6+12 || !strings.Contains(lines[n-1], "msg=\"backend flaps\"") {
			t.Errorf("%d lines, the last one %q", n, lines[n-1])
		}
		time.Sleep(10 * time.Minute)
		if lines := flap(2, time.Minute); len(lines) != 2 || !strings.Contains(lines[0], "msg=\"backend down\"") {
			t.Errorf("after a quiet time: %q", lines)
		}
		s.Update([]Spec{{Address: "10.0.0.2:80"}})
		stop()
		s.Members()[0].Down(Health)
		if text := log.Take(); text != "" {
			t.Errorf("after the end: %q", text)
		}
	})
}
