package micro

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/jackc/puddle/v2"

	"github.com/edge-proxy/edge/pool"
)

const (
	poolKeys = 4
	poolIdle = 1000 // connections of each key
)

const idlePool = "pool of idle connections"

var poolEntries = []Entry{
	{"pool/take-park/edge", idlePool, "Take and Park; 4 keys with 1000 connections each, in no order of memory",
		takePark},
	{"pool/take-park/edge-mutex", idlePool, "the same under a sync.Mutex, which nobody contends for: locked to " +
		"take, locked to park, as goroutines would use it", takeParkLocked},
	{"pool/take-park/mutex-map", idlePool, "a map of slices under a sync.Mutex, which nobody contends for: locked " +
		"to take, locked to park. It can neither remove a dead connection nor find the oldest", takeParkMutex},
	{"pool/take-park/mutex-slice", idlePool, "a slice under a sync.Mutex for each key, which is kept by the " +
		"caller, as fasthttp's HostClient has it. There is no bound over all keys", takeParkSlices},
	{"pool/take-park/channel", idlePool, "a buffered channel for each key, which is kept by the caller: the one " +
		"parked first is taken first", takeParkChannel},
	{"pool/take-park/sync.Pool", idlePool, "a sync.Pool for each key, which is kept by the caller. It forgets " +
		"connections without closing them, when memory is collected", takeParkSyncPool},
	{"pool/take-park/puddle", idlePool, "jackc/puddle v2, a pool for each key, which is kept by the caller: " +
		"TryAcquire and Release. It opens connections and waits for them, too", takeParkPuddle},
}

// peerKey is what makes two connections not interchangeable.
type peerKey struct {
	addr [16]byte
	port uint16
	sni  string
}

type idleConn struct {
	node pool.Node[peerKey, *idleConn]
	_    [400]byte // what a connection has beside: nodes are far apart in memory
}

func idleConns() (keys [poolKeys]peerKey, conns []*idleConn) {
	for i := range keys {
		keys[i] = peerKey{port: uint16(i), sni: "origin.example"}
	}
	conns = make([]*idleConn, poolKeys*poolIdle)
	for i := range conns {
		conns[i] = new(idleConn)
		conns[i].node.Conn = conns[i]
	}
	rng := rand.New(rand.NewPCG(1, 1))
	rng.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	return keys, conns
}

// groupsOf is a pool with all connections, and its groups.
func groupsOf() (s *pool.Shard[peerKey, *idleConn], groups [poolKeys]*pool.Group[peerKey, *idleConn]) {
	keys, conns := idleConns()
	s = pool.New[peerKey](len(conns), func(*idleConn) {})
	for i := range groups {
		groups[i] = s.Group(keys[i])
	}
	for i, c := range conns {
		s.Park(groups[i%poolKeys], &c.node)
	}
	return s, groups
}

func takePark(b *testing.B) {
	s, groups := groupsOf()
	for i := 0; b.Loop(); i++ {
		g := groups[i%poolKeys]
		c, ok := s.Take(g)
		if !ok {
			b.Fatal("nothing idle")
		}
		s.Park(g, &c.node)
	}
}

// mutexPool is the obvious implementation: a map and a mutex.
type mutexPool struct {
	mu   sync.Mutex
	idle map[peerKey][]*idleConn // guarded by mu
}

func (p *mutexPool) take(k peerKey) *idleConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.idle[k]
	c := idle[len(idle)-1]
	p.idle[k] = idle[:len(idle)-1]
	return c
}

func (p *mutexPool) park(k peerKey, c *idleConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle[k] = append(p.idle[k], c)
}

func takeParkMutex(b *testing.B) {
	keys, conns := idleConns()
	p := &mutexPool{idle: make(map[peerKey][]*idleConn)}
	for i, c := range conns {
		p.park(keys[i%poolKeys], c)
	}
	for i := 0; b.Loop(); i++ {
		k := keys[i%poolKeys]
		p.park(k, p.take(k))
	}
}

func takeParkLocked(b *testing.B) {
	var mu sync.Mutex
	s, groups := groupsOf() // guarded by mu
	take := func(g *pool.Group[peerKey, *idleConn]) (*idleConn, bool) {
		mu.Lock()
		defer mu.Unlock()
		return s.Take(g)
	}
	park := func(g *pool.Group[peerKey, *idleConn], c *idleConn) {
		mu.Lock()
		defer mu.Unlock()
		s.Park(g, &c.node)
	}
	for i := 0; b.Loop(); i++ {
		g := groups[i%poolKeys]
		c, ok := take(g)
		if !ok {
			b.Fatal("nothing idle")
		}
		park(g, c)
	}
}

// lockedSlice is what fasthttp has for a host.
type lockedSlice struct {
	mu   sync.Mutex
	idle []*idleConn // guarded by mu
}

func (p *lockedSlice) take() *idleConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.idle) - 1
	c := p.idle[last]
	p.idle[last] = nil
	p.idle = p.idle[:last]
	return c
}

func (p *lockedSlice) park(c *idleConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
}

func takeParkSlices(b *testing.B) {
	_, conns := idleConns()
	var pools [poolKeys]lockedSlice
	for i, c := range conns {
		pools[i%poolKeys].park(c)
	}
	for i := 0; b.Loop(); i++ {
		p := &pools[i%poolKeys]
		p.park(p.take())
	}
}

func takeParkChannel(b *testing.B) {
	_, conns := idleConns()
	var pools [poolKeys]chan *idleConn
	for i := range pools {
		pools[i] = make(chan *idleConn, poolIdle)
	}
	for i, c := range conns {
		pools[i%poolKeys] <- c
	}
	for i := 0; b.Loop(); i++ {
		p := pools[i%poolKeys]
		var c *idleConn
		select {
		case c = <-p:
		default:
			b.Fatal("nothing idle")
		}
		select {
		case p <- c:
		default:
			b.Fatal("full")
		}
	}
}

func takeParkSyncPool(b *testing.B) {
	_, conns := idleConns()
	var pools [poolKeys]sync.Pool
	for i, c := range conns {
		pools[i%poolKeys].Put(c)
	}
	for i := 0; b.Loop(); i++ {
		p := &pools[i%poolKeys]
		c, ok := p.Get().(*idleConn)
		if !ok { // it has forgotten all of them
			c = conns[i%len(conns)]
		}
		p.Put(c)
	}
}

func takeParkPuddle(b *testing.B) {
	_, conns := idleConns()
	var pools [poolKeys]*puddle.Pool[*idleConn]
	for i := range pools {
		next := i
		var err error
		pools[i], err = puddle.NewPool(&puddle.Config[*idleConn]{
			Constructor: func(context.Context) (*idleConn, error) {
				c := conns[next]
				next += poolKeys
				return c, nil
			},
			Destructor: func(*idleConn) {},
			MaxSize:    poolIdle,
		})
		if err != nil {
			b.Fatal(err)
		}
		defer pools[i].Close()
		for range poolIdle {
			if err := pools[i].CreateResource(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	}
	ctx := context.Background()
	for i := 0; b.Loop(); i++ {
		r, err := pools[i%poolKeys].TryAcquire(ctx)
		if err != nil {
			b.Fatal(err)
		}
		r.Release()
	}
}
