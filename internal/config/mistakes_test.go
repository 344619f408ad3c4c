package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// mistake is something that people write and that is not right, with the report they get.
type mistake struct {
	name   string
	files  []mistakenFile // the first one is loaded
	report string
}

type mistakenFile struct{ name, text string }

// Each file of testdata/mistakes is one kind of mistakes. An entry is
//
//	== what is wrong
//	the text of edge.toml
//	-- other.toml
//	the text of another file
//	-- report
//	what is said about them
//
// The mark of the first file is left out when its name is edge.toml.
const (
	entryMark  = "== "
	fileMark   = "-- "
	usualMark  = fileMark + "edge.toml\n"
	reportMark = "-- report\n"
)

func parseMistakes(t *testing.T, text string) (all []mistake) {
	t.Helper()
	for entry := range strings.SplitSeq(strings.TrimPrefix(text, entryMark), "\n"+entryMark) {
		said, report, _ := strings.Cut(strings.TrimSuffix(entry, "\n")+"\n", "\n"+reportMark)
		name, files, found := strings.Cut(said, "\n")
		if !found {
			t.Fatalf("the entry %q has no file", name)
		}
		if !strings.HasPrefix(files, fileMark) {
			files = usualMark + files
		}
		m := mistake{name: name, report: report}
		for file := range strings.SplitSeq(strings.TrimPrefix(files, fileMark), "\n"+fileMark) {
			path, text, _ := strings.Cut(file, "\n")
			m.files = append(m.files, mistakenFile{path, text + "\n"})
		}
		all = append(all, m)
	}
	return all
}

func (m *mistake) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n", entryMark, m.name)
	for i, f := range m.files {
		if mark := fileMark + f.name + "\n"; i > 0 || mark != usualMark {
			b.WriteString(mark)
		}
		b.WriteString(f.text)
	}
	return b.String() + reportMark + m.report
}

// anyDay is a day in a report, which is another one in each run.
var anyDay = regexp.MustCompile(`\b\d{4}-\d\d-\d\d\b`)

// load reads the files of m, in a folder of their own, and returns its report as it is the same in every run.
func (m *mistake) load(t *testing.T) (rep *Report, text string) {
	dir, _ := pairs(t)
	for _, f := range m.files {
		write(t, filepath.Join(dir, f.name), f.text)
	}
	t.Chdir(dir)
	_, rep = environment.Load(m.files[0].name)
	text = strings.ReplaceAll(rendered(t, rep), dir+"/", "")
	return rep, anyDay.ReplaceAllString(text, "DATE")
}

// allowAll loads the files of m again, with the codes of rep allowed: nothing is said then.
func (m *mistake) allowAll(t *testing.T, rep *Report) {
	var codes []string
	for _, p := range slices.Concat(rep.Warnings, rep.Notes) {
		codes = append(codes, strconv.Quote(p.Code))
	}
	allowed := mistake{files: slices.Clone(m.files)}
	allowed.files[0].text = "allow = [" + strings.Join(codes, ", ") + "]\n" + allowed.files[0].text
	if _, text := allowed.load(t); text != "" {
		t.Errorf("with its codes in allow it still says\n%s", text)
	}
}

// Each mistake that is refused has a hint how to mend it, and none is accepted in silence.
func TestMistakes(t *testing.T) {
	testutil.OnlyPlain(t)
	const hintedMin, allMin = 100, 108
	all, hinted := 0, 0
	for _, path := range files(t, "mistakes") {
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range parseMistakes(t, string(src)) {
			t.Run(filepath.Base(path)+"/"+m.name, func(t *testing.T) {
				var rep *Report
				rep, m.report = m.load(t)
				all++
				switch {
				case !rep.OK() && rep.Errors[0].Hint != "":
					hinted++
				case !rep.OK():
					t.Errorf("no hint:\n%s", m.report)
				case len(rep.Warnings)+len(rep.Notes) == 0:
					t.Errorf("accepted in silence")
				default:
					m.allowAll(t, rep)
				}
			})
			got = append(got, m.String())
		}
		golden(t, path, []byte(strings.Join(got, "")))
	}
	if all < allMin || hinted < hintedMin {
		t.Errorf("%d of %d mistakes are refused with a hint, want at least %d of %d", hinted, all, hintedMin, allMin)
	}
}
