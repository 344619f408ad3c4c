package dns

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of resolv.conf(5), and what goes where it says nothing.
const (
	ndotsMax        = 15
	attemptsDefault = 2
	attemptsMax     = 5
	timeoutDefault  = 2 * time.Second // of one question to one server; less than in glibc, which has 5
	timeoutMax      = 30 * time.Second
	serversMax      = 8
	searchMax       = 16
	lookAgain       = 5 * time.Second // how often the times of the files are compared
	fileMax         = 4 << 20
)

// settings is what resolv.conf says.
// Immutable.
type settings struct {
	servers  []netip.AddrPort // at least one
	search   []string         // without dots at the ends
	ndots    int
	attempts int
	timeout  time.Duration
}

// parseSettings reads the text of resolv.conf. Lines that it does not know are left out, as glibc does.
func parseSettings(text string) *settings {
	s := &settings{ndots: 1, attempts: attemptsDefault, timeout: timeoutDefault}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line, _, _ = strings.Cut(line, ";")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if ip, err := netip.ParseAddr(f[1]); err == nil && len(s.servers) < serversMax {
				s.servers = append(s.servers, netip.AddrPortFrom(ip, 53))
			}
		case "domain", "search":
			s.search = nil
			for _, domain := range f[1:min(len(f), searchMax+1)] {
				if domain = strings.Trim(domain, "."); domain != "" {
					s.search = append(s.search, domain)
				}
			}
		case "options":
			for _, option := range f[1:] {
				s.option(option)
			}
		}
	}
	if len(s.servers) == 0 {
		s.servers = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("[::1]:53")}
	}
	return s
}

func (s *settings) option(text string) {
	name, value, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return
	}
	switch name {
	case "ndots":
		s.ndots = min(n, ndotsMax)
	case "attempts":
		s.attempts = max(1, min(n, attemptsMax))
	case "timeout":
		s.timeout = min(max(time.Duration(n)*time.Second, time.Second), timeoutMax)
	}
}

// candidates returns the full names to ask for, in order. A name that ends with a dot is full.
func (s *settings) candidates(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{name}
	}
	var all []string
	for _, domain := range s.search {
		all = append(all, name+"."+domain+".")
	}
	if strings.Count(name, ".") >= s.ndots {
		return append([]string{name + "."}, all...)
	}
	return append(all, name+".")
}

// hosts is what /etc/hosts says, by name in lower case.
type hosts map[string][]netip.Addr

func parseHosts(text string) hosts {
	h := hosts{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		ip, err := netip.ParseAddr(f[0])
		if err != nil {
			continue
		}
		for _, name := range f[1:] {
			name = canonical(name)
			h[name] = append(h[name], ip)
		}
	}
	return h
}

// file is a file whose parsed text is kept until it changes.
// Safe for any goroutine.
type file[T any] struct {
	path  string
	parse func(text string) T

	mu      sync.Mutex
	looked  time.Time // when its times were compared; guarded by mu
	changed time.Time // guarded by mu
	size    int64     // guarded by mu
	known   bool      // value is of some text; guarded by mu
	value   T         // guarded by mu
}

// load returns what the file says. A file that cannot be read says nothing, or what it said before.
func (f *file[T]) load() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.known && now.Sub(f.looked) < lookAgain {
		return f.value
	}
	f.looked = now
	stat, err := os.Stat(f.path)
	switch {
	case err == nil && stat.Size() > fileMax, err != nil && f.known:
		err = os.ErrInvalid
	case err == nil && (!f.known || stat.Size() != f.size || !stat.ModTime().Equal(f.changed)):
		var text []byte
		if text, err = os.ReadFile(f.path); err == nil {
			f.value, f.known, f.size, f.changed = f.parse(string(text)), true, stat.Size(), stat.ModTime()
		}
	}
	if err != nil && !f.known {
		f.value, f.known = f.parse(""), true
	}
	return f.value
}
