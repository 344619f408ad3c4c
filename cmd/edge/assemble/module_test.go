package assemble

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Module{
		"example.com/tenant":             {"example.com/tenant", "", ""},
		"example.com/tenant@v1.2.0":      {"example.com/tenant", "v1.2.0", ""},
		"example.com/tenant@main":        {"example.com/tenant", "main", ""},
		"example.com/t/v2/keys@v2.0.1":   {"example.com/t/v2/keys", "v2.0.1", ""},
		"example.com/t=./t":              {"example.com/t", "", "/src/t"},
		"example.com/t=../t":             {"example.com/t", "", "/t"},
		"example.com/t@v1.0.0=/a folder": {"example.com/t", "v1.0.0", "/a folder"},
		"example.com/t=/a=b@c":           {"example.com/t", "", "/a=b@c"},
	} {
		got, err := Parse(text, "/src")
		if err != nil || got != want {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
		if again, err := Parse(got.String(), "/elsewhere"); err != nil || again != got {
			t.Errorf("%s is %+v, %v, as its own text", text, again, err)
		}
	}
	for text, want := range map[string]error{
		"": errNoPath, "@v1": errNoPath, "=./x": errNoPath,
		"./tenant": errDots, "../tenant": errDots, "/srv/tenant": errDots, "example.com/a/../b": errDots,
		"example.com/": errDots, "example.com//a": errDots,
		"https://example.com/a": errDots,
		"tenant":                errNoDomain, "net/http": errNoDomain,
		"example.com/a b": errSigns, "-x.com/a": errSigns, "example.com/\"a": errSigns,
		"example.com/a@": errNoVersion, "example.com/a@=./a": errNoVersion,
		"example.com/a@v1 v2": errVersion, "example.com/a@v1@v2": errVersion,
		"example.com/a=": errNoFolder, "example.com/a@v1=": errNoFolder,
	} {
		m, err := Parse(text, "/src")
		if !errors.Is(err, want) || !strings.Contains(err.Error(), strconv.Quote(text)) {
			t.Errorf("%q is %+v, %v, want %v", text, m, err, want)
		}
	}
}

func TestParseFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "edge.build")
	write(t, name, "# what we link\n\n example.com/a@v1.0.0  # pinned\r\nexample.com/b=./b\n")
	got, err := ParseFile(name)
	want := []Module{{"example.com/a", "v1.0.0", ""}, {"example.com/b", "", filepath.Join(dir, "b")}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	write(t, name, "example.com/a@v1.0.0\n\ntenant\n")
	if _, err := ParseFile(name); !errors.Is(err, errNoDomain) || !strings.HasPrefix(err.Error(), name+":3: ") {
		t.Error(err)
	}
	if _, err := ParseFile(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// What is taken is safe as an argument of the go command, in a go.mod and in a Go file.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"example.com/a@v1=./b", "a.b@-x", "-a.b", "a.b/\n", "a.b/x@v1\"", "a.b=\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse(text, "/src")
		if err != nil {
			return
		}
		if strings.ContainsAny(m.Path+m.Version, " \t\r\n\"`'\\,;=@()") || strings.HasPrefix(m.Path, "-") ||
			m.Dir != "" && !filepath.IsAbs(m.Dir) {
			t.Errorf("%q is %+v", text, m)
		}
		if again, err := Parse(m.String(), "/"); err != nil || again != m {
			t.Errorf("%q is %+v, then %+v, %v", text, m, again, err)
		}
	})
}

func write(t testing.TB, name, text string) {
	t.Helper()
	testutil.Must(t, os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600))
}
