package tlsrules

import (
	"crypto/tls"
	"slices"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/lang"
)

// Rule decides about the handshakes that its condition holds for. What it leaves at the zero value it does not decide.
type Rule struct {
	When        *lang.Condition // a condition on handshakes; nil: all
	Deny        bool
	Pass        bool // the connection is not for us: it is handed on as it came
	Auth        *Auth
	MinVersion  uint16
	Certificate Certificate
	Count       *Count // nil: nothing is counted
}

// Certificate shows a client a certificate: it is tls.Config.GetCertificate.
type Certificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error)

// Auth says which certificate a client is asked for. Immutable.
type Auth struct {
	Asked   string // in words: equal for two that ask for the same, in other configurations too
	Require bool   // there is no request without a certificate that is trusted
}

// Decision is what rules decide about one handshake.
type Decision struct {
	Denied      bool
	Passed      bool
	Auth        *Auth
	MinVersion  uint16
	Certificate Certificate // nil: names choose it
	By          By
}

// By is which rule has decided each thing, by its number; -1: none has.
type By struct{ Deny, Pass, Auth, MinVersion, Certificate int }

// Rules decide about the handshakes of a listener, in their order. Immutable after Prepare, safe for any goroutine.
type Rules struct {
	listener string
	list     []Rule
	base     Decision
	configs  map[kind]*tls.Config
}

// kind is what handshakes with one tls.Config have in common.
type kind struct {
	auth       *Auth
	minVersion uint16
}

// New makes the rules of the listener of that name. base is what holds where no rule decides. An Auth is the same one
// wherever its words are.
func New(listener string, list []Rule, base Decision) *Rules {
	base.By = By{-1, -1, -1, -1, -1}
	return &Rules{listener: listener, list: list, base: base}
}

// Prepare makes every tls.Config that the rules may lead to: the one for a way to ask for certificates and a
// version. Choose needs them.
func (r *Rules) Prepare(made func(auth *Auth, minVersion uint16) *tls.Config) {
	r.configs = make(map[kind]*tls.Config)
	list, base := r.list, &r.base
	auths, versions := []*Auth{base.Auth}, []uint16{base.MinVersion}
	for i := range list {
		if a := list[i].Auth; a != nil {
			auths = append(auths, a)
		}
		if v := list[i].MinVersion; v != 0 {
			versions = append(versions, v)
		}
	}
	for _, a := range auths {
		for _, v := range versions {
			if k := (kind{a, v}); r.configs[k] == nil {
				r.configs[k] = made(a, v)
			}
		}
	}
}

// decide asks the rules in their order: all of them, until one denies or hands on. The first that decides a thing
// decides it. Where a condition could not be asked whole (see lang.Unasked), the handshake is denied.
func (r *Rules) decide(a *asking) Decision {
	d, before := r.base, a.x.State.Unasked()
	for i := range r.list {
		rule := &r.list[i]
		held := rule.When == nil || rule.When.Holds(&a.x)
		if held && rule.Deny || a.x.State.Unasked() != before {
			d.Denied, d.By.Deny = true, i
			break
		}
		if held && rule.Pass {
			d.Passed, d.By.Pass = true, i
			break
		}
		if !held {
			continue
		}
		if rule.Auth != nil && d.By.Auth < 0 {
			d.Auth, d.By.Auth = rule.Auth, i
		}
		if rule.MinVersion != 0 && d.By.MinVersion < 0 {
			d.MinVersion, d.By.MinVersion = rule.MinVersion, i
		}
		if rule.Certificate != nil && d.By.Certificate < 0 {
			d.Certificate, d.By.Certificate = rule.Certificate, i
		}
	}
	return d
}

// Choose decides about a handshake: it is tlsconn.ServerOptions.Choose.
func (r *Rules) Choose(hello *tls.ClientHelloInfo) tlsconn.Terms {
	a := ask(tlsconn.HelloDigest(hello), hello.ServerName, hello.SupportedProtos, r.listener)
	d := r.decide(a)
	a.release()
	if d.Passed { // it was not, when it was whole: a condition goes by the time
		d.Denied, d.By.Deny = true, d.By.Pass
	}
	r.count(&d)
	if d.Denied {
		return tlsconn.Terms{}
	}
	return tlsconn.Terms{
		Config: r.configs[kind{d.Auth, d.MinVersion}], Asked: d.Auth.Asked, Certificate: d.Certificate,
	}
}

// Passes returns the number of the rule by which a connection is not for us; below 0: there is none. It runs on the
// reactor of c, of which nothing but hello is known.
func (r *Rules) Passes(c *engine.Conn, hello *tlsconn.Hello) (rule int) {
	a := askFirst(c, hello, r.listener)
	d := r.decide(a)
	a.release()
	if d.Passed && r.list[d.By.Pass].Count != nil {
		r.list[d.By.Pass].Count.Applied.Add(1)
	}
	return d.By.Pass
}

// count counts the rules that have decided something, each once.
func (r *Rules) count(d *Decision) {
	if d.Denied {
		if c := r.list[d.By.Deny].Count; c != nil {
			c.Denied.Add(1)
		}
		return
	}
	by := [...]int{d.By.Auth, d.By.MinVersion, d.By.Certificate}
	for i, rule := range by {
		if rule < 0 || i > 0 && by[0] == rule || i > 1 && by[1] == rule {
			continue
		}
		if c := r.list[rule].Count; c != nil {
			c.Applied.Add(1)
		}
	}
}

// Guards reports whether requests have to be held against the rules: one of them decides more than a certificate.
func (r *Rules) Guards() bool {
	for i := range r.list {
		if rule := &r.list[i]; rule.Deny || rule.Auth != nil || rule.MinVersion != 0 {
			return true
		}
	}
	return false
}

// HandOn reports whether connections may be handed on: then requests on others may be for the hosts of those.
func (r *Rules) HandOn() bool {
	return slices.ContainsFunc(r.list, func(rule Rule) bool { return rule.Pass })
}

// Fit reports whether a connection may have requests for a host, the name of its handshake where host is empty: whether
// a handshake for that host, by this client and now, would have come to the same terms. What it asks of the rules is
// what this client could have had: it offers what d says that it has offered.
func (r *Rules) Fit(d *tlsconn.Digest, host []byte) bool {
	var a *asking
	if len(host) == 0 {
		a = ask(d, d.ServerName, d.Offered, r.listener)
	} else {
		a = ask(d, host, d.Offered, r.listener)
	}
	if d.Offered == nil && d.ALPN != "" { // it stood before there were rules
		a.agreed[0] = d.ALPN
		a.hello.Offered = a.agreed[:]
	}
	t := r.decide(a)
	a.release()
	return !t.Denied && !t.Passed && t.Auth.Asked == d.Asked && d.Version >= t.MinVersion &&
		(d.Verified || !t.Auth.Require)
}

// Explain returns what is decided about a client that asks for a name from an address, as d has it, and which rules
// hold. Rules after a rule that denies or hands on are not asked.
func (r *Rules) Explain(d *tlsconn.Digest, name string, offered []string) (t Decision, held []bool) {
	a := ask(d, name, offered, r.listener)
	defer a.release()
	t = r.decide(a)
	for i := range r.list {
		when := r.list[i].When
		asked := (!t.Denied || i <= t.By.Deny) && (!t.Passed || i <= t.By.Pass)
		held = append(held, asked && (when == nil || when.Holds(&a.x)))
	}
	return t, held
}
