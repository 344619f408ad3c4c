package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config"
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

// Plan is what becomes of a file of another program. Owned by one goroutine.
type Plan struct {
	Program  string // "nginx"
	File     string // as the command line names it
	blocks   []*Block
	findings []Finding
}

// Block is a table of edge.toml.
type Block struct {
	header string // "[[routes]]"; "" for keys at the top
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
	if !slices.Contains(p.findings, f) {
		p.findings = append(p.findings, f)
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
	for _, b := range p.blocks {
		if b.header == header {
			return b
		}
	}
	return p.Add(header)
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

// Replace is Set for a line that says more than the line called old. It removes that one, if the block has it.
func (b *Block) Replace(old, name, value string, at Place) {
	b.keys = slices.DeleteFunc(b.keys, func(k key) bool { return k.name == old })
	b.Set(name, value, at)
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

// Text returns the text of edge.toml, without what check refuses. That is among the findings afterwards.
func (p *Plan) Text(check Check) []byte {
	for {
		text, lines := p.write()
		report := check(text)
		if report.OK() || len(p.blocks) == 0 {
			return text
		}
		p.repair(report, lines)
	}
}

// guards returns the keys, by header, without which a block would let more requests in than it was meant to.
func guards() map[string][]string {
	return map[string][]string{
		"[[routes]]":    {"host", "path", "listener", "client_cert", "methods", "header", "query"},
		"[[listeners]]": {"client_ca", "client_auth"},
	}
}

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
	if len(refused) == 0 {
		refused[line{p.blocks[len(p.blocks)-1], -1}] = report.Errors[0].Message
	}
	var kept []*Block
	for _, b := range p.blocks {
		for i, k := range b.keys {
			why, found := refused[line{b, i}]
			if found && (slices.Contains(guards()[b.header], k.name) || strings.HasPrefix(b.header, "[filters.")) {
				refused[line{b, -1}] = k.name + " = " + k.value + ": " + why
			}
		}
		if why, found := refused[line{b, -1}]; found {
			at := Place{File: p.File}
			if len(b.from) > 0 {
				at = b.from[0]
			}
			p.Lose(at, strings.Trim(b.header, "[]")+" of the result", "edge says: "+why)
			continue
		}
		kept = append(kept, b)
		if b.header == "[[rules]]" {
			if !p.endRule(b, func(i int) string { return refused[line{b, i}] }) {
				kept = kept[:len(kept)-1]
			}
			continue
		}
		if at := b.barred(func(i int) bool { return refused[line{b, i}] != "" }); at >= 0 {
			p.shut(b, at, refused[line{b, at}])
			continue
		}
		var keys []key
		for i, k := range b.keys {
			why, found := refused[line{b, i}]
			if found {
				p.Lose(k.at, k.name+" = "+k.value, "edge says: "+why)
				if k.stands == "" {
					continue
				}
				k.value, k.stands = k.stands, ""
			}
			keys = append(keys, k)
		}
		b.keys = keys
	}
	p.blocks = kept
}

// endRule has a rule that does something about where requests go refuse them all, where one of its keys is wrong: why
// says so. It reports whether the rule stays.
func (p *Plan) endRule(b *Block, why func(i int) string) (stays bool) {
	var when []key
	wrong, guards := false, false
	for i, k := range b.keys {
		if why(i) != "" {
			wrong = true
			p.Lose(k.at, k.name+" = "+k.value, "edge says: "+why(i))
		} else if k.name == "when" {
			when = append(when, k)
		}
		guards = guards || slices.Contains([]string{"deny", "drop", "filters", "set", "dest"}, k.name)
	}
	if wrong && guards {
		b.keys = append(when, key{name: "deny", value: "true"})
	}
	return !wrong || guards
}

// barred returns which key of a route that refuses requests is wrong; -1: none.
func (b *Block) barred(wrong func(i int) bool) int {
	for i, k := range b.keys {
		if b.header == "[[routes]]" && (k.name == "when" || k.name == "filters") && wrong(i) {
			return i
		}
	}
	return -1
}

// shut has a route refuse all requests that it takes without its condition or its filters, which edge does not take:
// the route may be there to refuse some, so that to leave it out would let them through.
func (p *Plan) shut(b *Block, refused int, why string) {
	var keys []key
	for i, k := range b.keys {
		switch {
		case i == refused:
			at := Place{File: p.File}
			if len(b.from) > 0 {
				at = b.from[0]
			}
			p.Lose(at, k.name+" = "+k.value, "edge says: "+why+"; the route is closed: 403")
		case k.name == "when" || slices.Contains(guards()[b.header], k.name):
			keys = append(keys, k)
		}
	}
	b.keys = append(keys, key{name: "dest", value: String("status:403")})
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
	for _, block := range p.inOrder() {
		if len(block.keys) == 0 && !strings.HasPrefix(block.header, "[[") {
			continue
		}
		own := line{block, -1}
		put(line{}, "")
		if len(block.from) > 0 {
			put(own, "# "+places(block.from))
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

// inOrder returns the blocks as a reader looks for them; those of one kind as they were added.
func (p *Plan) inOrder() []*Block {
	list := slices.Clone(p.blocks)
	rank := func(b *Block) int {
		if b.header == "" {
			return -1 // after a table its keys would be those of the table
		}
		return slices.IndexFunc(order, func(begin string) bool { return strings.HasPrefix(b.header, begin) })
	}
	slices.SortStableFunc(list, func(a, b *Block) int { return cmp.Compare(rank(a), rank(b)) })
	return list
}

// order is what headers begin with, in the order of the result. The last one is the beginning of any.
var order = []string{"[global]", "[log]", "[[listeners]]", "[tls]", "[[certificates]]", "[filters.", "[upstream",
	"[[rules]]", "[[routes]]", ""}

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
