package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

// What is drawn stands in a box of this width, which the page stretches to whatever there is: so it holds no text, and
// its strokes do not scale. A row has the height 24, a plot is as high as wide.
const boxWidth = 1000.0

// Plot is lines on two axes.
type Plot struct {
	Title, XName string
	X, Y         []Tick
	Lines        []*Line
}

// Tick is a line across a plot, or across rows. At is its place on the scale.
type Tick struct {
	At   float64
	Text string
}

// Line is one line of a plot, with a mark at each point. Its class is c0, which is ours, to c4, and dotted or faint.
type Line struct {
	Name, Class string
	Faint       float64 // from 0 to 1, which is not faint
	Path        string
	Marks       []Mark
}

// Mark is something drawn. Its class is one of bar, box, rounds, dot, grid, one, and of bars and dots slower or faster
// beside it.
type Mark struct{ Class, Path, Tip string }

// Bar is a mark from one part of the scale to another.
func Bar(class, tip string, from, to, top, bottom float64) Mark {
	a, b := place(from), place(to)
	return Mark{class, fmt.Sprintf("M%v %vH%vV%vH%vZ", a, top, b, bottom, a), tip}
}

// place is where a part of a scale stands, which lies within it.
func place(part float64) float64 { return math.Round(10*boxWidth*max(0, min(part, 1))) / 10 }

// Line adds a line to p.
func (p *Plot) Line(name, class string, faint float64) *Line {
	p.Lines = append(p.Lines, &Line{Name: name, Class: class, Faint: faint})
	return p.Lines[len(p.Lines)-1]
}

// Add adds a point: how far it is to the right and up, of the whole.
func (l *Line) Add(x, y float64, tip string) {
	at, step := fmt.Sprintf("%v %v", place(x), place(1-y)), "L"
	if l.Path == "" {
		step = "M"
	}
	l.Path += step + at
	l.Marks = append(l.Marks, Mark{Path: "M" + at + "h0", Tip: tip})
}

// Label says in words what the last mark of each line says.
func (p *Plot) Label() string {
	var parts []string
	for _, l := range p.Lines {
		if n := len(l.Marks); n > 0 {
			parts = append(parts, l.Marks[n-1].Tip)
		}
	}
	return strings.Join(parts, "; ")
}

// Place is where t stands in the box.
func (t Tick) Place() float64 { return place(t.At) }

// Percent is where t stands, of the width.
func (t Tick) Percent() float64 { return place(t.At) * 100 / boxWidth }

// Down is where t stands from the top, in the box.
func (t Tick) Down() float64 { return place(1 - t.At) }

// Top is where t stands from the top, of the height.
func (t Tick) Top() float64 { return place(1-t.At) * 100 / boxWidth }

// Log is a logarithmic scale from Low to High.
type Log struct{ Low, High float64 }

// At is where v stands on the scale.
func (s Log) At(v float64) float64 { return math.Log(max(v, s.Low)/s.Low) / math.Log(s.High/s.Low) }

// Ticks are 1, 2 and 5 times the powers of ten, or these alone where there would be many.
func (s Log) Ticks(text func(v float64) string) []Tick {
	var all, tens []Tick
	for exponent := -6.0; exponent <= 13; exponent++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, exponent)
			if exponent < 0 {
				v = m / math.Pow(10, -exponent)
			}
			if v < s.Low || v > s.High {
				continue
			}
			t := Tick{s.At(v), text(v)}
			if all = append(all, t); m == 1 {
				tens = append(tens, t)
			}
		}
	}
	if len(all) > 9 {
		return tens
	}
	return all
}

// Ticks cuts a scale from 0 to most into four to ten parts.
func Ticks(most float64, text func(v float64) string) (all []Tick) {
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, part := range []float64{1, 2, 5, 10} {
		if most*part/step >= 4 {
			step /= part
			break
		}
	}
	for k := 0.0; k*step <= most*(1+1e-9); k++ {
		all = append(all, Tick{k * step / most, text(k * step)})
	}
	return all
}

//go:embed dots.svg
var dotsText string

func dotsTemplate() *template.Template { return template.Must(template.New("dots").Parse(dotsText)) }

// Dots is a picture that stands by itself, for light and dark pages: a row for each contender, with a dot for each cell
// and a mark at the mean.
type Dots struct {
	Title, Figures string                  // Figures is the head of what stands to the right
	At             func(v float64) float64 // where a value stands, from 0 to 1
	Scale          []float64               // the values that have a line
	Rows           []DotRow
}

// DotRow is a row of Dots.
type DotRow struct {
	Name   string
	Mean   float64
	Figure string
	Values []float64
	Tips   []string // of each value
}

// WriteSVG writes d as one file without references.
func (d *Dots) WriteSVG(w io.Writer) error { return dotsTemplate().Execute(w, d) }

// X is where a value stands in the picture.
func (d *Dots) X(v float64) float64 { return math.Round(10*(120+620*d.At(v))) / 10 }

// Y is the middle of a row.
func (d *Dots) Y(row int) int { return 64 + 34*row + 17 }

// Shift keeps dots of one value apart.
func (d *Dots) Shift(row, dot int) int { return d.Y(row) + dot%5*3 - 6 }

// Bottom is the lower end of the rows, shifted down by so much.
func (d *Dots) Bottom(by int) int { return 64 + 34*len(d.Rows) + by }
