package ketama

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"testing"
)

// thorough reports whether nginx is asked for as many keys as the bar says: make soak does.
func thorough() bool { return os.Getenv("EDGE_SOAK_NGINX") != "" }

// The same server for each key, with 2 to 50 servers. EDGE_SOAK_NGINX=1 asks for 100 000 keys each.
func TestNginx_sameServers(t *testing.T) {
	sizes, keys := []int{2, 3, 7, 50}, 2000
	if thorough() {
		keys = 100_000
		sizes = nil
		for n := 2; n <= 50; n++ {
			sizes = append(sizes, n)
		}
	}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			servers := groups(rand.New(rand.NewPCG(uint64(n), 2)), n)
			same(t, upstream{servers: servers}, append(oracleKeys(uint64(n), keys), boundaries(t, servers)...))
		})
	}
}

// same compares the first server of each key.
func same(t *testing.T, u upstream, keys []string) {
	t.Helper()
	r := ring(t, u.servers, Options{})
	differ := 0
	for k, tried := range ask(t, u).Tried(requests(keys)...) {
		if got := r.PickString(keys[k]); got != tried[0] {
			if differ++; differ < 5 {
				t.Errorf("%q goes to %v, with nginx to %v", keys[k], u.servers[got], u.servers[tried[0]])
			}
		}
	}
	if t.Logf("%d keys, %d differ", len(keys), differ); differ > 0 {
		t.Errorf("%d of %d keys go elsewhere", differ, len(keys))
	}
}

// boundaries are keys whose hash is that of a point, and one more and less.
func boundaries(t *testing.T, servers []Server) (keys []string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(8, 8))
	hashes := ring(t, servers, Options{}).circle.hashes
	list := []uint32{0, 1, 1<<32 - 1, hashes[0], hashes[0] + 1, hashes[len(hashes)-2], hashes[len(hashes)-2] + 1}
	for range 50 {
		h := hashes[rng.IntN(len(hashes))]
		list = append(list, h-1, h, h+1)
	}
	for _, h := range list {
		keys = append(keys, keyOf(t, h))
	}
	return keys
}

// keyOf returns a key of the digits 0 and 1 with a given CRC. Each digit flips fixed bits of it, since a CRC is linear:
// so the digits are the solution of 32 equations, by Gauss.
func keyOf(t *testing.T, h uint32) string {
	t.Helper()
	key := make([]byte, 48)
	for i := range key {
		key[i] = '0'
	}
	type row struct {
		flips  uint32
		digits uint64
	}
	zero := crc32.ChecksumIEEE(key)
	var basis [32]row
	for i := range key {
		key[i] = '1'
		at := row{crc32.ChecksumIEEE(key) ^ zero, 1 << i}
		key[i] = '0'
		for bit := 31; bit >= 0 && at.flips != 0; bit-- {
			switch {
			case at.flips>>bit&1 == 0:
			case basis[bit].flips == 0:
				basis[bit] = at
				at.flips = 0
			default:
				at.flips ^= basis[bit].flips
				at.digits ^= basis[bit].digits
			}
		}
	}
	left, digits := h^zero, uint64(0)
	for bit := 31; bit >= 0; bit-- {
		if left>>bit&1 == 1 {
			left ^= basis[bit].flips
			digits ^= basis[bit].digits
		}
	}
	for i := range key {
		key[i] += byte(digits >> i & 1)
	}
	if got := crc32.ChecksumIEEE(key); got != h {
		t.Fatalf("%08x instead of %08x", got, h)
	}
	return string(key)
}

// Servers that share a point, in both orders, are asked for keys at that point.
func TestNginx_sameServerOfATie(t *testing.T) {
	a, b, point := tied(t, Nginx)
	keys := []string{keyOf(t, point-1), keyOf(t, point), keyOf(t, point+1)}
	c, d := Server{Name: "239.200.0.1:1"}, Server{Name: "239.200.0.2:1", Weight: 9}
	for _, servers := range [][]Server{{a, b}, {b, a}, {c, b, d, a}} {
		same(t, upstream{servers: servers}, append(keys, oracleKeys(1, 500)...))
	}
}

// down is an upstream some of whose servers are marked as down.
func down(n int, each int) upstream {
	u := upstream{servers: groups(rand.New(rand.NewPCG(uint64(n), 3)), n), flags: map[int]string{}}
	for i := range u.servers {
		if i%each != 0 {
			u.flags[i] = "down"
		}
	}
	return u
}

// nginx looks at 21 points for a server that is up; then it takes turns.
func TestNginx_sameFailover(t *testing.T) {
	keys := 1000
	if thorough() {
		keys = 100_000
	}
	for _, each := range []int{2, 5, 20} {
		u := down(40, each)
		r := ring(t, u.servers, Options{})
		up := func(i int) bool { return u.flags[i] == "" }
		turns, others := 0, 0
		list := oracleKeys(3, keys)
		for k, tried := range ask(t, u).Tried(requests(list)...) {
			first, passed := firstUp(r, list[k], up)
			got := r.Failover(r.HashString(list[k]), up)
			switch {
			case passed > Tries:
				turns++
				if passed == Tries+1 && first != tried[0] {
					others++
				}
				if got >= 0 {
					t.Fatalf("%q goes to %d after %d points", list[k], got, passed)
				}
			case got != tried[0]:
				t.Fatalf("%q goes to %d, with nginx to %d after %d points", list[k], got, tried[0], passed)
			}
		}
		if each == 20 && others == 0 || each == 2 && turns > 0 {
			t.Errorf("every %dth server up: %d of %d keys by round robin, %d elsewhere", each, turns, keys, others)
		}
	}
}

// firstUp returns the first server from a key on that is up, and how many points are before it.
func firstUp(r *Ring, key string, up func(int) bool) (server, passed int) {
	for i := range r.Points(r.HashString(key)) {
		if up(i) {
			return i, passed
		}
		passed++
	}
	return -1, passed
}

// A request that fails everywhere goes to the same servers in the same order, each of them once.
func TestNginx_sameNextServers(t *testing.T) {
	keys := 500
	if thorough() {
		keys = 20_000
	}
	u := upstream{servers: groups(rand.New(rand.NewPCG(4, 4)), 30), tries: 6}
	r := ring(t, u.servers, Options{})
	list := oracleKeys(4, keys)
	for k, tried := range ask(t, u).Tried(requests(list)...) {
		var been []int
		for range tried {
			next := r.Failover(r.HashString(list[k]), func(i int) bool {
				for _, b := range been {
					if b == i {
						return false
					}
				}
				return true
			})
			if next < 0 {
				break
			}
			been = append(been, next)
		}
		for n, i := range been {
			if tried[n] != i {
				t.Fatalf("%q goes to %v, with nginx to %v", list[k], been, tried)
			}
		}
		if len(tried) != u.tries || len(been) < 3 {
			t.Fatalf("%q: %d tries, %d of them by the ring", list[k], len(tried), len(been))
		}
	}
}
