package explain

import (
	"fmt"
	"net/netip"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/lang"
)

// Ask is a request that an operator wants explained.
type Ask struct {
	URL    string // "http://example.com/api?v=1"; without a scheme it is http; a path alone is asked of localhost
	Method string // "": GET
	Fields []string
	Body   string     // with one the method is POST, unless it is given
	Client netip.Addr // of the connection; invalid: 192.0.2.1, an address for documentation

	Stopwatch *lang.Stopwatch // measures the parts of conditions; nil: none is measured
}

// Answer is what becomes of a request.
type Answer struct {
	Request  Request   `json:"request"`
	Listener *Listener `json:"listener"` // null: none takes it

	Handshake *Handshake `json:"handshake,omitempty"` // null: there is none, or no rule is on it

	OtherListeners []Other `json:"other_listeners"` // why each of them does not take it

	Status int      `json:"status"` // of the answer of edge's own; 0: a backend answers
	Reason string   `json:"reason"` // of that answer, as in the access log; "": it is no failure
	Fields []string `json:"fields"` // of that answer: Allow, Location, Proxy-Status
	Why    string   `json:"why"`    // a sentence about that answer; may be empty

	Route       *Route  `json:"route"`        // null: none takes it, or it was answered before
	OtherRoutes []Other `json:"other_routes"` // why each of them does not take it, the nearest first

	Rules []Rule `json:"rules"` // that it was held against, in their order

	Steps    []Step           `json:"steps"`    // what happens to it on the way, in this order
	Cache    *Cache           `json:"cache"`    // null: the answer is not one of a route with a cache
	Upstream *Upstream        `json:"upstream"` // null: edge answers
	Sent     []string         `json:"sent"`     // the lines of the head that a backend gets
	Settings []config.Setting `json:"settings"` // timeouts and limits that apply
	Log      []string         `json:"access_log"`
	Traces   string           `json:"traces,omitempty"` // whether it is recorded, and why; "": there is no [tracing]
	Notes    []string         `json:"notes"`            // what was assumed
}

func (a *Answer) note(text string, values ...any) {
	a.Notes = append(a.Notes, fmt.Sprintf(text, values...))
}

// Request is the request as it was understood.
type Request struct {
	Method string `json:"method"`
	Scheme string `json:"scheme"`
	Host   string `json:"host"`
	Target string `json:"target"`
	Path   string `json:"path"` // as routes see it; "": it was answered before
	Client string `json:"client"`
}

// Listener is the listener that takes the request.
type Listener struct {
	Name    string `json:"name"`
	At      string `json:"at"`      // "edge.toml:3"; "": no file names it
	Address string `json:"address"` // the one of its addresses
	TLS     string `json:"tls"`     // off, on or auto
	SNI     string `json:"sni"`
}

// Route is the route that takes the request.
type Route struct {
	Name    string `json:"name"`
	At      string `json:"at"`
	Pattern string `json:"pattern"`
	Weight  int    `json:"weight"` // of All requests that equal routes share; 0: it shares with none
	All     int    `json:"all"`
	Leads   string `json:"leads_to"` // "upstream api", "status 404", "redirect …", "hello page"

	When []Clause `json:"when,omitempty"` // the parts of its condition
}

// Clause is a part of a condition of the language, and what became of it.
type Clause struct {
	Text    string `json:"text"`
	Holds   bool   `json:"holds"`
	Asked   bool   `json:"asked"` // false: the clauses before it decided
	Value   string `json:"value"` // what its left side was
	Missing bool   `json:"missing"`
	NS      int64  `json:"ns,omitempty"` // one evaluation takes; 0: it was not measured
	At      string `json:"at,omitempty"` // "edge.toml:3:17"
}

// Rule is a rule that the request was held against.
type Rule struct {
	Name  string   `json:"name"`
	At    string   `json:"at"`
	Holds bool     `json:"holds"`
	Does  []string `json:"does"` // where it holds: "deny 403", "rewrite /new{path}"
	When  []Clause `json:"when"` // the parts of its condition

	Refused string `json:"refused,omitempty"` // why the request is, where the condition holds for one reading alone
}

// Handshake is what rules and conditions decide about the handshake of the client.
type Handshake struct {
	Denied      bool   `json:"denied"`
	Passed      string `json:"passed,omitempty"` // the upstream that gets the connection as it is
	ClientAuth  string `json:"client_auth"`      // none, request or require, and the file of authorities
	MinVersion  string `json:"min_version"`
	Certificate string `json:"certificate"` // the file of a certificate chosen otherwise than by the name alone
	At          string `json:"at"`          // of the certificate
	Rules       []Rule `json:"rules"`
}

// Other is a listener or a route that does not take the request.
type Other struct {
	Name    string `json:"name"`
	At      string `json:"at"`
	Pattern string `json:"pattern,omitempty"` // of a route
	Why     string `json:"why"`               // a word: see route.Why; of a listener scheme, port or address
	Text    string `json:"text"`              // one sentence

	When []Clause `json:"when,omitempty"` // of a route: the parts of its condition, where it was asked

	near int // how near it came, for the order
}

// Step is something that happens to the request, or to its answer.
type Step struct {
	Phase string `json:"phase"` // listener, request, answer
	Text  string `json:"text"`
	At    string `json:"at"`
}

// Cache is what the cache of the route does with the request, while nothing is stored.
type Cache struct {
	At        string   `json:"at"`
	Passed    string   `json:"passed"` // a word why the request goes by the cache; "": it does not
	Why       string   `json:"why"`    // what that means; the members after it are of a request that does not
	Authority string   `json:"authority"`
	Target    string   `json:"target"`
	Dropped   []string `json:"dropped"`    // parameters of the query that are left out, for the backend too
	Key       []Text   `json:"key"`        // texts of the route that are a part of the key
	Lifetime  string   `json:"lifetime"`   // of answers, in words
	NotStored []string `json:"not_stored"` // which answers are not
}

// Text is a text of the configuration and its value for the request.
type Text struct {
	Text  string `json:"text"`
	Value string `json:"value"`
}

// Upstream is where the request goes.
type Upstream struct {
	Name     string    `json:"name"`
	At       string    `json:"at"`
	Method   string    `json:"method"`   // load_balancing
	Key      string    `json:"key"`      // hash_key of a method that hashes
	Sticky   string    `json:"sticky"`   // the cookie that keeps clients at backends; "": none
	Protocol string    `json:"protocol"` // h1, h2 or auto
	TLS      bool      `json:"tls"`
	SNI      string    `json:"sni"` // "": the host of the backend
	Verify   bool      `json:"verify"`
	Backends []Backend `json:"backends"`
}

// Backend is one of an Upstream.
type Backend struct {
	Address string  `json:"address"`
	At      string  `json:"at"`
	Weight  int     `json:"weight"`
	Backup  bool    `json:"backup"`
	Tier    int     `json:"tier"`
	Zone    string  `json:"zone"`
	Unused  bool    `json:"unused"` // in another zone or subset than this process uses
	Odds    float64 `json:"odds"`   // its share of such requests while all are up and equally fast, 0 to 1
}
