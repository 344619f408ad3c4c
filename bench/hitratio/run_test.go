package hitratio

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/bench/report"
)

func small(t *testing.T) *Table {
	t.Helper()
	policies, err := Find([]string{"ufo", "lru", "ufo/4"})
	if err != nil {
		t.Fatal(err)
	}
	table, err := Run(t.Context(), Options{
		Policies: policies, Workloads: Choose(Generated(1), regexp.MustCompile(`^(loop|thrice)$`)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestRun(t *testing.T) {
	table := small(t)
	if len(table.Cells) != 4 || !slices.Equal(table.Policies, []string{"ufo", "lru", "ufo/4"}) {
		t.Fatalf("%+v", table)
	}
	for _, c := range table.Cells {
		for i, hits := range c.Hits {
			if hits < 0 || hits > c.Optimum {
				t.Errorf("%s, %s: %.2f of %.2f", c.Name(), table.Policies[i], hits, c.Optimum)
			}
		}
	}
	if again := small(t); !slices.EqualFunc(table.Cells, again.Cells, func(a, b Cell) bool {
		return slices.Equal(a.Hits, b.Hits)
	}) {
		t.Error("a second run gave other figures")
	}
}

func TestRun_endsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{Workloads: Generated(1)[:1]}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRun_workloadThatCannotBeRead(t *testing.T) {
	w := TraceWorkload("missing.txt", FormLIRS, nil)
	if _, err := Run(t.Context(), Options{Workloads: []Workload{w}}); err == nil {
		t.Error("no error")
	}
	if _, err := Run(t.Context(), Options{Workloads: []Workload{}}); err == nil {
		t.Error("no error without workloads")
	}
}

func TestFind_unknownNames(t *testing.T) {
	for _, name := range []string{"none", "ufo/0", "ufo/x", "/3", ""} {
		if m, err := Find([]string{name}); err == nil {
			t.Errorf("%q: %v", name, m)
		}
	}
}

func TestTable_writes(t *testing.T) {
	table := small(t)
	var text, markdown, js, svg bytes.Buffer
	for _, err := range []error{
		table.WriteText(&text), table.WriteMarkdown(&markdown), report.WriteJSON(&js, table), table.WriteSVG(&svg),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Count(text.String(), "\n"); lines != 1+4+2*3 {
		t.Errorf("%d lines:\n%s", lines, &text)
	}
	if lines := strings.Count(markdown.String(), "\n"); lines != 2+4+2*3 {
		t.Errorf("%d lines:\n%s", lines, &markdown)
	}
	var back struct {
		Table
		Summaries []Summary
	}
	if err := json.Unmarshal(js.Bytes(), &back); err != nil || len(back.Cells) != 4 || len(back.Summaries) != 6 {
		t.Errorf("%v: %s", err, &js)
	}
	for d := xml.NewDecoder(&svg); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTable_summaries(t *testing.T) {
	table := &Table{Policies: []string{"a", "b"}, Cells: []Cell{
		{Workload: "x", Group: GroupZipf, Size: 1, Hits: []float64{10, 30}},
		{Workload: "y", Group: GroupReal, Size: 2, Hits: []float64{50, 40}},
	}}
	want := Summary{Policy: "a", Group: GroupAll, Cells: 2, Mean: 30, Regret: 10, Worst: 20, At: "x@1"}
	if sums := table.Summaries(); len(sums) != 6 || sums[0] != want {
		t.Errorf("%+v", sums)
	}
}
