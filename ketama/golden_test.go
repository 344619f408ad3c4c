package ketama

import (
	"bufio"
	"fmt"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const golden = "testdata/nginx.golden"

// sample is an upstream, keys, and the servers that nginx has tried for each of them.
type sample struct {
	upstream
	keys  []string
	tried [][]int
}

// goldenKeys are what a sample asks for beside its own keys: of length 1 to 60.
func goldenKeys() (keys []string) {
	for i := range 1000 {
		keys = append(keys, strings.Repeat("/k", i%25)+strconv.FormatInt(int64(i)*2654435761>>(i%40), 10))
	}
	return keys
}

// samples are the questions whose answers testdata/nginx.golden has.
func samples(t *testing.T) (all []sample) {
	for _, n := range []int{2, 3, 10, 50} {
		servers := groups(rand.New(rand.NewPCG(uint64(n), 5)), n)
		all = append(all, sample{upstream: upstream{servers: servers}, keys: boundaries(t, servers)})
	}
	a, b, point := tied(t, Nginx)
	for _, servers := range [][]Server{{a, b}, {b, a}} {
		keys := []string{keyOf(t, point-1), keyOf(t, point), keyOf(t, point+1)}
		all = append(all, sample{upstream: upstream{servers: servers}, keys: keys})
	}
	next := upstream{servers: groups(rand.New(rand.NewPCG(6, 6)), 20), tries: 4}
	return append(all, sample{upstream: down(40, 5)}, sample{upstream: next})
}

// The servers of each key are those that nginx tried when the file was written, where there is no nginx too.
func TestNginx_golden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	list := readGolden(t)
	if len(list) != len(samples(t)) {
		t.Errorf("%d samples", len(list))
	}
	for n, s := range list {
		r := ring(t, s.servers, Options{})
		for k, key := range append(goldenKeys(), s.keys...) {
			var been []int
			open := func(i int) bool { return s.flags[i] == "" && !slices.Contains(been, i) }
			for _, want := range s.tried[k] {
				got := r.Failover(r.HashString(key), open)
				if got < 0 {
					break
				}
				if been = append(been, got); got != want {
					t.Fatalf("sample %d: %q goes to %v, with nginx to %v", n, key, been, s.tried[k])
				}
			}
			if s.flags == nil && len(been) == 0 {
				t.Fatalf("sample %d: %q goes to no server", n, key)
			}
		}
	}
}

func writeGolden(t *testing.T) {
	version, err := exec.Command(testutil.Nginx(t), "-v").CombinedOutput()
	testutil.Must(t, err)
	text := fmt.Appendf(nil, "# Which servers nginx tries, by go test -run TestNginx_golden -update.\n# %s", version)
	for _, s := range samples(t) {
		text = fmt.Appendf(text, "upstream %d\n", s.tries)
		for i, server := range s.servers {
			line := fmt.Sprintf("server %s %d %s", server.Name, server.Weight, s.flags[i])
			text = append(text, strings.TrimSpace(line)+"\n"...)
		}
		for _, key := range s.keys {
			text = fmt.Appendf(text, "key %s\n", key)
		}
		for chunk := range slices.Chunk(ask(t, s.upstream).Tried(requests(append(goldenKeys(), s.keys...))...), 40) {
			text = append(text, "tried"...)
			for _, tried := range chunk {
				text = append(text, ' ')
				for k, i := range tried {
					if k > 0 {
						text = append(text, ',')
					}
					text = strconv.AppendInt(text, int64(i), 10)
				}
			}
			text = append(text, '\n')
		}
	}
	testutil.Must(t, os.WriteFile(golden, text, 0o644))
}

func readGolden(t *testing.T) (list []sample) {
	t.Helper()
	file, err := os.Open(golden)
	testutil.Must(t, err)
	defer file.Close()
	for in := bufio.NewScanner(file); in.Scan(); {
		words := strings.Fields(in.Text())
		if words[0] == "upstream" {
			list = append(list, sample{})
		}
		if len(list) > 0 {
			list[len(list)-1].add(t, words)
		}
	}
	return list
}

// add takes one line of the file.
func (s *sample) add(t *testing.T, words []string) {
	t.Helper()
	switch words[0] {
	case "server":
		weight, err := strconv.Atoi(words[2])
		testutil.Must(t, err)
		if len(words) > 3 {
			if s.flags == nil {
				s.flags = map[int]string{}
			}
			s.flags[len(s.servers)] = words[3]
		}
		s.servers = append(s.servers, Server{words[1], weight})
	case "key":
		s.keys = append(s.keys, words[1])
	case "tried":
		for _, word := range words[1:] {
			var tried []int
			for number := range strings.SplitSeq(word, ",") {
				i, err := strconv.Atoi(number)
				testutil.Must(t, err)
				tried = append(tried, i)
			}
			s.tried = append(s.tried, tried)
		}
	}
}
