package issue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

const many = 10_000

// manyNames returns a plan with certificates for 10 000 names in a folder.
func manyNames(b *testing.B) Plan {
	b.Helper()
	a := newScripted(b, "first")
	a.takes = 0
	dir := b.TempDir()
	plan := Plan{Storage: newFolder(b, dir), Authorities: one(a)}
	r := New(Options{})
	defer r.Stop()
	for i := range many {
		plan.Subjects = append(plan.Subjects, Subject{fmt.Sprintf("www.shop-%d.example.org", i)})
	}
	fast := newMemory().process()
	memory := plan
	memory.Storage = fast
	s := r.Load(context.Background(), memory)
	for _, e := range s.entries {
		l := &looking{set: s, entry: e}
		csr, key, err := Request(P256, e.names)
		testutil.Must(b, err)
		got, _ := a.Issue(context.Background(), &Order{Names: e.names, CSR: csr})
		e.unsaved = &texts{at: siteOf("first", e.folder), chain: got.Chain, key: key}
		now := time.Now()
		l.state = state{For: s.wanted, Tried: now, Next: now, Start: now, End: now, Again: now,
			Serial: "0123456789abcdef0123456789abcdef0123", Account: "someone@example.org"}
		testutil.Must(b, errors.Join(l.save(context.Background()), l.saveState(context.Background())))
	}
	for key, text := range fast.keys {
		path := filepath.Join(dir, key)
		testutil.Must(b, errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, text, 0o600)))
	}
	return plan
}

// BenchmarkRenewer_Load reads certificates for 10 000 names from a folder.
func BenchmarkRenewer_Load(b *testing.B) {
	plan := manyNames(b)
	before := testutil.Heap()
	var s *Set
	var r *Renewer
	for b.Loop() {
		r = New(Options{})
		s = r.Load(context.Background(), plan)
		r.Stop()
	}
	b.ReportMetric(float64(testutil.Heap()-before)/many, "B/name")
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(time.Second), "s/start")
	if s.Find("www.shop-77.example.org") == nil {
		b.Error("there is no certificate")
	}
	runtime.KeepAlive(r)
}

// BenchmarkSet_Find chooses one of 10 000 names.
func BenchmarkSet_Find(b *testing.B) {
	plan := manyNames(b)
	r := New(Options{})
	defer r.Stop()
	s := r.Load(context.Background(), plan)
	b.ReportAllocs()
	for b.Loop() {
		s.Find("www.shop-77.example.org")
	}
}
