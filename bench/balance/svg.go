package balance

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"

	"github.com/edge-proxy/edge/bench/report"
)

// The overview has a row for each method, and on it a dot for each cell: its p99 over the ideal's.
const (
	svgLeft   = 120 // for names
	svgRight  = 150 // for figures
	svgPlot   = 620
	svgTop    = 64
	svgRow    = 34
	svgBottom = 40
	svgMax    = 100 // times the ideal's at the right edge
)

const svgStyle = `<style>
text{font:13px system-ui,sans-serif;fill:#1f2328}.s{font-size:11px;fill:#59636e}.t{font-size:15px;font-weight:600}
.g{stroke:#d1d9e0}.d{fill:#0969da;fill-opacity:.35}.m{stroke:#cf222e;stroke-width:2.5}.b{fill:#fff}
.l{fill:none;stroke-width:2}
.c0{stroke:#0a7d5a}.c1{stroke:#0969da}.c2{stroke:#9a6700}.c3{stroke:#8250df}.c4{stroke:#8a94a3}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9198a1}.g{stroke:#3d444d}
.d{fill:#58a6ff}.m{stroke:#ff7b72}.b{fill:#0d1117}
.c0{stroke:#34d399}.c1{stroke:#58a6ff}.c2{stroke:#d29922}.c3{stroke:#ab7df8}}
</style>
`

// WriteSVG draws the p99 of each method in each cell of the judged scenarios, or of all when there are none of these,
// as one file without references, for light and dark pages.
func (t *Table) WriteSVG(w io.Writer) error {
	var cells []*Cell
	for _, group := range []string{GroupJudged, ""} {
		for i := range t.Cells {
			if c := &t.Cells[i]; c.Group == group || group == "" {
				cells = append(cells, c)
			}
		}
		if len(cells) > 0 {
			break
		}
	}
	width, height := svgLeft+svgPlot+svgRight, svgTop+svgRow*len(t.Methods)+svgBottom
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`+"\n", width, height)
	fmt.Fprintf(&b, "<title>p99 over the ideal's, by method, over %d cells</title>\n%s", len(cells), svgStyle)
	fmt.Fprintf(&b, `<rect class="b" width="%d" height="%d"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text class="t" x="12" y="24">p99 over that of an ideal queue, `+
		"one dot for each of %d cells</text>\n", len(cells))
	fmt.Fprintf(&b, `<text class="s" x="%d" y="%d">geometric mean · worst</text>`+"\n", svgLeft+svgPlot+12, svgTop-12)
	for _, v := range []float64{1, 1.1, 1.2, 1.5, 2, 5, 10, 30, 100} {
		x := svgX(v)
		fmt.Fprintf(&b, `<line class="g" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, x, svgTop, x, height-svgBottom)
		fmt.Fprintf(&b, `<text class="s" text-anchor="middle" x="%.1f" y="%d">%g</text>`+"\n",
			x, height-svgBottom+16, v)
	}
	for i, method := range t.Methods {
		svgMethod(&b, cells, method, svgTop+svgRow*i+svgRow/2)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func svgMethod(b *strings.Builder, cells []*Cell, method string, y int) {
	fmt.Fprintf(b, `<text x="12" y="%d">%s</text>`+"\n", y+4, html.EscapeString(method))
	logs, worst := 0.0, 0.0
	for i, c := range cells {
		p99 := c.of(method).P99
		logs, worst = logs+math.Log(p99), max(worst, p99)
		fmt.Fprintf(b, `<circle class="d" cx="%.1f" cy="%d" r="4"><title>%s: %s</title></circle>`+"\n",
			svgX(p99), y+i%5*3-6, html.EscapeString(c.Name()), report.Short(p99))
	}
	all := math.Exp(logs / float64(len(cells)))
	x := svgX(all)
	fmt.Fprintf(b, `<line class="m" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n", x, y-12, x, y+12)
	fmt.Fprintf(b, `<text class="s" x="%d" y="%d">%s · %s</text>`+"\n", svgLeft+svgPlot+12, y+4,
		report.Short(all), report.Short(worst))
}

// svgX has room for small differences, and the great ones still fit: the root of the logarithm.
func svgX(v float64) float64 {
	return svgLeft + svgPlot*math.Sqrt(math.Log(min(max(v, 1), svgMax))/math.Log(svgMax))
}

// The plot of a series has this size.
const (
	seriesWidth, seriesHeight = 620, 200
	seriesLeft, seriesBottom  = 40, 24
	seriesMax                 = 2.5 // times the fair share
	seriesSteps               = 5   // of the scale
)

// seriesSVG draws a part of the Points of some methods over the period of a cell, on a scale up to most.
func seriesSVG(c *Cell, methods []string, title string, most float64, of func(Point) float64) string {
	var b strings.Builder
	height := seriesHeight + seriesBottom + 40
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" style="height:auto">`+
		"<title>%s</title>%s\n", seriesLeft+seriesWidth+120, height, html.EscapeString(title), svgStyle)
	fmt.Fprintf(&b, `<text class="t" x="4" y="18">%s</text>`+"\n", html.EscapeString(title))
	y := func(v float64) float64 { return 30 + seriesHeight*(1-min(v, most)/most) }
	for k := range seriesSteps + 1 {
		v := most * float64(k) / seriesSteps
		fmt.Fprintf(&b, `<line class="g" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>`+
			`<text class="s" x="4" y="%.1f">%g</text>`+"\n",
			seriesLeft, y(v), seriesLeft+seriesWidth, y(v), y(v)+4, v)
	}
	for k := 0; k <= 6; k++ {
		fmt.Fprintf(&b, `<text class="s" text-anchor="middle" x="%d" y="%d">%g s</text>`+"\n",
			seriesLeft+seriesWidth*k/6, 30+seriesHeight+16, c.Period*float64(k)/6)
	}
	line := 0
	for _, method := range methods {
		f := c.of(method)
		if f == nil || len(f.Series) == 0 {
			continue
		}
		var points []string
		for k, p := range f.Series {
			points = append(points, fmt.Sprintf("%.1f,%.1f",
				seriesLeft+seriesWidth*(float64(k)+0.5)/float64(len(f.Series)), y(of(p))))
		}
		fmt.Fprintf(&b, `<polyline class="l c%d" points="%s"><title>%s</title></polyline>`+"\n", line%5,
			strings.Join(points, " "), html.EscapeString(method))
		at := 44 + 20*line
		fmt.Fprintf(&b, `<line class="l c%d" x1="%d" y1="%d" x2="%d" y2="%d"/>`+
			`<text class="s" x="%d" y="%d">%s</text>`+"\n",
			line%5, seriesLeft+seriesWidth+8, at, seriesLeft+seriesWidth+28, at, seriesLeft+seriesWidth+34, at+4,
			html.EscapeString(method))
		line++
	}
	b.WriteString("</svg>\n")
	return b.String()
}
