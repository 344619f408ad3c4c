package report

import (
	_ "embed"
	"html/template"
	"io"
	"math"
)

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
