package ketama

import (
	"cmp"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var update = flag.Bool("update", false, "write testdata/nginx.golden with what nginx answers")

// upstream is the servers of an upstream block, with what stands after the weight of some.
type upstream struct {
	servers []Server
	flags   map[int]string
	tries   int // servers that a request is sent to, one after the other
}

// ask starts nginx with an upstream.
func ask(t *testing.T, u upstream) *testutil.NginxOracle {
	t.Helper()
	return testutil.AskNginx(t, "", "\t\thash $http_k consistent;\n"+u.block(), u.tries, u.addresses(t))
}

// requests ask an oracle for keys.
func requests(keys []string) []string {
	all := make([]string, len(keys))
	for i, key := range keys {
		all[i] = "/ HTTP/1.1\r\nK: " + key
	}
	return all
}

// block returns the lines of an upstream block.
func (u *upstream) block() string {
	var text strings.Builder
	for i, s := range u.servers {
		fmt.Fprintf(&text, "\t\tserver %s weight=%d max_fails=0 %s;\n", s.Name, s.weight(), u.flags[i])
	}
	return text.String()
}

// addresses returns what nginx calls the servers when it connects: a socket as written, else an address with a port.
func (u *upstream) addresses(t *testing.T) map[string]int {
	t.Helper()
	all := map[string]int{}
	for i, s := range u.servers {
		address := s.Name
		if host, port, err := Nginx.split(s.Name); err != nil {
			t.Fatal(err)
		} else if !strings.EqualFold(s.Name[:5], "unix:") {
			address = dotted(t, host) + ":" + cmp.Or(port, "80")
		}
		if _, twice := all[address]; twice {
			t.Fatalf("two servers at %s", address)
		}
		all[address] = i
	}
	return all
}

// dotted returns the address of a host that is written as one number, which every resolver takes for a name of it.
func dotted(t *testing.T, host string) string {
	t.Helper()
	if !strings.HasPrefix(host, "0x") {
		return host
	}
	n, err := strconv.ParseUint(host, 0, 32)
	testutil.Must(t, err)
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(n)))).String()
}

// oracleKeys are keys that fit a field of a request: of many lengths, bytes above 127 and spaces inside included.
func oracleKeys(seed uint64, n int) []string {
	rng := rand.New(rand.NewPCG(seed, 1))
	keys := make([]string, n)
	for i := range keys {
		key := make([]byte, 1+rng.IntN(80))
		for k := range key {
			for key[k] = byte(33 + rng.IntN(223)); key[k] == 127; {
				key[k] = ' '
			}
		}
		keys[i] = "k" + string(key) + "k"
	}
	return keys
}

// groups are servers of all kinds that nginx can be told of and that are not there.
func groups(rng *rand.Rand, n int) []Server {
	servers, taken := make([]Server, 0, n), map[string]bool{}
	for len(servers) < n {
		id := 1 + rng.IntN(1<<16-1)
		kinds := []string{
			fmt.Sprintf("239.1.%d.%d:%d", id>>8, id&255, 1+rng.IntN(65535)),
			fmt.Sprintf("239.2.%d.%d", id>>8, id&255),
			fmt.Sprintf("[ff02::%x]:%d", id, 1+rng.IntN(65535)),
			fmt.Sprintf("[ff03::%x]", id),
			fmt.Sprintf("unix:/nonexistent/%d.sock", id),
			fmt.Sprintf("UnIX:/nonexistent/a:%d", id),
			fmt.Sprintf("0xef03%04x:%d", id, 1+rng.IntN(65535)),
			fmt.Sprintf("0xef04%04x", id),
		}
		name := kinds[rng.IntN(len(kinds))]
		if !taken[name] {
			taken[name] = true
			servers = append(servers, Server{Name: name, Weight: 1 + rng.IntN(1+rng.IntN(10))})
		}
	}
	return servers
}
