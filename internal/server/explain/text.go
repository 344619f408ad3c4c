package explain

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/config"
)

// othersShown is how many routes that do not take the request are shown as text.
const othersShown = 20

// WriteText writes a for people, on a terminal.
func (a *Answer) WriteText(w io.Writer) error {
	var out bytes.Buffer
	p := &printer{out: &out}
	q := &a.Request
	if q.Scheme == "tcp" {
		p.line("connect", "tcp://%s  from %s", q.Host, q.Client)
	} else {
		p.line("request", "%s %s://%s%s  from %s", q.Method, q.Scheme, q.Host, q.Target, q.Client)
	}
	if path, _, _ := strings.Cut(q.Target, "?"); q.Path != "" && q.Path != path {
		p.line("path", "%s, as routes see it", q.Path)
	}
	a.handshake(p)
	a.decision(p)
	for i := range a.Rules {
		p.rule(label(i, "rules"), i+1, &a.Rules[i])
	}
	for i, s := range a.Steps {
		p.line(label(i, "steps"), "%s: %s%s", s.Phase, s.Text, in(s.At))
	}
	a.cache(p)
	a.backends(p)
	for i, line := range a.Sent {
		p.line(label(i, "sent"), "%s", line)
	}
	p.settings(a.Settings)
	if a.Listener != nil {
		p.line("log", "%s", cmp.Or(strings.Join(a.Log, ", "), "none"))
	}
	if a.Traces != "" {
		p.line("traces", "%s", a.Traces)
	}
	for i, n := range a.Notes {
		p.line(label(i, "notes"), "%s", n)
	}
	a.others(p)
	_, err := w.Write(out.Bytes())
	return err
}

// decision says which listener and which route take the request, or what edge answers.
func (a *Answer) decision(p *printer) {
	label, secured := "listener", ""
	if a.Request.Scheme == "tcp" {
		label = "service"
	}
	if l := a.Listener; l != nil {
		if label == "service" && l.TLS == "on" {
			secured = ", TLS"
		}
		p.line(label, "%s%s%s%s", l.Name, named(l.Address, l.Name), in(l.At), secured)
	} else {
		p.line(label, "none: %s", a.Why)
	}
	if r := a.Route; r != nil {
		share := ""
		if r.All > 0 {
			share = fmt.Sprintf(", %d of %d requests", r.Weight, r.All)
		}
		p.line("route", "%s%s%s%s -> %s", r.Name, named(r.Pattern, r.Name), in(r.At), share, r.Leads)
		p.clauses("          ", r.When)
	}
	if a.Status == 0 {
		return
	}
	text := fmt.Sprint(a.Status)
	if a.Reason != "" {
		text += " " + a.Reason
	}
	if a.Why != "" {
		text += ": " + a.Why
	}
	p.line("answer", "%s", text)
	for _, f := range a.Fields {
		p.line("", "%s", f)
	}
}

// cache says what the cache of the route does with the request.
func (a *Answer) cache(p *printer) {
	c := a.Cache
	switch {
	case c == nil:
		return
	case c.Passed != "":
		p.line("cache", "passed: %s (%s)", c.Passed, c.Why)
		return
	}
	key := []string{fmt.Sprintf("%s %s %s %s", a.Request.Method, a.Request.Scheme, c.Authority, c.Target)}
	switch n := len(c.Dropped); {
	case n == 1:
		key[0] += fmt.Sprintf(" (%s is dropped)", printable.Text(c.Dropped[0]))
	case n > 1:
		key[0] += fmt.Sprintf(" (%s are dropped)", printable.Text(strings.Join(c.Dropped, ", ")))
	}
	for _, t := range c.Key {
		key = append(key, fmt.Sprintf("%s = %q", t.Text, t.Value))
	}
	p.line("cache", "on%s: %s", in(c.At), strings.Join(key, ", "))
	p.line("", "lifetime %s", c.Lifetime)
	p.line("", "not stored: %s", strings.Join(c.NotStored, ", "))
}

// backendsShown bounds the backends that the text has, those that may get the request first.
const backendsShown = 20

// backends says where the request goes.
func (a *Answer) backends(p *printer) {
	u := a.Upstream
	if u == nil {
		return
	}
	how := u.Protocol
	if u.TLS {
		how += " over TLS"
		if u.SNI != "" {
			how += " as " + u.SNI
		}
		if !u.Verify {
			how += ", not verified"
		}
	}
	by := u.Method
	if u.Key != "" {
		by += " by " + u.Key
	}
	if u.Sticky != "" {
		by += ", sticky by " + u.Sticky
	}
	p.line("upstream", "%s%s: %s, %s", u.Name, in(u.At), by, how)
	shown, left := 0, 0
	for _, b := range u.Backends {
		if shown == backendsShown || b.Odds == 0 && len(u.Backends) > backendsShown {
			left++
			continue
		}
		shown++
		role := ""
		if b.Backup {
			role = ", backup"
		} else if b.Tier > 0 {
			role = fmt.Sprintf(", tier %d", b.Tier)
		}
		if b.Zone != "" {
			role += ", zone " + b.Zone
		}
		if b.Unused {
			role += ", not used"
		}
		p.line("", "%5.1f %%  %s, weight %d%s%s", 100*b.Odds, b.Address, b.Weight, role, in(b.At))
	}
	if left > 0 {
		p.line("", "and %d more: --json has all", left)
	}
}

// others says why the other listeners and routes do not take the request.
func (a *Answer) others(p *printer) {
	listeners := "other listeners"
	if a.Request.Scheme == "tcp" {
		listeners = "other services"
	}
	for _, list := range []struct {
		title string
		list  []Other
	}{{listeners, a.OtherListeners}, {"other routes", a.OtherRoutes}} {
		if len(list.list) == 0 {
			continue
		}
		fmt.Fprintf(p.out, "\n%s\n", list.title)
		for _, o := range list.list[:min(len(list.list), othersShown)] {
			printable.Printf(p.out, "  %s%s%s: %s\n", o.Name, named(o.Pattern, o.Name), in(o.At), o.Text)
			p.clauses("    ", o.When)
		}
		if more := len(list.list) - othersShown; more > 0 {
			fmt.Fprintf(p.out, "  and %d more: --json has all\n", more)
		}
	}
}

// printer writes lines with a label before them.
type printer struct{ out *bytes.Buffer }

func (p *printer) line(label, text string, values ...any) {
	fmt.Fprintf(p.out, "%-9s %s\n", label, strings.TrimRight(printable.Word(fmt.Sprintf(text, values...)), " "))
}

func (p *printer) clauses(margin string, list []Clause) {
	_ = WriteClauses(p.out, margin, list) // into memory
}

// WriteClauses writes the parts of a condition in columns, for people: each with what it says, its value, how long it
// takes and where it stands.
func WriteClauses(w io.Writer, margin string, list []Clause) error {
	var rows, out bytes.Buffer
	t := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	for i := range list {
		c := &list[i]
		said, took := fmt.Sprint(c.Holds), ""
		if !c.Asked {
			said = "not asked"
		}
		if c.NS > 0 {
			took = fmt.Sprintf("%d ns", c.NS)
		}
		fmt.Fprintf(t, "%s%s\t%s\t%s\t%s\t%s\n", margin, printable.Text(c.Text), said, printable.Text(c.value()), took,
			c.At)
	}
	_ = t.Flush() // into memory
	for line := range strings.Lines(rows.String()) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	_, err := w.Write(out.Bytes())
	return err
}

func (p *printer) settings(list []config.Setting) {
	var rows bytes.Buffer
	t := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	for i, s := range list {
		printable.Printf(t, "%-9s %s\t%s\t%s\t%s\n", label(i, "settings"), s.Name, s.Value, s.At, s.Doc)
	}
	_ = t.Flush() // into memory
	p.out.Write(rows.Bytes())
}

func label(i int, title string) string {
	if i > 0 {
		return ""
	}
	return title
}

// in returns a place for the end of a line.
func in(at string) string {
	if at == "" {
		return ""
	}
	return " (" + at + ")"
}

// named returns text where it says more than the name before it, which may be text with a number.
func named(text, name string) string {
	if text == "" || strings.HasPrefix(name, text) {
		return ""
	}
	return " " + text
}
