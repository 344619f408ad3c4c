package proxy_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/proxy"
)

// remembered reads the records of a reactor, a few at a time, the first one first.
func remembered(s *simulation, bad bool) (all []recent.Record) {
	for before := uint64(recent.Newest); before != 0; {
		page, _ := s.proxy.Recent(s.engine.Reactors()[0], bad, before, 7)
		all = append(append([]recent.Record{}, reversed(page.Records)...), all...)
		before = page.Next
	}
	return all
}

func reversed(list []recent.Record) (all []recent.Record) {
	for i := len(list) - 1; i >= 0; i-- {
		all = append(all, list[i])
	}
	return all
}

// The records of the rings and those of the access log agree, however requests end.
func TestSim_rememberedIsWhatIsLogged(t *testing.T) {
	several, failed := 0, 0
	sim.Run(t, seeds(60), func(t testing.TB, w *sim.World) {
		w.Faults = sim.Faults{
			AcceptAborted: 0.05, ConnectRefused: 0.1, ConnectUnreachable: 0.05, ConnectTimeout: 0.02,
			ShortWrite: 0.2, Reset: 0.002,
		}
		log := &keptLog{}
		s := newTunedSimulation(t, w, 1, tuning{
			log: []proxy.AccessLog{log},
			to:  &proxy.ToOptions{Retry: on(t, "connect", "refused_stream", "reset", "503")},
		})
		s.proxy.Remember(64, 50*time.Millisecond)
		s.faults = true
		s.plan(4, 5, append(append([]string{}, badOrigins...), unavailableOrigins...))
		s.run()
		list, bad := remembered(s, false), remembered(s, true)
		if len(list) != len(log.records) {
			t.Fatalf("%d are remembered, %d logged", len(list), len(log.records))
		}
		for i := range list {
			compareWithLog(t, &list[i], &log.records[i])
			r := &list[i]
			if isBad := len(bad) > 0 && *r == bad[0]; isBad {
				bad = bad[1:]
			} else if r.Status >= 499 || r.Attempts > 1 || r.FirstByte.Duration() > 51*time.Millisecond {
				t.Fatalf("it is not among the bad ones: %+v", r)
			}
			if r.Attempts > 1 {
				several++
			}
			if r.Reason != 0 {
				failed++
			}
		}
		if len(bad) > 0 {
			t.Fatalf("%d bad ones are not among all", len(bad))
		}
	})
	if several == 0 || failed == 0 {
		t.Errorf("%d had several attempts, %d failed", several, failed)
	}
}

// compareWithLog compares what is remembered of a request with its record in the log.
func compareWithLog(t testing.TB, r *recent.Record, l *observe.Record) {
	t.Helper()
	word := recent.ReasonOf(r.Reason).Word
	if r.Flags&recent.Refused != 0 {
		word = l.Reason // one for all
	}
	at := func(s recent.Span, ns int64) bool { return recent.Bounded(ns) == s }
	name := func(n uint32) string {
		text, _ := observe.Tagged(n)
		return text
	}
	if r.ID != binary.BigEndian.Uint64(l.ID[8:]) || int(r.Status) != l.Status || word != l.Reason ||
		r.BytesIn != uint64(l.BytesIn) || r.BytesOut != uint64(l.BytesOut) || int(r.Attempts) != l.Attempts ||
		r.Proto != l.Proto || (r.Flags&recent.Reused != 0) != l.Reused || !at(r.End, l.Dur) ||
		!at(r.Queue, l.T.Queue) || !at(r.Connect, l.T.Connect) || name(r.Route) != l.Route ||
		name(r.Upstream) != l.Upstream || name(r.Tries[1].Backend) != l.Backend {
		t.Fatalf("remembered %+v (%s), logged %+v", r, word, l)
	}
	if c := r.ClientAddr(); c.Addr() != l.ClientIP || c.Port() != l.ClientPort {
		t.Fatalf("the client is %v, logged %v:%d", c, l.ClientIP, l.ClientPort)
	}
	if r.FirstByte > r.End || r.LastByte > r.End || r.Sent > r.End || r.LastByte > 0 && r.LastByte < r.FirstByte {
		t.Fatalf("times out of order: %+v", r)
	}
	if (r.Tries[0].Backend != 0) != (r.Tries[0] != recent.Try{}) || r.Attempts > 1 && r.Tries[0].Backend == 0 {
		t.Fatalf("of %d attempts the first one is not known: %+v", r.Attempts, r)
	}
}

// An Exchange is that of each request under way, so its size is memory of the process: it stays in its size class.
func TestExchange_size(t *testing.T) {
	if n := proxy.SizeOfExchange; n > 1536 {
		t.Errorf("%d bytes, 1536 are the size class", n)
	}
}
