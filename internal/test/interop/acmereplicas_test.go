package interop

import (
	"cmp"
	"errors"
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

	"github.com/edge-proxy/edge/backend/registry"
	"github.com/edge-proxy/edge/internal/discovery/locator"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

// fleet are processes over one folder, with a balancer that leads the authority to any of them.
type fleet struct {
	*pebble
	all   []*served
	asked []atomic.Int32 // connections of the authority, by process
}

// newFleet starts processes over a storage; "": a folder.
func newFleet(t *testing.T, n int, storage, more string) *fleet {
	t.Helper()
	f := &fleet{asked: make([]atomic.Int32, n)}
	plain, secure := f.balance(t, false), f.balance(t, true)
	first := newServed(t, pebbleOptions{http: plain, tls: secure})
	f.pebble, first.state = first.pebble, cmp.Or(storage, first.state)
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

func inFolder(*testing.T) string { return "" }
func inEtcd(t *testing.T) string { return "etcd://" + etcdAt(t) + "/edge" }

// Three processes over one folder, or etcd, order one certificate for each name, answer for each other, and serve soon
// after one has it. No proof is left.
func TestServe_replicas(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		storage    func(t *testing.T) string
	}{
		{"http-01", "http-01", inFolder}, {"tls-alpn-01", "tls-alpn-01", inFolder}, {"etcd", "http-01", inEtcd},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFleet(t, 3, c.storage(t), fmt.Sprintf("challenge = %q\n%s%s", c.kind, twoRoutes, thirdRoute))
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

// checkProofs waits until the storage has certificates, and no proof.
func (f *fleet) checkProofs(t *testing.T) {
	t.Helper()
	storage := f.storage(t)
	testutil.Eventually(t, testutil.Patience, func() bool {
		keys, err := storage.List(t.Context(), "certificates", true)
		more, failed := storage.List(t.Context(), "acme", true)
		text := strings.Join(append(keys, more...), "\n")
		return errors.Join(err, failed) == nil && strings.Contains(text, ".crt") &&
			!strings.Contains(text, "challenge_tokens/")
	})
}

// storage returns what the processes share.
func (f *fleet) storage(t *testing.T) issue.Storage {
	state := f.all[0].state
	if l, err := locator.Parse(state); err == nil {
		s, err := registry.OpenStorage(l)
		testutil.Must(t, err)
		return s
	}
	s, err := issue.NewFolder(state, -1, -1)
	testutil.Must(t, err)
	return s
}

// Processes that are killed at any moment, but for one, leave each name with a certificate that all present. A kill
// costs one order for a name at most, and the pause after a failure.
func TestServe_replicasAreKilled(t *testing.T) {
	if os.Getenv("EDGE_SOAK") == "" {
		t.Skip("takes minutes: EDGE_SOAK=1")
	}
	t.Run("folder", func(t *testing.T) { killReplicas(t, inFolder(t)) })
	t.Run("etcd", func(t *testing.T) { killReplicas(t, inEtcd(t)) })
}

func killReplicas(t *testing.T, storage string) {
	const names, atOnce = 30, 4
	lasts := 2 * time.Minute
	if given, err := time.ParseDuration(os.Getenv("EDGE_SOAK_KILLS")); err == nil {
		lasts = given
	}
	hosts := make([]string, names)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("%q", nameOf(i))
	}
	f := newFleet(t, 3, storage, "hosts = ["+strings.Join(hosts, ", ")+"]\n"+twoRoutes)
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
