package backend

import (
	"context"
	"errors"
	"github.com/edge-proxy/edge/balance"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
)

// lookups answers look-ups of one.example by what is sent to it.
func lookups(t *testing.T, answers chan []string) Lookup {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		if host != "one.example" {
			t.Error(host)
		}
		var ips []netip.Addr
		for _, s := range <-answers {
			ips = append(ips, netip.MustParseAddr(s))
		}
		if ips == nil {
			return nil, errors.New("no such host")
		}
		return ips, nil
	}
}

// A name that does not resolve is a backend that is down; one that moves takes its backend along.
func TestResolve_followsNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := reactor(t), Of("one.example:80", "127.0.0.1:80")
		v, one := s.View(1, balance.RoundRobin), s.Members()[0]
		answers := make(chan []string, 1)
		res := Resolve("service", s, lookups(t, answers))
		defer func() {
			close(answers)
			res.Stop()
		}()
		for _, step := range []struct {
			answer []string
			want   int
			wait   time.Duration
		}{
			{nil, 0, 2 * time.Second},
			{[]string{"10.0.0.2", "10.0.0.1", "10.0.0.2"}, 2, 30 * time.Second},
			{nil, 2, 2 * time.Second}, // the last good answer is kept
			{[]string{"10.0.0.3"}, 1, 30 * time.Second},
		} {
			answers <- step.answer
			synctest.Wait()
			if got := len(*one.Addrs()); got != step.want {
				t.Fatalf("%v: %d addresses, want %d", step.answer, got, step.want)
			}
			up := map[int]bool{v.Pick(r, nil).Slot(): true, v.Pick(r, nil).Slot(): true}
			if up[0] != (step.want > 0) || !up[1] {
				t.Fatalf("%v: picked %v", step.answer, up)
			}
			time.Sleep(step.wait)
			synctest.Wait()
		}
	})
}

// Without names nothing is looked up; a name that joins is, until it goes.
func TestResolve_namesThatComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, answers := Of("127.0.0.1:80"), make(chan []string, 1)
		res := Resolve("service", s, lookups(t, answers))
		if len(res.stop) != 0 {
			t.Error("a goroutine without names")
		}
		answers <- []string{"10.0.0.1"}
		s.Update(specs("one.example:80"))
		synctest.Wait()
		one := s.Members()[0]
		if got := *one.Addrs(); len(got) != 1 || one.Reasons() != 0 {
			t.Errorf("%v, reasons %b", got, one.Reasons())
		}
		s.Update(nil)
		time.Sleep(time.Hour) // no answer is left: a further look-up would not return
		res.done.Wait()
		res.Stop()
	})
}

// A line of the log says which addresses a name stands for; not all of very many.
func TestResolve_namesAddresses(t *testing.T) {
	var log testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&log, nil))
	synctest.Test(t, func(t *testing.T) {
		s, answers := Of("one.example:80"), make(chan []string, 1)
		res := Resolve("service", s, lookups(t, answers))
		for _, answer := range [][]string{
			{"10.0.0.1", "::1"},
			strings.Fields("10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8 10.0.0.9 ::1"),
		} {
			answers <- answer
			synctest.Wait()
			time.Sleep(30 * time.Second)
			synctest.Wait()
		}
		close(answers)
		res.Stop()
	})
	for _, want := range []string{`addresses="[10.0.0.1 ::1]"`, `10.0.0.8 and 2 more]"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is missing in\n%s", want, log.String())
		}
	}
}
