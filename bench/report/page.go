package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/edge-proxy/edge/bench/machine"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.Must(dotsTemplate().New("chart").Parse(chartText)).
	New("page").Parse(pageText))

// Page is what a command has found, for people with a browser.
type Page struct {
	Title    string
	Leads    []string // lines below the title
	About    string   // how it was measured
	Time     time.Time
	Machine  *machine.Facts // nil: nothing depends on it
	Command  string
	Notes    []string // what to know before one believes it
	Sections []Section
}

// Section is a heading with cards.
type Section struct {
	ID, Title string
	Cards     []Card
}

// Card is about one thing. The fields that are not empty are shown in this order.
type Card struct {
	Name, What string
	Text       []string
	Notes      []string
	Rows       []Row
	Axis       []Tick // below the rows
	Dots       *Dots
	Chart      *Chart
	Plots      []*Plot
	Table      *Table
	Folds      []Fold
}

// Fold is a card that a reader opens by its summary.
type Fold struct {
	Summary string
	Card    Card
}

// Row is a name, marks on a scale, and figures.
type Row struct {
	Name, What string // What is shown when one points at the name
	Ours       bool
	Marks      []Mark
	Figures    []Figure
	Note       string
}

// Figure is a number, which is soft, slower or faster, or none of these.
type Figure struct{ Text, Class string }

// Write writes p as one page that needs nothing else.
func (p *Page) Write(w io.Writer) error {
	shown := *p
	if p.Machine != nil {
		shown.Sections = append(shown.Sections[:len(shown.Sections):len(shown.Sections)], machineSection(p.Machine))
	}
	return pageTemplate.Execute(w, &shown)
}

// Date is when p was measured.
func (p *Page) Date() string {
	if p.Time.IsZero() {
		return ""
	}
	return p.Time.UTC().Format("2 January 2006, 15:04 UTC")
}

func machineSection(f *machine.Facts) Section {
	card := Card{Table: &Table{Rows: f.Rows()}}
	if mitigated, open := f.Mitigated(); len(mitigated)+len(open) > 0 {
		card.Folds = []Fold{{fmt.Sprintf("%d mitigations, %d left open", len(mitigated), len(open)),
			Card{Table: &Table{Rows: append(mitigated, open...)}}}}
	}
	return Section{"machine", "The machine", []Card{card}}
}
