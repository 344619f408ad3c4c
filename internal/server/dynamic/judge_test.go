package dynamic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/route/target"
	"github.com/edge-proxy/edge/poller"
)

// How long what a look-up has found is good, and what a failure leaves.
func TestJudge(t *testing.T) {
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	d := New(e, Options{})
	defer d.Close()
	one := &destination{}
	if one.target, err = target.Parse("http://a.test"); err != nil {
		t.Fatal(err)
	}
	const s = int64(time.Second)
	a1 := []poller.Addr{{IP: netip.MustParseAddrPort("1.1.1.1:80")}}
	a2 := []poller.Addr{{IP: netip.MustParseAddrPort("1.0.0.1:80")}}
	fails := errors.New("SERVFAIL")
	for _, c := range []struct {
		what      string
		at        int64
		addrs     []poller.Addr
		ttl       time.Duration
		err       error
		good      bool
		until     int64
		refreshAt int64
		keeps     string // the address of its pool; "": it is closed
	}{
		{"fails first", 0, nil, 0, fails, false, 1 * s, 1 * s, ""},
		{"is found", 10 * s, a1, 100 * time.Second, nil, true, 110 * s, 100 * s, "1.1.1.1:80"},
		{"changes", 110 * s, a2, 0, nil, true, 111 * s, 110*s + s*9/10, "1.0.0.1:80"},
		{"is good for long", 112 * s, a2, time.Hour, nil, true, 412 * s, 382 * s, "1.0.0.1:80"},
		{"fails in the background", 390 * s, nil, 0, fails, true, 472 * s, 391 * s, "1.0.0.1:80"},
		{"fails again", 471 * s, nil, 0, fails, true, 472 * s, 472 * s, "1.0.0.1:80"},
		{"fails for too long", 472 * s, nil, 0, fails, false, 473 * s, 473 * s, ""},
		{"is found again", 480 * s, a1, time.Minute, nil, true, 540 * s, 534 * s, "1.1.1.1:80"},
		{"is no more", 540 * s, nil, time.Hour, errNoAddress, false, 550 * s, 550 * s, ""},
		{"is there", 550 * s, a1, time.Minute, nil, true, 610 * s, 604 * s, "1.1.1.1:80"},
		{"is refused", 610 * s, nil, 5 * time.Second, target.ErrAddress, false, 615 * s, 615 * s, ""},
		{"is ours", 620 * s, nil, time.Hour, errOwn, false, 621 * s, 621 * s, ""},
	} {
		got := d.judge(one, one.answer.Load(), c.addrs, c.ttl, c.err, c.at)
		one.answer.Store(got)
		keeps := ""
		if len(one.member) > 0 {
			keeps = (*one.member[0].Addrs())[0].String()
		}
		if got.good != c.good || got.until != c.until || got.refreshAt != c.refreshAt || keeps != c.keeps ||
			len(one.pools) != len(one.member) || got.good != (got.cause == nil) {
			t.Errorf("it %s: %+v, pool %q", c.what, got, keeps)
		}
	}
}

// A name server chooses how many addresses a name has, and whether one of them is not allowed: all are judged, and a
// few are kept.
func TestAddresses_many(t *testing.T) {
	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Stop()
	last := "127.1.0.1"
	names := discovery.NamesBy(func(context.Context, string) (ips []netip.Addr, err error) {
		for i := range 5000 {
			ips = append(ips, netip.MustParseAddr(fmt.Sprintf("127.0.%d.%d", i>>8, i&0xff)))
		}
		return append(ips, netip.MustParseAddr(last)), nil
	})
	allow, err := target.ParseList("http://a.test", "127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	d := New(e, Options{Names: names, Allow: allow})
	defer d.Close()
	to, err := target.Parse("http://a.test")
	if err != nil {
		t.Fatal(err)
	}
	if addrs, _, err := d.addresses(&to); err != nil || len(addrs) != addrsMax {
		t.Errorf("%d addresses are kept, want %d: %v", len(addrs), addrsMax, err)
	}
	last = "10.0.0.1"
	if _, _, err := d.addresses(&to); !errors.Is(err, target.ErrAddress) {
		t.Errorf("the last address is not allowed, and the error is %v", err)
	}
}

// A process with little memory looks up fewer names at one time.
func TestLooks_memory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for _, c := range []struct {
		limit int64
		want  int
	}{{16 << 20, 8}, {64 << 20, 32}, {1 << 40, lookupsMax}} {
		debug.SetMemoryLimit(c.limit)
		e, err := engine.New(engine.Options{Reactors: 1})
		if err != nil {
			t.Fatal(err)
		}
		d := New(e, Options{})
		if d.looks != c.want {
			t.Errorf("with %d bytes %d look-ups at one time, want %d", c.limit, d.looks, c.want)
		}
		d.Close()
		e.Stop()
	}
}
