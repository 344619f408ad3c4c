package interop

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
)

// fleet are processes over one folder, with a balancer that leads the authority to any of them.
type fleet struct {
	*pebble
	all   []*served
	asked []atomic.Int32 // connections of the authority, by process
}

// newFleet starts processes.
func newFleet(t *testing.T, n int, more string) *fleet {
	t.Helper()
	f := &fleet{asked: make([]atomic.Int32, n)}
	plain, secure := f.balance(t, false), f.balance(t, true)
	first := newServed(t, pebbleOptions{http: plain, tls: secure})
	f.pebble = first.pebble
	for i := range n {
		s := *first
		s.file = filepath.Join(filepath.Dir(first.file), fmt.Sprintf("edge%d.toml", i))
		s.plain, s.secure = testutil.FreeAddr(t), testutil.FreeAddr(t)
		s.keys = first.keysFor(s.plain, s.secure)
		s.configure("settle = \"2s\"\n%s", more)
		f.all = append(f.all, &s)
	}
	for _, s := range f.all {
		s.start()
	}
	return f
}

// balance listens for the authority, and leads each connection to a process by chance.
func (f *fleet) balance(t *testing.T, secure bool) (address string) {
	l := testutil.Listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				i := rand.IntN(len(f.all))
				to := f.all[i].plain
				if secure {
					to = f.all[i].secure
				}
				f.asked[i].Add(1)
				u, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer u.Close()
				go func() { io.Copy(u, c); u.(*net.TCPConn).CloseWrite() }()
				io.Copy(c, u)
			}()
		}
	}()
	return l.Addr().String()
}

// Three processes over one folder order one certificate for each name, answer for each other, and serve soon after one
// has it. No proof is left.
func TestServe_replicas(t *testing.T) {
	for _, kind := range []string{"http-01", "tls-alpn-01"} {
		t.Run(kind, func(t *testing.T) {
			f := newFleet(t, 3, fmt.Sprintf("challenge = %q\n%s%s", kind, twoRoutes, thirdRoute))
			for _, name := range []string{"a.shop.test", "b.shop.test", "c.shop.test"} {
				serial := f.all[0].waitFor(name).SerialNumber
				first := time.Now()
				for _, s := range f.all[1:] {
					if leaf := s.waitFor(name); leaf.SerialNumber.Cmp(serial) != 0 {
						t.Errorf("%s: another certificate", name)
					}
				}
				if late := time.Since(first); late > 3*time.Second {
					t.Errorf("%s: the last process has it %v later", name, late)
				}
			}
			if n := f.all[0].ordersMade(); n != 3 {
				t.Errorf("%d orders", n)
			}
			f.checkProofs(t)
		})
	}
}

// checkProofs waits until the folder has no proof.
func (f *fleet) checkProofs(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		left, err := filepath.Glob(filepath.Join(f.all[0].state, "acme", "*", "challenge_tokens", "*"))
		return err == nil && len(left) == 0
	})
}

// Processes that are killed at any moment, but for one, leave each name with a certificate that all present. A kill
// costs one order for a name at most, and the pause after a failure.
func TestServe_replicasAreKilled(t *testing.T) {
	if os.Getenv("EDGE_SOAK") == "" {
		t.Skip("takes minutes: EDGE_SOAK=1")
	}
	const names, atOnce = 30, 4
	lasts := 2 * time.Minute
	if given, err := time.ParseDuration(os.Getenv("EDGE_SOAK_KILLS")); err == nil {
		lasts = given
	}
	hosts := make([]string, names)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("%q", nameOf(i))
	}
	f := newFleet(t, 3, "hosts = ["+strings.Join(hosts, ", ")+"]\n"+twoRoutes)
	kills := 0
	for begun := time.Now(); time.Since(begun) < lasts; kills++ {
		<-time.After(2*time.Second + time.Duration(rand.IntN(4000))*time.Millisecond) // an order takes some 3 s
		lives := rand.IntN(3)
		for i, s := range f.all {
			if i != lives {
				s.Signal(syscall.SIGKILL)
				s.Wait(testutil.Patience)
			}
		}
		<-time.After(time.Duration(rand.IntN(1000)) * time.Millisecond)
		for i, s := range f.all {
			if i != lives {
				s.start()
			}
		}
	}
	for i := range names {
		name := nameOf(i)
		testutil.Eventually(t, testutil.Minutes, func() bool { return f.all[0].presented(name) != nil })
		serial := f.all[0].waitFor(name).SerialNumber
		for _, s := range f.all[1:] {
			testutil.Eventually(t, testutil.Minutes, func() bool {
				leaf := s.presented(name)
				return leaf != nil && leaf.SerialNumber.Cmp(serial) == 0
			})
		}
	}
	valid := int(f.finished.Load())
	if t.Logf("%d names, %d kills: %d orders, %d certificates", names, 2*kills, f.all[0].ordersMade(), valid); valid >
		names+2*kills*atOnce {
		t.Error("too many certificates")
	}
}

func nameOf(i int) string { return fmt.Sprintf("n%d.shop.test", i) }
