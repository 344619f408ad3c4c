package hitratio

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Workload is a sequence of accesses, and the capacities to try with it. Immutable.
type Workload struct {
	Name  string // as rows and --workload have it
	What  string // one line for --list
	Group string // the kind of workload, for which there is a line of means
	Sizes []int  // capacities in entries

	// Keys returns the accesses in order, numbered from 0 by first occurrence. The caller owns the slice.
	Keys func() ([]uint64, error)
}

// The groups, in the order of a table.
const (
	GroupReal  = "real"  // traces of real programs
	GroupZipf  = "zipf"  // steady popularity
	GroupDrift = "drift" // popularity that moves
	GroupMix   = "mix"   // scans, loops, one-shots, recency, and several of them by turns
)

// Generated returns the workloads that are made here, from a seed: the same for the same seed on every machine.
func Generated(seed uint64) []Workload {
	var all []Workload
	add := func(group, name, what string, s source, sizes ...int) {
		keys := func() ([]uint64, error) { return numbered(s(seed)), nil }
		all = append(all, Workload{name, what, group, sizes, keys})
	}
	for _, s := range []float64{0.7, 0.9, 1.0, 1.1, 1.2} {
		add(GroupZipf, fmt.Sprintf("zipf-%.1f-10k", s), fmt.Sprintf("Zipf, exponent %.1f, 10 000 keys", s),
			steady(10_000, s, 500_000), 100, 500, 1000, 2500)
	}
	for _, s := range []float64{0.8, 1.0} {
		add(GroupZipf, fmt.Sprintf("zipf-%.1f-100k", s), fmt.Sprintf("Zipf, exponent %.1f, 100 000 keys", s),
			steady(100_000, s, 1_000_000), 1000, 10_000)
	}
	for _, s := range []float64{0.9, 1.0} {
		add(GroupZipf, fmt.Sprintf("zipf-%.1f-1m", s), fmt.Sprintf("Zipf, exponent %.1f, 1 000 000 keys", s),
			steady(1_000_000, s, 2_000_000), 10_000, 100_000)
	}
	add(GroupDrift, "rotate-100k", "Zipf 0.9 over 100 000 keys, the top 2 % become the last every 50 000 requests",
		rotating(100_000, 0.9, 2_000_000, 50_000, 0.02), 1000, 5000, 20_000)
	add(GroupDrift, "rotate-20k", "Zipf 0.8 over 20 000 keys, the top 1 % become the last every 20 000 requests",
		rotating(20_000, 0.8, 500_000, 20_000, 0.01), 500, 4000)
	add(GroupDrift, "swap-100k", "Zipf 0.9 over 100 000 keys, 2 % trade places every 50 000 requests",
		swapping(100_000, 0.9, 1_000_000, 50_000, 0.02), 5000, 20_000)
	recent, loop := thrice(250_000, 500), loops(900, 250_000)
	add(GroupMix, "scan", "Zipf 0.9 over 50 000 keys, a scan of 5000 after each 20 000 requests",
		scans(50_000, 0.9, 500_000, 20_000, 5000), 1000, 5000)
	add(GroupMix, "one-shot", "Zipf 0.9 over 50 000 keys, 40 % of the requests for keys that come once",
		oneShots(50_000, 0.9, 500_000, 0.4), 1000, 5000)
	add(GroupMix, "thrice", "each key three times within 500 requests, and never again", recent, 512, 1024)
	add(GroupMix, "loop", "a loop over 2000 keys", loops(2000, 200_000), 500, 1500)
	add(GroupMix, "thrice+loop", "20 000 requests of thrice and of a loop over 900 keys by turns",
		turns(20_000, recent, loop), 1000)
	add(GroupMix, "zipf+thrice", "30 000 requests of Zipf 1.0 over 20 000 keys and of keys that come thrice by turns",
		turns(30_000, steady(20_000, 1.0, 250_000), thrice(250_000, 2000)), 1000, 4000)
	add(GroupMix, "zipf+loop", "50 000 requests of Zipf 0.9 over 20 000 keys and of a loop over 3000 keys by turns",
		turns(50_000, steady(20_000, 0.9, 300_000), loops(3000, 300_000)), 1000, 2500)
	add(GroupMix, "drift+scan", "100 000 requests of popularity that rotates and of scans by turns",
		turns(100_000, rotating(30_000, 0.9, 500_000, 10_000, 0.05), scans(30_000, 0.8, 500_000, 10_000, 3000)),
		1500, 6000)
	return all
}

// TraceFile is a trace by the name of its file. Immutable.
type TraceFile struct {
	File  string // with or without .xz
	Form  Form
	Sizes []int
}

// KnownTraces are the traces that the collections for tests of Caffeine, moka and cache2k have, with sizes that
// their authors used.
var KnownTraces = []TraceFile{
	{"oltp.txt", FormARC, []int{500, 1000, 2000, 8192}},
	{"p3.txt", FormARC, []int{25_000, 100_000, 400_000}},
	{"corda.bin", FormBE64, []int{512, 1024, 2048}},
	{"web07.bin", FormBE32, []int{1000, 4000, 16_000}},
	{"web12.bin", FormBE32, []int{1000, 4000, 16_000}},
	{"gli.txt", FormLIRS, []int{500, 1000, 1500}},
	{"multi1.txt", FormLIRS, []int{500, 1000, 2000}},
	{"multi2.txt", FormLIRS, []int{500, 1500, 2500}},
	{"multi3.txt", FormLIRS, []int{500, 1500, 3000}},
	{"cs.txt", FormLIRS, []int{250, 750, 1250}},
	{"cpp.txt", FormLIRS, []int{35, 100, 300}},
	{"ps.txt", FormLIRS, []int{500, 1500, 3000}},
	{"sprite.txt", FormLIRS, []int{100, 400, 1000}},
	{"2pools.txt", FormLIRS, []int{50, 150, 450}},
}

// Traces returns a workload for each known trace that the folder has, as it is or as .xz. A folder that has none of
// them is an error.
func Traces(folder string) ([]Workload, error) {
	var all []Workload
	for _, known := range KnownTraces {
		path := filepath.Join(folder, known.File)
		if _, err := os.Stat(path); err != nil {
			path += ".xz"
			if _, err := os.Stat(path); err != nil {
				continue
			}
		}
		all = append(all, TraceWorkload(path, known.Form, known.Sizes))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has none of the known traces", folder)
	}
	return all, nil
}

// TraceWorkload is the workload of one trace file.
func TraceWorkload(path string, form Form, sizes []int) Workload {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	return Workload{name, "trace " + filepath.Base(path), GroupReal, sizes, func() ([]uint64, error) {
		keys, err := OpenTrace(path, form)
		return numbered(keys), err
	}}
}

// numbered replaces each key by the number of keys that came first before it.
func numbered(keys []uint64) []uint64 {
	numbers := make(map[uint64]uint64, len(keys)/8)
	for i, key := range keys {
		n, ok := numbers[key]
		if !ok {
			n = uint64(len(numbers))
			numbers[key] = n
		}
		keys[i] = n
	}
	return keys
}

// distinct is the number of keys of a numbered sequence.
func distinct(keys []uint64) int {
	highest := -1
	for _, key := range keys {
		highest = max(highest, int(key))
	}
	return highest + 1
}
