package admin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/base/private"
	"github.com/edge-proxy/edge/internal/base/socketfile"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/tls/certs"
)

// Bounds of a surface.
const (
	connsMost = 64
	headTime  = 5 * time.Second
	idleTime  = 30 * time.Second
	writeTime = 30 * time.Second // of an answer
	headBytes = 32 << 10
	stopTime  = time.Second // for answers that are under way at the end
)

// Options say how surfaces are opened. The zero value is good.
type Options struct {
	UID, GID int    // that Unix sockets are given to; 0 or below: they stay the process's
	File     string // of the configuration; "": there is none
}

// Surfaces are the addresses of one process: the addresses of [admin] and the address of [metrics].
// Safe for any goroutine.
type Surfaces struct {
	process Process
	options Options
	routes  func() *routes // made by the first call: most processes that have no surface never need them
	heavy   chan struct{}  // holds one element for each expensive call that is computed
	owners  chan struct{}  // likewise, where heavy is full, for a call of the owner
	unread  chan struct{}  // holds one element for each expensive call of others until its answer is written
	machine string         // the name of the machine, in lower case

	counters    counters
	connections atomic.Int64 // open

	mu      sync.Mutex
	open    []*surface // guarded by mu
	told    string     // why there is no surface, as it was logged last; guarded by mu
	started bool       // guarded by mu
	stopped bool       // guarded by mu
}

// surface is one address.
// Safe for any goroutine.
type surface struct {
	all      *Surfaces
	key      string // of its address
	text     string // as the file has it
	section  string // admin or metrics
	unix     bool
	standard bool // no configuration names it
	probes   bool // [metrics]: for probes alone
	listener net.Listener
	file     *socketfile.File // of a Unix socket; nil: none
	policy   atomic.Pointer[policy]
	server   *http.Server
	bound    *bounded      // nil before Start
	done     chan struct{} // closed when the server has ended; nil before Start
}

// New makes surfaces without an address.
func New(p Process, o Options) *Surfaces {
	s := &Surfaces{process: p, options: o, heavy: make(chan struct{}, heavyMost),
		owners: make(chan struct{}, 1), unread: make(chan struct{}, unreadMost)}
	s.routes = sync.OnceValue(s.makeRoutes)
	if name, err := os.Hostname(); err == nil {
		s.machine = hostOf(name)
	}
	return s
}

// Prepare opens the addresses that cfg names and s does not have. commit makes them the addresses of s, with what cfg
// says of all, and closes the others; undo closes those that were opened. One of the two is called next.
func (s *Surfaces) Prepare(cfg *config.Config) (commit, undo func(), err error) {
	return s.prepare(cfg, building{})
}

// Replace is Prepare for a process that takes the place of another one: addresses that this one serves are taken from
// it. The path of a Unix socket leads to the new one at once. from is the number of the other process; 0: not known.
func (s *Surfaces) Replace(cfg *config.Config, from int) (commit, undo func(), err error) {
	return s.prepare(cfg, building{replaces: true, from: from})
}

func (s *Surfaces) prepare(cfg *config.Config, b building) (commit, undo func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.all, b.policies = s, make(map[*surface]*policy)
	undo = func() {
		for _, f := range b.fresh {
			f.closeSocket()
		}
	}
	if err := b.build(cfg); err != nil {
		undo()
		return nil, nil, err
	}
	return func() { s.commit(&b) }, undo, nil
}

// building is the surfaces of the next configuration.
type building struct {
	all      *Surfaces
	list     []*surface
	fresh    []*surface // of list, those that were opened for it
	policies map[*surface]*policy
	replaces bool // another process may serve at the addresses
	from     int  // the number of that process; 0: it is not known
}

// build opens what cfg names. all.mu is held.
func (b *building) build(cfg *config.Config) error {
	a, m := settingsOf(cfg)
	p, err := b.all.policyOf(a)
	if err != nil {
		return fmt.Errorf("[admin]: %w", err)
	}
	if a.Pprof {
		ProfileMemory(true)
	}
	addresses := a.Listen.Addresses
	if len(addresses) == 0 && !a.Listen.Off {
		if err := b.addDefault(&cfg.Global, p); err != nil {
			b.all.tellNone(err)
		}
	}
	for i := range addresses {
		own := *p
		own.anyProbes = addresses[i].Network != "unix" && isLoopback(&addresses[i])
		if err := b.add(&addresses[i], "admin", &own); err != nil {
			return err
		}
	}
	probes := &policy{names: slices.Concat(m.Names, []string{b.all.machine}), metrics: metricsPath, anyProbes: true}
	for i := range m.Listen.Addresses {
		if err := b.add(&m.Listen.Addresses[i], "metrics", probes); err != nil {
			return err
		}
	}
	return nil
}

// addDefault adds the first of the sockets that a process may have whose configuration names no address. An error is
// one of a socket, or says that there is no folder for one.
func (b *building) addDefault(g *config.Global, p *policy) error {
	for _, f := range b.all.open { // it stays, also where the process has given up the right to make it
		if f.standard {
			b.list = append(b.list, f)
			b.policies[f] = p.usual(f.text)
			return nil
		}
	}
	failed, replaces := errNoFolder, b.replaces
	defer func() { b.replaces = replaces }()
	for _, path := range defaultSockets(g) {
		dir := filepath.Dir(path)
		if dir == temporaryFolder() {
			_ = os.Mkdir(dir, 0o700)
		}
		if err := checkFolder(path); err != nil || !usable(dir) {
			if err != nil && err != errNoFolder {
				failed = err
			}
			continue
		}
		b.replaces = replaces && b.isServedAt(path)
		failed = b.add(&value.Address{Network: "unix", Path: path, Text: "unix:" + path}, "admin", p.usual(path))
		if failed == nil {
			b.list[len(b.list)-1].standard = true
			return nil
		}
	}
	return failed
}

var errNoFolder = errors.New("there is neither /run/edge nor a folder of XDG_RUNTIME_DIR or below /tmp, and no " +
	"pid_file to have a socket beside, or their paths are too long for one")

// isServedAt reports whether the process at a socket is the process that this one takes over from. Where its number is
// not known it is the process that serves the same file.
func (b *building) isServedAt(path string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	var st Status
	c, err := NewClient(Target{Address: "unix:" + path})
	if err != nil || c.Do(ctx, http.MethodGet, "/v1/status", nil, &st) != nil {
		return false
	}
	return st.PID == b.from || b.from == 0 && st.Configuration.File == b.all.options.File
}

// usual returns p for a socket that no configuration names. The folder for edge alone says by its group who operates
// edge. The group of a user, which may be one of all users, or nogroup of many services, does not.
func (p *policy) usual(path string) *policy {
	own := *p
	own.ownerOnly = filepath.Base(path) != socketName
	return &own
}

// tellNone logs once why there is no surface. mu is held.
func (s *Surfaces) tellNone(err error) {
	if text := err.Error(); s.told != text {
		s.told = text
		slog.Info("no admin surface", "reason", text, "try", "[admin] listen names an address, false turns it off")
	}
}

// DefaultSockets returns sockets for a process whose configuration names no address. It has the first socket that it
// can make: in the folder of RUNTIME_DIRECTORY, which systemd sets, else in /run/edge; beside the pid file; and in
// XDG_RUNTIME_DIR, where that is not set in a folder for the user below /tmp, unless the process is to be locked down,
// which would open that folder to it. A folder where any user may make files has none, and neither has one with a path
// that is too long for a socket.
func DefaultSockets(g *config.Global) []string {
	return slices.DeleteFunc(defaultSockets(g), func(path string) bool { return checkFolder(path) != nil })
}

// defaultSockets is DefaultSockets without a look at the folders.
func defaultSockets(g *config.Global) (paths []string) {
	dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	paths = append(paths, filepath.Join(cmp.Or(dir, runtimeFolder), socketName))
	if path, err := filepath.Abs(g.FromWorkingDirectory(g.PIDFile)); err == nil && g.PIDFile != "" {
		paths = append(paths, strings.TrimSuffix(path, ".pid")+"."+socketName)
	}
	if g.Lockdown == config.LockdownOff {
		dir = cmp.Or(os.Getenv("XDG_RUNTIME_DIR"), temporaryFolder())
		paths = append(paths, filepath.Join(dir, "edge."+socketName))
	}
	return paths
}

// checkFolder reports that the folder of a socket is not there, or that other users may make files in it.
func checkFolder(path string) error {
	dir := filepath.Dir(path)
	at, err := os.Stat(dir)
	if err != nil || !at.IsDir() || at.Mode()&0o002 != 0 || len(path) > value.UnixPathMax {
		return errNoFolder
	}
	if dir == temporaryFolder() { // another user may have made it, as a link too
		if err = private.Check(dir, os.Geteuid()); err == nil && at.Mode().Perm()&0o077 != 0 {
			err = fmt.Errorf("%s is open to other users: chmod 700 %[1]s", dir)
		}
	}
	return err
}

// temporaryFolder returns the folder for the sockets of a user without XDG_RUNTIME_DIR.
func temporaryFolder() string {
	return filepath.Join(os.TempDir(), "edge-"+strconv.Itoa(os.Geteuid()))
}

const (
	runtimeFolder = "/run/edge"
	socketName    = "admin.sock"
)

// policyOf reads the files that a names.
func (s *Surfaces) policyOf(a *Settings) (*policy, error) {
	p := &policy{names: slices.Concat(a.Names, []string{s.machine}), readAll: a.Read == "all", writable: a.Writable,
		pprof: a.Pprof, metrics: a.Metrics, verifies: a.ClientCA != ""}
	if a.Token != "" {
		p.tokens = append(p.tokens, sha256.Sum256([]byte(a.Token)))
	}
	if a.Cert == "" {
		return p, nil
	}
	pair, err := tls.LoadX509KeyPair(a.Cert, cmp.Or(a.Key, a.Cert))
	if err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	p.tls = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}}
	if p.verifies {
		var pool *x509.CertPool
		if pool, err = certs.Authorities(a.ClientCA); err != nil {
			return nil, fmt.Errorf("client_ca: %w", err)
		}
		p.tls.ClientCAs, p.tls.ClientAuth = pool, tls.VerifyClientCertIfGiven
	}
	return p, nil
}

// add adds an address, the socket of which s may have already.
func (b *building) add(a *value.Address, section string, p *policy) error {
	key := section + " " + a.Network + " " + a.Host + " " + strconv.Itoa(a.Port) + a.Path
	for _, f := range b.all.open {
		if f.key == key && !slices.Contains(b.list, f) {
			b.list = append(b.list, f)
			b.policies[f] = p
			return nil
		}
	}
	f := &surface{all: b.all, key: key, text: a.Text, section: section, unix: a.Network == "unix",
		probes: section == "metrics"}
	if err := f.listen(a, b, p); err != nil {
		return fmt.Errorf("[%s] listen: %s: %w", section, a.Text, err)
	}
	f.policy.Store(p)
	b.list, b.fresh = append(b.list, f), append(b.fresh, f)
	b.policies[f] = p
	return nil
}

func (s *Surfaces) commit(b *building) {
	s.mu.Lock()
	old := s.open
	s.open = b.list
	for f, p := range b.policies {
		f.policy.Store(p)
		openTo(f.file, p.readAll)
	}
	started := s.started && !s.stopped
	if started {
		for _, f := range b.fresh {
			f.start()
		}
	}
	s.mu.Unlock()
	for _, f := range old {
		if !slices.Contains(b.list, f) {
			go f.stop() // the request that asked for the reload may be one of f's
		}
	}
}

// Start serves what is open, and from then on what Prepare opens.
func (s *Surfaces) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = true
	for _, f := range s.open {
		f.start()
	}
}

// Stop ends all surfaces. Answers that are under way have a second.
func (s *Surfaces) Stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.Leave()
}

// Leave ends the present surfaces, as Stop does: another process serves their addresses. Replace opens them again.
func (s *Surfaces) Leave() {
	s.mu.Lock()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	var ended sync.WaitGroup
	for _, f := range open {
		ended.Go(f.stop)
	}
	ended.Wait()
}

// Addresses returns where s listens, as files have it; of a port 0 the port that the kernel chose.
func (s *Surfaces) Addresses() []string {
	all := []string{}
	for _, one := range s.Listening() {
		if one[0] == "admin" {
			all = append(all, one[1])
		}
	}
	return all
}

// Listening returns the addresses of all surfaces by their sections.
func (s *Surfaces) Listening() (all [][2]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.open {
		all = append(all, [2]string{f.section, f.address()})
	}
	return all
}

func (f *surface) address() string {
	if f.unix {
		return f.text
	}
	return f.listener.Addr().String()
}

func (f *surface) listen(a *value.Address, b *building, p *policy) (err error) {
	if f.unix {
		f.listener, f.file, err = listenUnix(a.Path, b.all.options, b.replaces)
		return err
	}
	scheme := "http"
	if p.tls != nil {
		scheme = "https"
	}
	f.listener, err = listenTCP(a.Network, value.JoinHostPort(a.Host, strconv.Itoa(a.Port)), scheme, b.replaces)
	return err
}

// start serves. all.mu is held.
func (f *surface) start() {
	f.done = make(chan struct{})
	f.server = &http.Server{
		Handler: f, ReadHeaderTimeout: headTime, ReadTimeout: headTime + writeTime, IdleTimeout: idleTime,
		WriteTimeout: writeTime, MaxHeaderBytes: headBytes, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		ConnContext: withHeld,
	}
	f.bound = newBounded(f.listener, &f.all.connections)
	go f.serve(&secured{f.bound, f})
}

// secured puts TLS on connections where the configuration in force has a certificate.
// Safe for any goroutine.
type secured struct {
	net.Listener
	surface *surface
}

// Accept waits for a connection.
func (s *secured) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if config := s.surface.policy.Load().tls; config != nil && !s.surface.unix {
		return tls.Server(c, config), nil
	}
	return c, nil
}

func (f *surface) serve(l net.Listener) {
	defer close(f.done)
	if err := f.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		slog.Error("an admin surface ended", "address", f.text, "error", err)
	}
}

func (f *surface) stop() {
	f.file.Remove()
	if f.done == nil {
		f.closeSocket()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if f.server.Shutdown(ctx) != nil {
		_ = f.server.Close()
	}
	<-f.done
}

// closeSocket closes a surface that has not begun to serve.
func (f *surface) closeSocket() {
	f.file.Remove()
	_ = f.listener.Close()
}
