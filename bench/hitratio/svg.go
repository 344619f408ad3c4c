package hitratio

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
)

// The picture has a row for each policy, and on it a dot for each cell: how far it lies below the best policy there.
const (
	svgLeft   = 120 // for names
	svgRight  = 130 // for figures
	svgPlot   = 620
	svgTop    = 64
	svgRow    = 34
	svgBottom = 40
	svgMax    = 90 // points of regret at the right edge
)

const svgStyle = `<style>
text{font:13px system-ui,sans-serif;fill:#1f2328}.s{font-size:11px;fill:#59636e}.t{font-size:15px;font-weight:600}
.g{stroke:#d1d9e0}.d{fill:#0969da;fill-opacity:.35}.m{stroke:#cf222e;stroke-width:2.5}.b{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9198a1}.g{stroke:#3d444d}
.d{fill:#58a6ff}.m{stroke:#ff7b72}.b{fill:#0d1117}}
</style>
`

// WriteSVG draws the regret of each policy in each cell, as one file without references, for light and dark pages.
func (t *Table) WriteSVG(w io.Writer) error {
	var sums []Summary
	for _, s := range t.Summaries() {
		if s.Group == GroupAll {
			sums = append(sums, s)
		}
	}
	slices.SortStableFunc(sums, func(a, b Summary) int { return cmp.Compare(a.Regret, b.Regret) })
	width, height := svgLeft+svgPlot+svgRight, svgTop+svgRow*len(sums)+svgBottom
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`+"\n", width, height)
	fmt.Fprintf(&b, "<title>Hit ratio: points below the best policy, over %d cells</title>\n%s", len(t.Cells), svgStyle)
	fmt.Fprintf(&b, `<rect class="b" width="%d" height="%d"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text class="t" x="12" y="24">Points of hit ratio below the best policy, `+
		"one dot for each of %d cells</text>\n", len(t.Cells))
	fmt.Fprintf(&b, `<text class="s" x="%d" y="%d">mean regret · worst</text>`+"\n", svgLeft+svgPlot+12, svgTop-12)
	for _, points := range []float64{0, 1, 2, 5, 10, 20, 40, 80} {
		x := svgX(points)
		fmt.Fprintf(&b, `<line class="g" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, x, svgTop, x, height-svgBottom)
		fmt.Fprintf(&b, `<text class="s" text-anchor="middle" x="%.1f" y="%d">%g</text>`+"\n",
			x, height-svgBottom+16, points)
	}
	for i, s := range sums {
		t.svgPolicy(&b, s, svgTop+svgRow*i+svgRow/2)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) svgPolicy(b *strings.Builder, s Summary, y int) {
	fmt.Fprintf(b, `<text x="12" y="%d">%s</text>`+"\n", y+4, html.EscapeString(s.Policy))
	column := slices.Index(t.Policies, s.Policy)
	for i, c := range t.Cells {
		regret := c.Best() - c.Hits[column]
		fmt.Fprintf(b, `<circle class="d" cx="%.1f" cy="%d" r="4"><title>%s: %.1f</title></circle>`+"\n",
			svgX(regret), y+i%5*3-6, html.EscapeString(c.Name()), regret)
	}
	x := svgX(s.Regret)
	fmt.Fprintf(b, `<line class="m" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n", x, y-12, x, y+12)
	fmt.Fprintf(b, `<text class="s" x="%d" y="%d">%.2f · %.1f</text>`+"\n", svgLeft+svgPlot+12, y+4, s.Regret, s.Worst)
}

// svgX is a root scale: small differences matter, and the great ones still fit.
func svgX(points float64) float64 {
	return svgLeft + svgPlot*math.Sqrt(min(points, svgMax)/svgMax)
}
