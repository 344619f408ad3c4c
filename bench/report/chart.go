package report

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
)

// What a chart measures, in the units of its picture.
const (
	chartLeft, chartWide = 470.0, 410.0 // the scale
	chartRow             = 22
	chartTop             = 44
	keysInRow, keyWide   = 4, 220
)

// The shapes of points: colors alone do not tell them apart for everybody.
var shapes = []string{
	"M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z", "M-4.5-4.5h9v9h-9z", "M0-6l5.5 10h-11z", "M0-6l6 6-6 6-6-6z",
	"M0 6l5.5-10h-11z", "M-6-2h4v-4h4v4h4v4h-4v4h-4v-4h-4z", "M-6-2.5h12v5h-12z", "M-2.5-6h5v12h-5z",
}

//go:embed chart.svg
var chartText string

var errNoRows = errors.New("nothing to draw was measured")

var chartTemplate = template.Must(template.New("chart").Parse(chartText))

// Chart is a picture that stands by itself, for light and dark pages: a row for each subject, with a point for each of
// some names. It has colors for eight.
type Chart struct {
	Title string
	Names []string
	Axis  []Tick
	Rows  []ChartRow
}

// ChartRow is a row of a Chart.
type ChartRow struct {
	Name   string
	Points []ChartPoint
}

// ChartPoint is the point of one of Names, by its index, at a place of the scale. One beyond the scale stands at its
// end, with Text beside it.
type ChartPoint struct {
	Name      int
	At        float64
	Text, Tip string
}

// Beyond tells whether p stands at the end of the scale only.
func (p ChartPoint) Beyond() bool { return p.At > 1 }

// WriteSVG writes c as one file without references. A chart without rows is an error.
func (c *Chart) WriteSVG(w io.Writer) error {
	if len(c.Rows) == 0 {
		return fmt.Errorf("%w: %s", errNoRows, c.Title)
	}
	return chartTemplate.Execute(w, c)
}

// Shape is the outline of a point.
func (c *Chart) Shape(name int) string { return shapes[name%len(shapes)] }

// KeyX is where a name stands below the title.
func (c *Chart) KeyX(name int) int { return 18 + name%keysInRow*keyWide }

// KeyY is how far below.
func (c *Chart) KeyY(name int) int { return chartTop + name/keysInRow*chartRow }

// X is where a place of the scale stands in the picture.
func (c *Chart) X(at float64) float64 {
	return math.Round(10*(chartLeft+chartWide*min(at, 1))) / 10
}

// Y is the upper end of a row.
func (c *Chart) Y(row int) int { return c.KeyY(len(c.Names)+keysInRow-1) - chartRow/2 + chartRow*row }

// Bottom is the lower end of the rows, shifted down by so much.
func (c *Chart) Bottom(by int) int { return c.Y(len(c.Rows)) + by }
