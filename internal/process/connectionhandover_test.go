package process

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/process/handover"
	"github.com/edge-proxy/edge/internal/process/upgrade"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// handingOver is a Server that hands over to a test.
type handingOver struct {
	t           *testing.T
	server      *server.Server
	attempt     *attempt
	inheritance *inheritance
	channel     *handover.Channel // of the test
	ours        *handover.Channel
}

// newHandingOver serves what lines of a configuration say, in addition to a listener.
func newHandingOver(t *testing.T, lines string) *handingOver {
	t.Helper()
	cfg, report := config.Options{}.Parse("edge.toml", []byte("log.output = []\nhttp.listen = \"127.0.0.1:0\"\n"+lines))
	s := serverOf(t, cfg, report)
	testutil.Must(t, s.Start())
	u := newUpgrades(&program{}, nil)
	a, err := u.reserve(nil, upgrade.AskBody{})
	testutil.Must(t, err)
	a.kill = func() {}
	g := &handingOver{t: t, server: s, attempt: a}
	sockets, fds, err := socketsToPass(s.Handover())
	testutil.Must(t, err)
	g.inheritance = &inheritance{
		sockets: fds, server: s, holdNames: func(bool) {}, timeout: testutil.Patience, grace: testutil.Patience,
		offer: upgrade.OfferBody{Give: upgrade.GiveIdle, Sockets: len(fds), Conns: s.Conns(),
			Files: []string{upgrade.ManifestFile, upgrade.SecretsFile}},
	}
	g.inheritance.manifest, err = handover.WriteMemory(upgrade.ManifestFile, upgrade.Manifest{Sockets: sockets})
	testutil.Must(t, err)
	g.inheritance.secrets, err = handover.WriteMemory(upgrade.SecretsFile, &upgrade.Secrets{})
	testutil.Must(t, err)
	t.Cleanup(g.inheritance.close)
	ours, theirs, err := handover.Pair()
	testutil.Must(t, err)
	fd, err := unix.FcntlInt(theirs.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	testutil.Must(t, err)
	testutil.Must(t, theirs.Close())
	g.ours = ours
	g.channel, err = handover.Open(fd)
	testutil.Must(t, err)
	t.Cleanup(g.channel.Close)
	return g
}

func (g *handingOver) say(typ upgrade.Type, body any) {
	g.t.Helper()
	testutil.Must(g.t, g.channel.Send(&upgrade.Frame{Version: 1, Type: typ, Body: body}, nil))
}

// hear returns the next frame that is not DRAIN. It closes what came with it, except for the copy of the old process.
func (g *handingOver) hear() *upgrade.Frame {
	g.t.Helper()
	for {
		m, fds, err := g.channel.Receive(time.Now().Add(testutil.Patience))
		testutil.Must(g.t, err)
		handover.CloseAll(fds)
		f, err := upgrade.Parse(m)
		testutil.Must(g.t, err)
		if f.Type != upgrade.Drain {
			return f
		}
	}
}

// passOn has the test serve, as a process does that has taken over.
func (g *handingOver) passOn() (result <-chan error) {
	g.t.Helper()
	over := make(chan error, 1)
	go func() {
		err := g.attempt.handOver(g.inheritance, g.ours, nil)
		g.attempt.upgrades.release(g.attempt)
		over <- err
	}()
	g.say(upgrade.Hello, upgrade.HelloBody{Min: 1, Max: 1, PID: 4711, Free: 1 << 20})
	for range 1 + (g.inheritance.offer.Sockets+upgrade.FilesMax-1)/upgrade.FilesMax {
		g.hear()
	}
	var claims []int
	for i := range g.inheritance.offer.Sockets {
		claims = append(claims, i)
	}
	g.say(upgrade.Ready, upgrade.ReadyBody{Claims: claims})
	if f := g.hear(); f.Type != upgrade.Go {
		g.t.Fatalf("%v", f)
	}
	g.say(upgrade.Serving, nil)
	return over
}

// asker is a client with one connection.
type asker struct {
	net.Conn
	r *bufio.Reader
}

func (a *asker) ask(path string) error {
	_ = a.SetDeadline(time.Now().Add(2 * testutil.Patience))
	_, err := fmt.Fprintf(a, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
	return err
}

// answer reads an answer and reports whether the connection is said to close.
func (a *asker) answer() (closes bool, err error) {
	resp, err := http.ReadResponse(a.r, nil)
	if err != nil {
		return false, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.Close, err
}

// The new process ends after a further one has taken over from it. Its connections that were on their way out of an
// event loop, in a batch that nobody takes, or busy, stay with this process: each client gets all its answers.
func TestConnectionHandover_newProcessEndsAfterPass(t *testing.T) {
	const clients = 7
	for _, finished := range []int{0, 1, 5, clients} {
		var ends [clients]chan struct{}
		for i := range ends {
			ends[i] = make(chan struct{})
		}
		begun := make(chan struct{}, clients)
		origin := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if path, slow := strings.CutPrefix(r.URL.Path, "/slow/"); slow {
				begun <- struct{}{}
				<-ends[path[0]-'0']
			}
		}))
		g := newHandingOver(t, fmt.Sprintf("routes = [{ pattern = \"/*\", dest = %q }]\n", origin.URL))
		var all [clients]asker
		for i := range all {
			c, err := net.Dial("tcp", g.server.Addresses()[0].Addr.String())
			testutil.Must(t, err)
			all[i] = asker{c, bufio.NewReader(c)}
			testutil.Must(t, all[i].ask(fmt.Sprintf("/slow/%d", i)))
			<-begun
		}
		over := g.passOn()
		finish := func(i int) {
			t.Helper()
			close(ends[i])
			closes, err := all[i].answer()
			if err == nil && !closes {
				if i < finished {
					testutil.Eventually(t, testutil.Patience, func() bool { return g.server.Conns() == clients-i-1 })
					return
				}
				if err = all[i].ask("/"); err == nil {
					_, err = all[i].answer()
				}
			}
			if err != nil {
				t.Errorf("%d finished before the end, client %d: %v", finished, i, err)
			}
		}
		for i := range finished {
			finish(i)
		}
		g.say(upgrade.Pass, upgrade.PassBody{Passed: true})
		g.channel.Close()
		for i := range finished {
			err := all[i].ask("/")
			if err == nil {
				_, err = all[i].answer()
			}
			if err != nil {
				t.Errorf("%d finished before the end, client %d: %v", finished, i, err)
			}
		}
		for i := finished; i < clients; i++ {
			finish(i)
		}
		for i := range all {
			all[i].Close()
		}
		if err := <-over; err != nil {
			t.Errorf("%d finished before the end: %v", finished, err)
		}
		origin.Close()
	}
}
