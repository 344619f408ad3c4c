package config

import "github.com/edge-proxy/edge/config/syntax"

// document is what a file says, typed but not yet resolved. One entry per table of the file.
type document struct {
	top       topEntry
	global    globalEntry
	log       logEntry
	tls       tlsEntry
	defaults  upstreamEntry // [upstream_defaults]
	listeners []*listenerEntry
	upstreams []*upstreamEntry
	members   []*memberEntry // [[load_balancing.backends]]
	routes    []*routeEntry

	certificates []*certificateEntry
}

type topEntry struct {
	given
	allow     []string
	include   []string // stays empty: the files have been merged
	webSocket bool
	grpc      bool
}

type globalEntry struct {
	given
	Global
}

type logEntry struct {
	given
	Log
}

type listenerEntry struct {
	given
	Listener
	own Certificate
}

func (e *listenerEntry) options() *TLSOptions { return &e.TLSOptions }
func (e *listenerEntry) pair() *Certificate   { return &e.own }

// paired is what names the files of a certificate.
type paired interface {
	target
	pair() *Certificate
}

type certificateEntry struct {
	given
	Certificate
}

func (e *certificateEntry) pair() *Certificate { return &e.Certificate }

type tlsEntry struct {
	given
	TLS
	shared TLSOptions // of listeners that do not say it themselves
}

func (e *tlsEntry) options() *TLSOptions { return &e.shared }

type upstreamEntry struct {
	given
	Upstream
	backends []*backendEntry
	alpn     []string
}

// backendEntry is one of the backends of an [upstreams.NAME].
type backendEntry struct {
	given
	address endpoint
	weight  int
}

// memberEntry is one [[load_balancing.backends]], which says itself where it belongs.
type memberEntry struct {
	backendEntry
	name     string
	upstream string
}

type routeEntry struct {
	given
	Route
	pattern   string
	webSocket bool
	grpc      bool
	hosts     []string
	path      string
	dest      string

	redirect       string
	redirectStatus int
}

// newDocument returns a document whose entries that exist once are open, so that they have defaults in any file.
func newDocument() *document {
	doc := &document{}
	for _, s := range sections() {
		if s.shape == shapeOne {
			doc.begin(s.open(doc, nil, nil), s, nil)
		}
	}
	return doc
}

// begin readies the target of an entry that stands at n. A section that exists once may begin again.
func (doc *document) begin(t target, s *section, n *syntax.Node) target {
	g := t.base()
	if g.nodes == nil {
		g.section, g.nodes, g.values = s, make(map[string]*syntax.Node), make(map[string]any)
	}
	if g.node == nil {
		g.node = n
	}
	return t
}
