package metrics

import (
	"compress/gzip"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/message"
)

// sharedFor is how long a page is served to those that ask next. Two Prometheus servers that read one process cost as
// much as one.
const sharedFor = 200 * time.Millisecond

// spareMax is how many pages without readers keep their memory.
const spareMax = 4

// Pages serves metrics over HTTP, in the format that the client accepts. One page is made at a time, from values that
// are collected once for all that ask within 200 ms. A slow reader holds a page and delays no other.
//
// gzip is for clients that accept it from other machines: it takes more time than all the rest, and spares a network.
//
// Safe for any goroutine.
type Pages struct {
	collect func()                      // brings the values up to date; not called twice at a time
	write   func(e *observe.Exposition) // the values; not called while collect is

	mu        sync.Mutex
	collected time.Time // guarded by mu
	fresh     [2]*page  // by format, of what was collected; guarded by mu
	spare     []*page   // without readers; guarded by mu
}

// page is a page in one format. Its bytes are immutable while it has readers.
type page struct {
	observe.Exposition
	readers int // those that Pages.fresh has among them; guarded by Pages.mu
}

// NewPages makes Pages of values that collect brings up to date and write puts down. Neither is called while the other
// one, or itself, is under way. Both run on goroutines of clients, and may take their time.
func NewPages(collect func(), write func(e *observe.Exposition)) *Pages {
	return &Pages{collect: collect, write: write}
}

// ServeHTTP answers GET and HEAD with a page, whatever the path is.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	f := observe.ChooseMetricFormat(strings.Join(r.Header.Values("Accept"), ","))
	one := p.take(f)
	defer p.giveBack(one)
	h := w.Header()
	h.Set("Content-Type", f.ContentType())
	h.Set("Vary", "Accept, Accept-Encoding")
	if message.PreferredIn(r.Header["Accept-Encoding"], "gzip") == 0 && !isLocal(r.RemoteAddr) {
		h.Set("Content-Encoding", "gzip")
		if r.Method == http.MethodGet {
			compress(w, one.Bytes())
		}
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(one.Bytes())))
	if r.Method == http.MethodGet {
		_, _ = w.Write(one.Bytes()) // a client that has left needs no page
	}
}

// take returns a page in f for a reader more.
func (p *Pages) take(f observe.MetricFormat) *page {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.collected) >= sharedFor {
		for i, old := range p.fresh {
			p.leave(old)
			p.fresh[i] = nil
		}
		p.collect()
		p.collected = time.Now()
	}
	one := p.fresh[f]
	if one == nil {
		one = p.empty()
		one.readers = 1
		one.Reset(f)
		p.write(&one.Exposition)
		one.End()
		p.fresh[f] = one
	}
	one.readers++
	return one
}

func (p *Pages) empty() *page {
	if n := len(p.spare); n > 0 {
		one := p.spare[n-1]
		p.spare = p.spare[:n-1]
		return one
	}
	return new(page)
}

func (p *Pages) giveBack(one *page) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(one)
}

// leave takes one reader from a page, which may be nil. p.mu is held.
func (p *Pages) leave(one *page) {
	if one == nil {
		return
	}
	if one.readers--; one.readers == 0 && len(p.spare) < spareMax {
		p.spare = append(p.spare, one)
	}
}

// compressors are of the lowest level: the higher ones take several times as long, for a page a fifth smaller.
var compressors = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level exists
	}
	return z
}}

func compress(w http.ResponseWriter, b []byte) {
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	z.Reset(w)
	_, _ = z.Write(b) // a client that has left needs no page
	_ = z.Close()
}

// isLocal reports whether a client is on this machine: at a Unix socket, or a loopback address.
func isLocal(addr string) bool {
	a, err := netip.ParseAddrPort(addr)
	return err != nil || a.Addr().Unmap().IsLoopback()
}
