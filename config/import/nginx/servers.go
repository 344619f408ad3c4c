package nginx

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/config/value"
)

// server is one server { }.
type server struct {
	d       *directive
	scope   *scope
	first   string   // server_name, as $server_name has it
	hosts   []string // its names, as edge has them
	listens []*listener
	routes  []*route
	plain   *route // where requests without TLS are sent, if anywhere else
	others  []hostRule

	rewritten bool           // it answers some paths before it looks for a location
	lost      []lostLocation // that refuse requests
}

// hostRule is an answer for one name of a server, or for all but one.
type hostRule struct {
	host   string
	except bool // for all others
	answer *route
}

// listener is an address, or two of them that are the two halves of one.
type listener struct {
	addresses []string
	port      string
	name      string
	tls       bool
	servers   []*server
	first     *server // that takes requests for unknown hosts
	at        []plan.Place
}

// newServer reads the names of a server.
func (im *importer) newServer(d *directive) *server {
	s := &server{d: d, scope: im.http.inner(d)}
	for _, names := range s.scope.all("server_name") {
		for _, name := range names.args {
			name = strings.ToLower(expand(name, s.scope.constants))
			if s.first == "" {
				s.first = name
			}
			im.addHost(s, name, names)
		}
	}
	return s
}

// addHost adds a name of a server, as server_name has it.
func (im *importer) addHost(s *server, name string, d *directive) {
	hosts := []string{name}
	switch {
	case name == "_" || name == "" || name == "$hostname":
		return
	case strings.HasPrefix(name, "."):
		hosts = []string{name[1:], "*" + name}
	case strings.HasPrefix(name, "~"):
		im.Lose(d.at, "server_name "+name, "hosts are names, or all below one: *.example.com")
		return
	case strings.HasSuffix(name, ".*"):
		im.Lose(d.at, "server_name "+name, "a star stands at the beginning of a host")
		return
	}
	for _, host := range hosts {
		parsed, wrong, _ := value.ParseHost(host, "")
		if wrong != "" {
			im.Lose(d.at, "server_name "+host, wrong)
		} else if !slices.Contains(s.hosts, parsed) {
			s.hosts = append(s.hosts, parsed)
		}
	}
}

// listen finds the listeners of all servers.
func (im *importer) listen() {
	byAddress := map[string]*listener{}
	for _, s := range im.servers {
		list := s.scope.all("listen")
		if list == nil {
			list = []*directive{{name: "listen", args: []string{"80"}, at: s.d.at, used: true}}
		}
		for _, d := range list {
			im.addListen(byAddress, s, d)
		}
	}
	im.joinFamilies()
	for _, l := range im.listeners {
		for _, s := range l.servers {
			s.listens = append(s.listens, l)
		}
		l.name = "http-" + plan.Name(l.port)
		if l.tls {
			l.name = "https-" + plan.Name(l.port)
		}
		for _, other := range im.listeners {
			if other != l && other.name == l.name {
				l.name += "-" + plan.Name(l.addresses[0])
			}
		}
	}
}

// addListen adds one listen directive of a server.
func (im *importer) addListen(byAddress map[string]*listener, s *server, d *directive) {
	address, port, ok := parseListen(d.arg(0))
	if !ok {
		im.Lose(d.at, d.text(), "edge does not know this address")
		return
	}
	l := byAddress[address]
	if l == nil {
		l = &listener{addresses: []string{address}, port: port}
		byAddress[address] = l
		im.listeners = append(im.listeners, l)
	}
	if !slices.Contains(l.servers, s) {
		l.servers = append(l.servers, s)
	}
	if l.first == nil {
		l.first = s
	}
	l.at = append(l.at, d.at)
	for _, option := range d.args[1:] {
		name, _, _ := strings.Cut(option, "=")
		switch name {
		case "default_server", "default":
			l.first = s
		case "ssl":
			l.tls = true
		case "http2":
		case "quic", "http3":
			im.Lose(d.at, "listen … "+option, "HTTP/3 is not available in this version")
		case "proxy_protocol":
			im.Lose(d.at, "listen … "+option, "the PROXY protocol is not available in this version")
		case "reuseport", "backlog", "deferred", "ipv6only", "so_keepalive", "rcvbuf", "sndbuf", "bind", "fastopen":
			im.Note(d.at, "listen … "+option, "nothing to write: edge sets its sockets itself")
		default:
			im.Lose(d.at, "listen … "+option, "edge does not know this option")
		}
	}
	if ssl := s.scope.own("ssl"); ssl != nil && ssl.arg(0) == "on" {
		l.tls = true
	}
}

// parseListen reads an address of listen, and returns it as edge has it and its port.
func parseListen(s string) (address, port string, ok bool) {
	if path, unix := strings.CutPrefix(s, "unix:"); unix {
		return "unix:" + path, "unix", path != ""
	}
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n < 65536 {
		return "0.0.0.0:" + s, s, true
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), "80"
	}
	switch host {
	case "*":
		host = "0.0.0.0"
	case "localhost":
		host = "127.0.0.1"
	}
	n, err := strconv.Atoi(port)
	return net.JoinHostPort(host, port), port, err == nil && n > 0 && n < 65536 && net.ParseIP(host) != nil
}

// joinFamilies makes one listener of 0.0.0.0:80 and [::]:80 where the same servers have both.
func (im *importer) joinFamilies() {
	for _, four := range im.listeners {
		six := slices.IndexFunc(im.listeners, func(l *listener) bool {
			return l.addresses[0] == "[::]:"+four.port && four.addresses[0] == "0.0.0.0:"+four.port &&
				l.tls == four.tls && slices.Equal(l.servers, four.servers) && l.first == four.first
		})
		if six >= 0 {
			four.addresses = []string{":" + four.port}
			four.at = append(four.at, im.listeners[six].at...)
			im.listeners = slices.Delete(im.listeners, six, six+1)
			im.joinFamilies()
			return
		}
	}
}
