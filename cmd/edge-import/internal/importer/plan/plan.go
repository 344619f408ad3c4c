package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/edge-proxy/edge/internal/config"
)

// Place is a line of a file that is imported.
type Place struct {
	File string
	Line int
}

// String returns "nginx.conf:31".
func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Finding says what became of a line that is not in the result as it was.
type Finding struct {
	Place
	Lost bool   // the result does something else than the file said
	What string // the directive, or what is not the same
	Why  string // what edge has, or has not
}

// String returns the finding as it is printed.
func (f Finding) String() string {
	kind := "note"
	if f.Lost {
		kind = "not carried"
	}
	return fmt.Sprintf("%s: %s: %s (%s)", f.Place, kind, oneLine(f.What), oneLine(f.Why))
}

// Forwarded is told of where a program adds the address of its client to X-Forwarded-For.
const Forwarded = "edge says who its client is and keeps what a client says of others only where it is a proxy that " +
	"the listener trusts: trusted_proxies = [\"10.0.0.0/8\"] in [[listeners]]"

// AnySender are all senders of the PROXY protocol, where a program believes each of them. NameSenders tells of it.
const (
	AnySender   = `["0.0.0.0/0", "::/0", "unix"]`
	NameSenders = "anybody who reaches the listener can claim any address: name load balancers in proxy_protocol.from"
)

// Plan is what becomes of a file of another program. Owned by one goroutine.
type Plan struct {
	Program  string // "nginx"
	File     string // as the command line names it
	Path     string // of the language: the path that conditions compare, where that is no plain path
	Pairs    []Pair // certificates that the program has ordered
	blocks   []*Block
	tables   map[string]*Block // of which there is one, by header
	named    map[string]*Block // by their content
	names    map[string]bool   // of these, with their kinds
	findings []Finding
	told     map[Finding]bool
}

// Pair is a certificate that a program has ordered, with its key, both in PEM.
type Pair struct {
	Place             // the line that names its file
	Authority  string // see issue.Keep
	Names      []string
	Chain, Key []byte
}

// Block is a table of edge.toml.
type Block struct {
	header string // "[[routes]]"; "" for keys at the top
	name   string // in the header
	of     *Block // the service that it is a route of; nil: none
	from   []Place
	notes  []string
	keys   []key
}

// key is a line of a Block.
type key struct {
	name, value string // as TOML has them
	at          Place
	stands      string // what the line falls back to where its value is refused: another value; "" removes it
}

// Lose adds a finding about something that the result does not do.
func (p *Plan) Lose(at Place, what, why string) { p.add(Finding{at, true, what, why}) }

// Note adds a finding about something that needs nothing, or something to know.
func (p *Plan) Note(at Place, what, why string) { p.add(Finding{at, false, what, why}) }

func (p *Plan) add(f Finding) {
	if p.told == nil {
		p.told = map[Finding]bool{}
	}
	if !p.told[f] {
		p.told[f], p.findings = true, append(p.findings, f)
	}
}

// Findings returns what was found, by file and line.
func (p *Plan) Findings() []Finding {
	list := slices.Clone(p.findings)
	slices.SortStableFunc(list, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return list
}

// Losses returns how many findings are losses.
func (p *Plan) Losses() (n int) {
	for _, f := range p.findings {
		if f.Lost {
			n++
		}
	}
	return n
}

// Add adds an empty block with this header, as in "[[routes]]", for lines of the file.
func (p *Plan) Add(header string, from ...Place) *Block {
	b := &Block{header: header}
	b.From(from...)
	p.blocks = append(p.blocks, b)
	return b
}

// Block returns the block with this header, added where there is none.
func (p *Plan) Block(header string) *Block {
	if p.tables == nil {
		p.tables = map[string]*Block{}
	}
	if p.tables[header] == nil {
		p.tables[header] = p.Add(header)
	}
	return p.tables[header]
}

// KeepIn sets the folder that keeps ordered certificates, whatever the file says.
func (p *Plan) KeepIn(folder string) {
	if b := p.tables["[acme]"]; b != nil && len(b.keys) > 0 { // else it would order certificates
		b.Set("storage", String(folder), Place{})
	}
}

// Present puts certificates of files in the place of the internal ones for stars that have no other. find returns the
// files for a star; "": there are none.
func (p *Plan) Present(find func(star string) (cert, key string)) {
	for _, b := range p.blocks {
		i := slices.IndexFunc(b.keys, func(k key) bool { return k.name == "hosts" })
		at := slices.IndexFunc(b.keys, func(k key) bool { return k.name == "cert" && k.value == `"internal"` })
		if b.header != "[[certificates]]" || i < 0 || at < 0 {
			continue
		}
		star := strings.Trim(b.keys[i].value, `[]"`)
		if !strings.HasPrefix(star, "*.") || strings.Contains(star, ",") {
			continue
		}
		if cert, key := find(star); cert != "" {
			b.Comment(`ordered before, and not renewed: set dns in [acme], then cert = "acme" here`)
			b.SetOr("cert", String(cert), `"internal"`, Place{})
			b.Set("key", String(key), Place{})
		}
	}
}

// Routes reports whether a route of a listener has this host.
func (p *Plan) Routes(listener, host string) bool {
	is := func(k key) bool { return k.name == "host" && strings.Contains(k.value, String(host)) }
	other := func(k key) bool { return k.name == "listener" && !strings.Contains(k.value, String(listener)) }
	return slices.ContainsFunc(p.blocks, func(b *Block) bool {
		return b.header == "[[routes]]" && slices.ContainsFunc(b.keys, is) && !slices.ContainsFunc(b.keys, other)
	})
}

// From adds lines that the block comes from.
func (b *Block) From(from ...Place) {
	for _, at := range from {
		if at.Line > 0 && !slices.Contains(b.from, at) {
			b.from = append(b.from, at)
		}
	}
}

// Comment adds a line of text before the block.
func (b *Block) Comment(text string) { b.notes = append(b.notes, oneLine(text)) }

// Set adds a line, or replaces the one of that name. value is a value of TOML, see String and the like.
func (b *Block) Set(name, value string, at Place) { b.SetOr(name, value, "", at) }

// SetOr is Set with another value for the case that the first one is refused.
func (b *Block) SetOr(name, value, other string, at Place) {
	b.From(at)
	for i := range b.keys {
		if b.keys[i].name == name {
			b.keys[i] = key{name, value, at, other}
			return
		}
	}
	b.keys = append(b.keys, key{name, value, at, other})
}

// Agree is Set, but for a line that has another value: that stays, and same is false.
func (b *Block) Agree(name, value string, at Place) (same bool) {
	if slices.ContainsFunc(b.keys, func(k key) bool { return k.name == name && k.value != value }) {
		return false
	}
	b.Set(name, value, at)
	return true
}

// Has reports whether the block has a line of that name.
func (b *Block) Has(name string) bool {
	return slices.ContainsFunc(b.keys, func(k key) bool { return k.name == name })
}

// Check says what is wrong with the text of a configuration. Only errors count.
type Check func(text []byte) *config.Report

// TextOnly checks a text without looking at what it names on this machine.
func TextOnly(text []byte) *config.Report {
	_, report := config.Parse("edge.toml", text)
	return report
}

// line is what one line of the text is.
type line struct {
	block *Block
	key   int // its index among the keys of the block; -1 for its header and comments
}

// Text returns the text of edge.toml, without what check refuses. That is among the findings afterwards. A line stays
// that names a file which this machine lacks: the result is for another one.
func (p *Plan) Text(check Check) []byte {
	for {
		text, lines := p.write()
		report := check(text)
		p.keepMissing(report, lines)
		if report.OK() || len(p.blocks) == 0 {
			return text
		}
		p.repair(report, lines)
	}
}

// keepMissing takes errors about files that are not there out of a report, and tells of the lines.
func (p *Plan) keepMissing(report *config.Report, lines []line) {
	report.Errors = slices.DeleteFunc(report.Errors, func(e config.Problem) bool {
		at := e.Line - 1
		if !strings.Contains(e.Message, syscall.ENOENT.Error()) || at < 0 || at >= len(lines) || lines[at].key < 0 {
			return false
		}
		b := lines[at].block
		if slices.ContainsFunc(b.keys, func(k key) bool { return k.stands != "" && k.stands != `"internal"` }) {
			return false // an ordered certificate stands in
		}
		k := b.keys[lines[at].key]
		p.Lose(cmp.Or(k.at, Place{File: p.File}), Said(k.name, k.value), "edge says here: "+e.Message+
			"; edge run and edge check need it where the result is used")
		return true
	})
}

// selecting are the keys, by header, that say which requests a block is for: without one it would take others.
var selecting = map[string][]string{
	"[[routes]]": {"host", "path", "listener", "header"},
}

// deciding are the keys of rules and routes that say where requests go: without one, some could pass that are to be
// refused.
var deciding = []string{"when", "deny", "drop", "limit", "filters", "set", "dest"}

// repair removes what a report complains of: lines, and blocks that are wrong without one of their lines being so. It
// removes one at least.
func (p *Plan) repair(report *config.Report, lines []line) {
	refused := map[line]string{}
	for i := range report.Errors {
		e := &report.Errors[i]
		if at := e.Line - 1; at >= 0 && at < len(lines) && lines[at].block != nil {
			refused[lines[at]] = e.Message
		}
	}
	if len(refused) == 0 { // it is too long: a part of it goes, or thousands of rounds would follow
		for _, b := range p.blocks[len(p.blocks)*7/8:] {
			refused[line{b, -1}] = report.Errors[0].Message
		}
	}
	for _, b := range slices.Clone(p.blocks) {
		p.shut(b, refused)
	}
	for _, b := range p.blocks {
		for i := -1; i < len(b.keys) && b.of != nil; i++ { // without one route a service would lead others elsewhere
			if why := refused[line{b, i}]; why != "" {
				refused[line{b.of, -1}] = why
			}
		}
	}
	gone := false // the route whose rules come next
	p.blocks = slices.DeleteFunc(p.blocks, func(b *Block) bool {
		if gone && b.header == "[[routes.rules]]" || b.of != nil && refused[line{b.of, -1}] != "" {
			refused[line{b, -1}] = "its route or service is not there"
		}
		stays := p.mend(b, refused)
		if b.header == "[[routes]]" {
			gone = !stays
		}
		return !stays
	})
}

// shut makes a listener answer 403 to all requests where it cannot ask for certificates as the program does: without
// that it would let all clients in. Without the listener, its requests could come by another one.
func (p *Plan) shut(b *Block, refused map[line]string) {
	if b.header != "[[listeners]]" {
		return
	}
	var rule *Block
	for i, k := range b.keys {
		if why := refused[line{b, i}]; why != "" && strings.HasPrefix(k.name, "client_") {
			p.Lose(k.at, k.name+" = "+k.value, "edge says: "+why+"; all requests of the listener are refused: 403")
			rule = &Block{header: "[[rules]]", from: b.from}
		}
	}
	if rule == nil {
		return
	}
	for _, k := range b.keys {
		if k.name == "name" {
			rule.Set("when", Literal("listener == "+k.value), Place{})
		}
	}
	rule.Set("deny", "403", Place{})
	p.blocks = slices.Insert(p.blocks, 0, rule)
	b.keys = slices.DeleteFunc(b.keys, func(k key) bool { return strings.HasPrefix(k.name, "client_") })
	maps.DeleteFunc(refused, func(l line, _ string) bool { return l.block == b }) // their numbers are others now
}

// mend removes what is refused of a block, and reports whether the block stays. Where it may refuse requests, it
// refuses all that it is for.
func (p *Plan) mend(b *Block, refused map[line]string) (stays bool) {
	wrong := func(i int) bool { return refused[line{b, i}] != "" }
	for i, k := range b.keys {
		if wrong(i) && (slices.Contains(selecting[b.header], k.name) || strings.HasPrefix(b.header, "[filters.") ||
			strings.HasPrefix(b.header, "[services.") && (strings.HasPrefix(k.name, "client_") || k.name == "peek")) {
			refused[line{b, -1}] = k.name + " = " + k.value + ": " + refused[line{b, i}]
		}
	}
	at := Place{File: p.File}
	if len(b.from) > 0 {
		at = b.from[0]
	}
	if wrong(-1) {
		p.Lose(at, strings.Trim(b.header, "[]")+" of the result", "edge says: "+refused[line{b, -1}])
		return false
	}
	rule, some, closed := strings.HasSuffix(b.header, "rules]]"), false, false
	for i, k := range b.keys {
		some = some || wrong(i)
		closed = closed || slices.Contains(deciding, k.name) && (wrong(i) || rule && k.name != "when")
	}
	closed = closed && some && (rule || b.header == "[[routes]]")
	var kept []key
	for i, k := range b.keys {
		if wrong(i) {
			why := "edge says: " + refused[line{b, i}]
			if closed {
				why += "; all such requests are refused: 403"
			}
			p.Lose(cmp.Or(k.at, at), Said(k.name, k.value), why)
			k.value, k.stands = k.stands, ""
		}
		if k.value != "" && (!closed || k.name == "when" || slices.Contains(selecting[b.header], k.name)) {
			kept = append(kept, k)
		}
	}
	switch b.keys = kept; {
	case closed && rule:
		b.keys = append(kept, key{name: "deny", value: "true"})
	case closed:
		b.keys = append(kept, key{name: "dest", value: String("status:403")})
	}
	return closed || !some || !rule
}

// Said returns a line as findings show it: without the key of an account.
func Said(name, value string) string {
	if strings.HasPrefix(name, "eab") {
		value = "…"
	}
	return name + " = " + value
}

// commentMax is how many places the comment of a block names.
const commentMax = 6

// write returns the text, and what each of its lines is.
func (p *Plan) write() (text []byte, lines []line) {
	var b strings.Builder
	put := func(at line, s string) {
		b.WriteString(s + "\n")
		lines = append(lines, at)
	}
	put(line{}, "# Imported from "+oneLine(p.File)+" of "+p.Program+" by edge import.")
	var above *Block
	for _, block := range p.inOrder() {
		if len(block.keys) == 0 {
			continue
		}
		own := line{block, -1}
		put(line{}, "")
		inner := block.header == "[[routes.rules]]" // of the block above, which may name its lines
		if len(block.from) > 0 && !(inner && block.within(above)) {
			put(own, "# "+places(block.from))
		}
		if !inner {
			above = block
		}
		for _, note := range block.notes {
			put(own, "# "+note)
		}
		if block.header != "" {
			put(own, block.header)
		}
		width := 0
		for _, k := range block.keys {
			width = max(width, len(k.name))
		}
		for i, k := range block.keys {
			for n, part := range strings.Split(k.value, "\n") {
				if n == 0 {
					part = fmt.Sprintf("%-*s = %s", width, k.name, part)
				}
				put(line{block, i}, part)
			}
		}
	}
	return []byte(b.String()), lines
}

// within reports whether all lines of b are named by another block.
func (b *Block) within(above *Block) bool {
	return !slices.ContainsFunc(b.from, func(at Place) bool { return !slices.Contains(above.from, at) }) &&
		len(above.from) <= commentMax
}

// inOrder returns the blocks as a reader looks for them; blocks of one kind as they were added.
func (p *Plan) inOrder() []*Block {
	list := slices.Clone(p.blocks)
	rank := func(b *Block) int {
		if b.header == "" {
			return -1 // after a table its keys would belong to the table
		}
		if b.of != nil {
			return slices.Index(order, "[services.")
		}
		return slices.IndexFunc(order, func(begin string) bool { return strings.HasPrefix(b.header, begin) })
	}
	slices.SortStableFunc(list, func(a, b *Block) int { return cmp.Compare(rank(a), rank(b)) })
	return list
}

// order is what headers begin with, in the order of the result. The last one is the beginning of any.
var order = []string{"[global]", "[log]", "[[listeners]]", "[services.", "[acme]", "[tls]", "[[tls.",
	"[[certificates]]", "[filters.", "[defaults]", "[upstream", "[destinations.", "[[rules]]", "[[routes", ""}

// places lists where a block comes from: "nginx.conf:3, 4, 17".
func places(from []Place) string {
	from = slices.Clone(from)
	slices.SortStableFunc(from, func(a, b Place) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	var b strings.Builder
	for i, at := range from {
		switch {
		case i == commentMax:
			return b.String() + ", …"
		case i == 0:
			b.WriteString(oneLine(at.String()))
		case at.File == from[i-1].File:
			fmt.Fprintf(&b, ", %d", at.Line)
		default:
			b.WriteString(", " + oneLine(at.String()))
		}
	}
	return b.String()
}

// Carried returns the places that blocks and lines of the result come from.
func (p *Plan) Carried() (list []Place) {
	for _, b := range p.blocks {
		list = append(list, b.from...)
	}
	return list
}

// Told returns the lines of files that are in the result or have a finding.
func (p *Plan) Told() map[Place]bool {
	told := map[Place]bool{}
	for _, at := range p.Carried() {
		told[at] = true
	}
	for _, f := range p.Findings() {
		told[f.Place] = true
	}
	return told
}
