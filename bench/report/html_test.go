package report

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// pageOf is the page of r, and its tree.
func pageOf(t *testing.T, r, old *Report) (text string, root *html.Node) {
	t.Helper()
	var b strings.Builder
	if err := r.Page(old).Write(&b); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), root
}

// shown is the text of a page as people see it.
func shown(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	if n.Type == html.ElementNode && n.Data == "style" {
		return ""
	}
	var b strings.Builder
	for child := range n.ChildNodes() {
		b.WriteString(shown(child))
	}
	return b.String()
}

func TestHTML_showsEverything(t *testing.T) {
	r := sampled()
	text, root := pageOf(t, r, scaled("timer/edge", 2))
	all := strings.Join(strings.Fields(shown(root)), " ")
	for _, want := range []string{
		"Test CPU · Linux 6.18 · go1.26", "21 November 2026, 19:00 UTC", "edge-bench micro --run 'parse|timer'",
		"parse a head", "parse/small", "11.0 ns", "110 ns", "10.0 ×", "400 MB/s", "9.50 cpu-ns/op", "a <copy> & more",
		"edge beside its baselines: 1 faster, 0 slower, 2 neither", "-50.0 %",
		"the times of 2 baselines", "3.00 ns → 1.50 ns", "p 0.0",
		"2 without a significant change",
		"0.67 × runtime", "GOMAXPROCS 2",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not shown in\n%s", want, all)
		}
	}
	if strings.Contains(text, "<copy>") {
		t.Error("text of a benchmark is not escaped")
	}
	if !strings.Contains(text, "prefers-color-scheme: dark") || !strings.Contains(text, "width=device-width") {
		t.Error("neither for the dark nor for a phone")
	}
}

// A page is passed on as one file, and opened where there is no network.
func TestHTML_needsNoNetwork(t *testing.T) {
	text, root := pageOf(t, sampled(), sampled())
	loads := regexp.MustCompile(`(?i)\bhttps?:|//[a-z]|@import|url\(|\bsrc=|\bhref=|<script|<link|<img|<iframe`)
	if m := loads.FindString(text); m != "" {
		t.Errorf("the page has %q", m)
	}
	policy := ""
	for n := range root.Descendants() {
		if n.Data == "meta" && slices.ContainsFunc(n.Attr, func(a html.Attribute) bool {
			return a.Key == "http-equiv" && a.Val == "Content-Security-Policy"
		}) {
			policy = n.Attr[1].Val
		}
	}
	if !strings.HasPrefix(policy, "default-src 'none'") {
		t.Errorf("the policy is %q", policy)
	}
}

// All that is drawn lies within its box, whatever the numbers.
func TestHTML_drawsWithinTheBox(t *testing.T) {
	r := sampled()
	r.Results[0].Samples[0].NsPerOp = 1e9 // one round took a second
	_, root := pageOf(t, r, sampled())
	drawn := 0
	number := regexp.MustCompile(`[0-9.e+-]+`)
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "path" {
			continue
		}
		drawn++
		for _, a := range n.Attr {
			if a.Key != "d" {
				continue
			}
			for _, text := range number.FindAllString(a.Val, -1) {
				if v, err := strconv.ParseFloat(text, 64); err != nil || v < 0 || v > boxWidth || len(text) > 6 {
					t.Errorf("%s in %s", text, a.Val)
				}
			}
		}
	}
	if drawn < 10 {
		t.Errorf("%d shapes", drawn)
	}
}

func TestHTML_withoutMuch(t *testing.T) {
	r := &Report{Results: Fill([]Result{{Name: "alone/edge", Group: "g"}}, [][]Sample{{{N: 1}}})}
	text, root := pageOf(t, r, nil)
	if !strings.Contains(shown(root), "alone") || strings.Contains(text, `id="overview"`) ||
		strings.Contains(text, `id="changes"`) {
		t.Error(text)
	}
	if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Error("no number:", text)
	}
}

func TestLog_ticks(t *testing.T) {
	for _, c := range []struct {
		scale Log
		want  string
	}{
		{Log{0.8, 25}, "1 2 5 10 20"},
		{Log{0.05, 30000}, "0.1 1 10 100 1000 10000"},
	} {
		var got []string
		for _, tick := range c.scale.Ticks(func(v float64) string { return fmt.Sprintf("%g", v) }) {
			if got = append(got, tick.Text); tick.At < 0 || tick.At > 1 {
				t.Errorf("%s at %v", tick.Text, tick.At)
			}
		}
		if got := strings.Join(got, " "); got != c.want {
			t.Errorf("%v: %s", c.scale, got)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, most := range []float64{1, 7, 500, 12345, 9e6} {
		all := Ticks(most, Count)
		if n := len(all); n < 5 || n > 11 || all[0].Text != "0" || all[n-1].At > 1+1e-9 {
			t.Errorf("an axis to %v: %v", most, all)
		}
	}
}
