package basicauth

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

func TestHash_isReadBack(t *testing.T) {
	for _, kind := range []Kind{Argon2id, Bcrypt} {
		text, err := Hash(kind, []byte("pass:wörd"))
		if err != nil {
			t.Fatal(err)
		}
		h, err := parseHash(text)
		if err != nil {
			t.Fatal(text, err)
		}
		if !h.matches([]byte("pass:wörd")) || h.matches([]byte("pass:word")) {
			t.Errorf("%s does not tell passwords apart", text)
		}
	}
}

func TestHash_refuses(t *testing.T) {
	for want, c := range map[string]struct {
		kind     Kind
		password string
	}{
		"empty":       {Argon2id, ""},
		"longer than": {Argon2id, strings.Repeat("x", passwordMax+1)},
		"first 72":    {Bcrypt, strings.Repeat("x", 73)},
		"control":     {Bcrypt, "a\nb"},
		"the kinds":   {"md5", "a"},
	} {
		if text, err := Hash(c.kind, []byte(c.password)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", want, text, err)
		}
	}
}

// bcrypt reads 72 bytes: a longer password is none, or all that begin so would be one.
func TestBcrypt_longPasswordIsNone(t *testing.T) {
	text, err := bcrypt.GenerateFromPassword([]byte(strings.Repeat("x", 72)), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseHash(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if !h.matches([]byte(strings.Repeat("x", 72))) || h.matches([]byte(strings.Repeat("x", 73))) {
		t.Error("73 bytes are taken for 72")
	}
}

func TestParseHash_refuses(t *testing.T) {
	const b = "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
	const a = "$c2FsdHNhbHQ$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"
	if _, err := parseHash(b); err != nil {
		t.Fatal(err)
	}
	if _, err := parseHash("$argon2id$v=19$m=64,t=1,p=1" + a); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":                                            "not a hash",
		"hunter2":                                     "not a hash",
		"$":                                           "not a hash",
		"$apr1$abc$def":                               "guessed fast",
		"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=":           "guessed fast",
		"$6$abc$def":                                  "guessed fast",
		"$argon2i$v=19$m=64,t=1,p=1" + a:              "guessed fast",
		b[:59]:                                        "not a hash",
		b + "a":                                       "not a hash",
		strings.Replace(b, "N9", "N:", 1):             "not a hash",
		strings.Replace(b, "$10$", "$03$", 1):         "not a hash",
		strings.Replace(b, "$10$", "$1x$", 1):         "not a hash",
		strings.Replace(b, "$10$", "$16$", 1):         "too long",
		strings.Repeat("$2y$", 200):                   "too long",
		"$argon2id$v=16$m=64,t=1,p=1" + a:             "version 19",
		"$argon2id$m=64,t=1,p=1" + a:                  "not a hash",
		"$argon2id$v=19$m=64,t=1" + a:                 "not a hash",
		"$argon2id$v=19$t=1,m=64,p=1" + a:             "not a hash",
		"$argon2id$v=19$m=64,t=0,p=1" + a:             "not a hash",
		"$argon2id$v=19$m=64,t=1,p=0" + a:             "not a hash",
		"$argon2id$v=19$m=7,t=1,p=1" + a:              "not a hash",
		"$argon2id$v=19$m=-1,t=1,p=1" + a:             "not a hash",
		"$argon2id$v=19$m=131073,t=1,p=1" + a:         "too much memory",
		"$argon2id$v=19$m=99999999999,t=1,p=1" + a:    "not a hash",
		"$argon2id$v=19$m=64,t=33,p=1" + a:            "too much",
		"$argon2id$v=19$m=640,t=1,p=17" + a:           "too much",
		"$argon2id$v=19$m=64,t=1,p=1$c2FsdA" + a[12:]: "not a hash",
		"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$!":   "not a hash",
	} {
		_, err := parseHash(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && len(text) > 4 && strings.Contains(err.Error(), text) {
			t.Errorf("the error shows what was given: %v", err)
		}
	}
}

// headOf makes a head with fields Authorization.
func headOf(fields ...string) *message.Head {
	var h message.Head
	for _, f := range fields {
		h.Add("Authorization", f)
	}
	return &h
}

func basic(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }

func TestRead(t *testing.T) {
	long := strings.Repeat("x", credentialsMax-2)
	for _, c := range []struct {
		fields         []string
		want           outcome
		user, password string
	}{
		{nil, missing, "", ""},
		{[]string{""}, missing, "", ""},
		{[]string{"Bearer abc"}, missing, "", ""},
		{[]string{"Basically YTpi"}, missing, "", ""},
		{[]string{"Basic\tYTpi"}, missing, "", ""},
		{[]string{basic("a:b")}, given, "a", "b"},
		{[]string{"bASIC   YTpi"}, given, "a", "b"},
		{[]string{basic("ann:pa:ss:")}, given, "ann", "pa:ss:"},
		{[]string{basic("ann:")}, given, "ann", ""},
		{[]string{basic("jörg:ü")}, given, "jörg", "ü"},
		{[]string{basic("a:" + long)}, given, "a", long},
		{[]string{basic("a:" + long + "x")}, malformed, "", ""},
		{[]string{basic("a:" + strings.Repeat("x", 60000))}, malformed, "", ""},
		{[]string{basic(strings.Repeat("u", 256) + ":b")}, malformed, "", ""},
		{[]string{basic("a:b"), basic("a:b")}, malformed, "", ""},
		{[]string{basic("a:b"), "Bearer x"}, malformed, "", ""},
		{[]string{"Basic"}, malformed, "", ""},
		{[]string{"Basic "}, malformed, "", ""},
		{[]string{"Basic YTpi="}, malformed, "", ""},
		{[]string{"Basic YTo"}, malformed, "", ""},
		{[]string{"Basic YTp="}, malformed, "", ""},
		{[]string{"Basic YTpi YTpi"}, malformed, "", ""},
		{[]string{"Basic YTpi,"}, malformed, "", ""},
		{[]string{"Basic YTq_"}, malformed, "", ""},
		{[]string{"Basic ===="}, malformed, "", ""},
		{[]string{basic("nocolon")}, malformed, "", ""},
		{[]string{basic(":b")}, malformed, "", ""},
		{[]string{basic("a:b\n")}, malformed, "", ""},
		{[]string{basic("a\x00:b")}, malformed, "", ""},
		{[]string{basic("a:b\x7f")}, malformed, "", ""},
	} {
		var room credentialsRoom
		got, o := read(headOf(c.fields...), &room)
		if o != c.want || string(got.user) != c.user || string(got.password) != c.password {
			t.Errorf("%.60q: %d, %q, %q", c.fields, o, got.user, got.password)
		}
	}
}

// What is read as credentials is read as the same by net/http.
func FuzzRead(f *testing.F) {
	for _, s := range []string{basic("a:b"), "Basic YTpi", "basic  YTpi", "Basic YTp=", "Bearer x", basic("a:b:c")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		var room credentialsRoom
		c, o := read(headOf(field), &room)
		if o != given {
			return
		}
		scheme, rest, _ := strings.Cut(field, " ") // net/http takes one space
		r := &http.Request{Header: http.Header{"Authorization": {scheme + " " + strings.TrimLeft(rest, " ")}}}
		user, password, ok := r.BasicAuth()
		if !ok || user != string(c.user) || password != string(c.password) {
			t.Errorf("%q: %q, %q; by net/http %v, %q, %q", field, c.user, c.password, ok, user, password)
		}
	})
}

func TestParseUsers(t *testing.T) {
	h := CheapHash("secret")
	for text, want := range map[string]string{
		"ann:" + h: "",
		"\ufeff# users\r\n\r\nann:" + h + "\r\nbob:" + h: "",
		"":                                 "1: there is no user",
		"# none\n":                         "1: there is no user",
		"ann:" + h + "\nann:" + h:          `2: user "ann": the name is taken`,
		"ann":                              `1: a line is "name:hash"`,
		"\nann:hunter2":                    `2: user "ann": it is not a hash`,
		":" + h:                            "1: user \"\": a name has",
		"a\x01:" + h:                       "a name has",
		strings.Repeat("n", 256) + ":" + h: "a name has",
	} {
		list, err := parseUsers([]byte(text))
		switch {
		case want == "" && (err != nil || list.named["ann"] == nil):
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v", text, err)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add("ann:$2y$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy\n# x\nbob:y")
	f.Add("ann:$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseUsers([]byte(text))
		if err != nil {
			return
		}
		for _, u := range list.list {
			if u.hash.memory() > memoryMax || list.named[u.name] != u {
				t.Errorf("%+v", u)
			}
		}
	})
}

// A pipe in place of the file of users keeps no worker waiting for a writer.
func TestReadFile_waitsForNoWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, _, err := readFile(path)
		done <- err
	}()
	testutil.Eventually(t, testutil.Patience, func() bool { return len(done) == 1 }, "it is read")
	if err := <-done; err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
}

func TestUsers_likelyIsTheSameEachTime(t *testing.T) {
	lines := "ann:" + argonOf("x", 8) + "\nbob:" + argonOf("x", 16) + "\neve:" + argonOf("y", 32)
	list, err := parseUsers([]byte(lines))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[*user]bool{}
	for _, name := range strings.Split("a b c d e f g h i j k l m n o p q r s t u v w x y z", " ") {
		u := list.likely([]byte(name))
		if seen[u] = true; list.likely([]byte(name)) != u {
			t.Errorf("%s changes", name)
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d of 3 users stand for others", len(seen))
	}
}

// slow is a hash that takes as long as the test wants.
type slow struct {
	size  int64
	begun chan int64
	end   chan struct{}
}

func (s *slow) matches(password []byte) bool {
	s.begun <- s.size
	<-s.end
	return string(password) == "secret"
}

func (s *slow) memory() int64 { return s.size }

func TestPool_bounds(t *testing.T) {
	p := &pool{workers: 2}
	h := &slow{10, make(chan int64, 200), make(chan struct{})}
	results := make(chan bool, 200)
	add := func() bool {
		return p.add(&attempt{ctx: context.Background(), hash: h, password: []byte("secret"),
			done: func(same bool) { results <- same }})
	}
	for i := range 2 + waitingMax {
		if !add() {
			t.Fatalf("attempt %d is refused", i)
		}
	}
	<-h.begun
	<-h.begun
	if add() {
		t.Error("there is no bound")
	}
	if len(h.begun) > 0 {
		t.Error("more run than there are workers")
	}
	h.end <- struct{}{}
	<-h.begun
	testutil.Eventually(t, testutil.Patience, add, "there is room again")
	close(h.end)
	for range 3 + waitingMax {
		if !<-results {
			t.Error("a right password is wrong")
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.running == 0 && p.memory == 0 && len(p.waiting) == 0
	}, "nothing runs")
}

// One client that guesses does not keep the others out: each has its part of what waits.
func TestPool_shares(t *testing.T) {
	p := &pool{workers: 1}
	h := &slow{10, make(chan int64, 200), make(chan struct{})}
	done := make(chan bool, 200)
	add := func(client string) bool {
		from, _ := netip.ParseAddr(client)
		return p.add(&attempt{ctx: context.Background(), from: from, hash: h, done: func(same bool) { done <- same }})
	}
	taken := 0
	for i := range 3 * waitingOf {
		if add(fmt.Sprintf("2001:db8::%x", i+1)) {
			taken++
		}
	}
	if taken != 1+waitingOf { // one runs
		t.Errorf("%d of one client are taken, want %d", taken, 1+waitingOf)
	}
	for _, other := range []string{"2001:db8:0:1::1", "192.0.2.1", "::ffff:192.0.2.2", ""} {
		if !add(other) {
			t.Errorf("%q is kept out", other)
		}
		taken++
	}
	for range waitingOf - 1 {
		if !add("::ffff:192.0.2.1") { // the same as the one above
			t.Error("it has no part")
		}
		taken++
	}
	if add("192.0.2.1") {
		t.Error("an address has more than its part")
	}
	close(h.end)
	for range taken {
		<-done
	}
}

// queue is a pool with one worker, which the test is.
type queue struct {
	p         *pool
	current   *attempt // that the worker verifies
	displaced map[netip.Addr]int
}

// known is a hash of which the test says whether a password is the one.
type known bool

func (k known) matches([]byte) bool { return bool(k) }
func (known) memory() int64         { return 0 }

// add has a password of a client wait.
func (q *queue) add(client netip.Addr, right bool) bool {
	return q.p.add(&attempt{from: client, hash: known(right), displaced: func() { q.displaced[client]++ }})
}

// serve ends what the worker does, and returns the client that it serves next.
func (q *queue) serve() netip.Addr {
	if q.current == nil {
		q.current = q.p.next()
	} else {
		q.current = q.p.end(q.current, q.current.hash.matches(nil))
	}
	return q.current.from
}

// guessers returns n addresses, each of them step after the one before.
func guessers(n, step int) (all []netip.Addr) {
	for i := range n {
		at := uint32(10<<24 + 1 + i*step)
		all = append(all, netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, at))))
	}
	return all
}

// Clients that guess as fast as they can, however many they are, keep out no client that has not guessed, and have it
// wait for no turn of theirs: where all are in its network, and where each has one.
func TestPool_guessersDelayNobody(t *testing.T) {
	testutil.OnlyPlain(t)
	for _, many := range []int{1, 4, 8, 64, 100} {
		for _, step := range []int{1, 256} {
			q := &queue{&pool{}, nil, map[netip.Addr]int{}}
			all := guessers(many, step)
			victim := guessers(201, step)[200]
			for round := range 3*many + 20 {
				for _, g := range all {
					q.add(g, false)
				}
				logsIn := round > 2*many && round%3 == 0 // all of the others were served before
				if logsIn && !q.add(victim, true) {
					t.Fatalf("%d guess, %d apart, round %d: a password is refused", many, step, round)
				}
				for _, g := range all {
					q.add(g, false)
				}
				if from := q.serve(); logsIn && from != victim {
					t.Fatalf("%d guess, %d apart, round %d: %v is served first", many, step, round, from)
				}
			}
			if n := q.displaced[victim]; n > 0 {
				t.Errorf("%d guess, %d apart: displaced %d times", many, step, n)
			}
		}
	}
}

// Clients with wrong passwords take turns, whatever each has waiting, and so do networks, whatever clients they have.
func TestPool_takesTurns(t *testing.T) {
	testutil.OnlyPlain(t)
	q := &queue{&pool{}, nil, map[netip.Addr]int{}}
	network := guessers(20, 1)
	lone, other := netip.MustParseAddr("10.0.1.1"), netip.MustParseAddr("2001:db8::1")
	served := map[netip.Addr]int{}
	for range 600 {
		for _, g := range slices.Repeat(network, 4) {
			q.add(g, false)
		}
		q.add(lone, false)
		q.add(other, false)
		served[q.serve()]++
	}
	for _, one := range []netip.Addr{lone, other} {
		if n := served[one]; n < 195 || n > 205 {
			t.Errorf("%v of 3 networks is served %d of 600 times", one, n)
		}
	}
	for _, one := range network {
		if n := served[one]; n < 9 || n > 11 {
			t.Errorf("%v of 20 in a network is served %d of 200 times", one, n)
		}
	}
}

// What is known of clients that do not wait has a bound.
func TestPool_forgets(t *testing.T) {
	testutil.OnlyPlain(t)
	q := &queue{&pool{}, nil, map[netip.Addr]int{}}
	for _, g := range guessers(3*partiesMax, 256) {
		q.add(g, false)
		q.serve()
	}
	if n := len(q.p.parties); n > partiesMax {
		t.Errorf("%d networks and clients are known", n)
	}
}

func TestPool_memory(t *testing.T) {
	p := &pool{workers: 4}
	begun, end := make(chan int64, 10), make(chan struct{})
	results := make(chan bool, 10)
	for _, size := range []int64{memoryMax / 2, memoryMax/2 + 1, 1, memoryMax} {
		p.add(&attempt{ctx: context.Background(), hash: &slow{size, begun, end},
			done: func(same bool) { results <- same }})
	}
	want := []int64{memoryMax / 2, memoryMax/2 + 1, 1, memoryMax}
	if got := <-begun; got != want[0] || len(begun) > 0 {
		t.Errorf("%d began, and %d more", got, len(begun))
	}
	end <- struct{}{}
	if got := <-begun; got != want[1] {
		t.Errorf("%d began, in another order", got)
	}
	close(end)
	for range want {
		if <-results {
			t.Error("no password is right")
		}
	}
}

// panics is a hash that cannot be computed.
type panics struct{}

func (panics) matches([]byte) bool { panic("on purpose") }
func (panics) memory() int64       { return 1 }

func TestPool_goesOn(t *testing.T) {
	p := &pool{workers: 1}
	results := make(chan bool, 3)
	done := func(same bool) { results <- same }
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	var asked atomic.Int64
	for _, a := range []*attempt{
		{ctx: context.Background(), hash: panics{}}, {ctx: gone, hash: counting{&asked}},
		{ctx: context.Background(), hash: counting{&asked}},
	} {
		a.password, a.done = []byte("secret"), done
		p.add(a)
	}
	if got := [3]bool{<-results, <-results, <-results}; got != [3]bool{false, false, true} || asked.Load() != 1 {
		t.Error(got, asked.Load())
	}
}

// counting counts how often it is computed.
type counting struct{ n *atomic.Int64 }

func (c counting) matches(password []byte) bool {
	c.n.Add(1)
	return string(password) == "secret"
}

func (counting) memory() int64 { return 1 }

func TestRemembers(t *testing.T) {
	a := &auth{remember: 100}
	list, err := parseUsers([]byte("ann:" + CheapHash("secret")))
	if err != nil {
		t.Fatal(err)
	}
	u, other := list.named["ann"], &user{name: "ann"}
	remembered().Set(sealed(&u.id, []byte("ann:secret")), 100)
	for _, c := range []struct {
		u     *user
		whole string
		now   int64
		want  bool
	}{
		{u, "ann:secret", 10, true},
		{u, "ann:secreT", 10, false},
		{other, "ann:secret", 10, false}, // the hash was changed
		{u, "ann:secret", 99, true},      // and it is used now
		{u, "ann:secret", 198, true},
		{u, "ann:secret", 298, false},
	} {
		if got := a.remembers(c.u, []byte(c.whole), c.now); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if (&auth{}).remembers(u, []byte("ann:secret"), 10) {
		t.Error("it is off")
	}
}

// BenchmarkRemembered is what a request with a password that was verified costs.
func BenchmarkRemembered(b *testing.B) {
	a := &auth{remember: 1 << 62}
	list, err := parseUsers([]byte("ann:" + CheapHash("secret")))
	if err != nil {
		b.Fatal(err)
	}
	h := headOf(basic("ann:secret"))
	remembered().Set(sealed(&list.named["ann"].id, []byte("ann:secret")), 1<<62)
	b.ReportAllocs()
	for b.Loop() {
		var room credentialsRoom
		c, _ := read(h, &room)
		if !a.remembers(list.named[string(c.user)], c.whole, 1) {
			b.Fatal("it is not remembered")
		}
	}
}
