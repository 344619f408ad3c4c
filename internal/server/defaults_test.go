package server

import (
	"bufio"
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/changes"
	"github.com/edge-proxy/edge/internal/observe"
	_ "github.com/edge-proxy/edge/internal/process/rotate" // it registers keys of [log]
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/internal/upstream/health"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
)

// The options of the packages below have defaults of their own, for programs that import them. A field that the
// configuration sets has the same default there.
func TestDefaults_areThoseOfThePackagesBelow(t *testing.T) {
	c, rep := config.Parse("f.toml", []byte("[http]\nlisten = \":80\"\n[[routes]]\npattern = \"/\"\ndest = \"h:80\"\n"))
	if c == nil {
		t.Fatal(rep.Errors)
	}
	up, err := (&upstreams{}).options(&c.Upstreams[0])
	testutil.Must(t, err)
	up.Client.TunnelIdle = c.Routes[0].TunnelIdle
	down := sessionOptions(&c.Listeners[0])
	compared := 0
	for _, options := range []any{up, up.Client, down, down.H2, down.Limits} {
		v := reflect.ValueOf(options)
		for name, below := range documentedDefaults(t, v.Type()) {
			if f := v.FieldByName(name); f.CanInt() && f.Int() > 0 {
				if compared++; f.Int() != below {
					t.Errorf("%s.%s: the configuration says %v, the package %d", v.Type(), name, f, below)
				}
			}
		}
	}
	if compared < 15 {
		t.Errorf("%d defaults were compared", compared)
	}
}

var (
	documentedDefault = regexp.MustCompile(`\b0: ([0-9]+) ?(s|h|KiB)?(?:[;.\n]|$)`)
	documentedUnits   = map[string]int64{"": 1, "s": int64(time.Second), "h": int64(time.Hour), "KiB": 1 << 10}
)

// documentedDefaults returns what the comments of the fields of a struct say that 0 stands for.
func documentedDefaults(t *testing.T, of reflect.Type) map[string]int64 {
	_, folder, _ := strings.Cut(of.PkgPath(), "/edge/")
	files, err := filepath.Glob(filepath.Join(testutil.Root(t), folder, "*.go"))
	testutil.Must(t, err)
	defaults := make(map[string]int64)
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		testutil.Must(t, err)
		object := file.Scope.Lookup(of.Name())
		if object == nil {
			continue
		}
		for _, field := range object.Decl.(*ast.TypeSpec).Type.(*ast.StructType).Fields.List {
			if m := documentedDefault.FindStringSubmatch(field.Doc.Text() + field.Comment.Text()); m != nil {
				n, _ := strconv.ParseInt(m[1], 10, 64)
				defaults[field.Names[0].Name] = n * documentedUnits[m[2]]
			}
		}
	}
	return defaults
}

var (
	referenceHeader  = regexp.MustCompile("^## `(\\[+)(global|tls|log|listeners)\\]")
	referenceRow     = regexp.MustCompile("^\\| `([a-z0-9_.]+)` \\| .*\\| (.*) \\|$")
	referenceExample = regexp.MustCompile("Example: `([^`]*)`")
)

// A reload says of the keys that the reference page marks so, and of no other, that they wait for a restart.
func TestDiff_restartAsTheReferenceSays(t *testing.T) {
	var page bytes.Buffer
	testutil.Must(t, config.Reference(&page))
	const listener = "[connection_filters.polite]\ntype = \"test_door\"\n" +
		"[log_sinks.central]\ntype = \"otlp\"\nendpoint = \"http://127.0.0.1:4318\"\n" +
		"[[listeners]]\nlisten = \":443\"\ncert = \"a.pem\"\ntls = \"auto\"\nhsts.max_age = \"1d\"\n" +
		"proxy_protocol.from = [\"10.0.0.0/8\"]\n"
	given := []string{"listen", "cert", "tls", "hsts.max_age", "proxy_protocol.from"}
	section, header, waiting := "", "", 0
	for lines := bufio.NewScanner(&page); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "## ") {
			section = ""
		}
		if m := referenceHeader.FindStringSubmatch(line); m != nil {
			section, header = m[2], listener+"["+m[2]+"]\n"
			if m[1] == "[[" {
				header = listener
			}
		}
		row := referenceRow.FindStringSubmatch(line)
		if section == "" || row == nil || section == "listeners" && slices.Contains(given, row[1]) {
			continue
		}
		example := referenceExample.FindStringSubmatch(row[2])
		if example == nil {
			t.Errorf("%s in [%s] has no example", row[1], section)
			continue
		}
		o := config.Options{Filters: []string{"mine"}}
		was, rep := o.Parse("f.toml", []byte(header))
		next, rep2 := o.Parse("f.toml", []byte(header+row[1]+" = "+example[1]+"\n"))
		if was == nil || next == nil {
			t.Errorf("%s in [%s]: %v %v", row[1], section, rep.Errors, rep2.Errors)
			continue
		}
		var want []string
		if strings.HasSuffix(row[2], "*restart*") {
			waiting++
			want = []string{strings.TrimPrefix(section+"."+row[1], "global.")}
		}
		if d := changes.Of(was, next); !slices.Equal(d.Restart, want) {
			t.Errorf("%s = %s in [%s]: %v wait for a restart, want %v", row[1], example[1], section, d.Restart, want)
		}
	}
	if waiting < 15 {
		t.Errorf("%d keys wait for a restart", waiting)
	}
}

// The proxy does with names and paths of requests what the file says.
func TestProxyListener_readsRequestsAsTheFileSays(t *testing.T) {
	for keys, want := range map[string]proxy.Listener{
		"":                           {},
		`underscores = "drop"`:       {},
		`underscores = "pass"`:       {Underscores: proxy.UnderscoresPass},
		`underscores = "refuse"`:     {Underscores: proxy.UnderscoresRefuse},
		`path_parameters = "keep"`:   {},
		`path_parameters = "strip"`:  {Parameters: route.ParametersStripped},
		`path_parameters = "refuse"`: {Parameters: route.ParametersRefused},
		`paths = "matched"`:          {},
		`paths = "forwarded"`:        {Paths: route.PathsForwarded},
		`paths = "raw"`:              {Paths: route.PathsRaw},
	} {
		file := "[[listeners]]\nlisten = \":8080\"\n" + keys + "\n"
		c, rep := config.Parse("edge.toml", []byte(file))
		if !rep.OK() {
			t.Fatal(rep)
		}
		got := proxyListener(&c.Listeners[0], nil)
		if got.Underscores != want.Underscores || got.Parameters != want.Parameters || got.Paths != want.Paths {
			t.Errorf("%s: %+v", keys, *got)
		}
	}
}

// The constants of packages below have the order of the words in the tags of package config.
func TestConstant_isThatOfItsWord(t *testing.T) {
	for word, want := range map[string]route.Paths{"": route.PathsMatched, "matched": route.PathsMatched,
		"forwarded": route.PathsForwarded, "raw": route.PathsRaw} {
		c := &config.Listener{Paths: word}
		wantEqual(t, constant[route.Paths](c, &c.Paths), want, word)
	}
	for word, want := range map[string]proxy.Acceptance{"trusted": proxy.AcceptTrusted, "all": proxy.AcceptAll,
		"none": proxy.AcceptNone} {
		c := &config.RequestID{Accept: word}
		wantEqual(t, constant[proxy.Acceptance](c, &c.Accept), want, word)
	}
	for word, want := range map[string]poller.Park{"auto": poller.ParkAuto, "runtime": poller.ParkRuntime,
		"syscall": poller.ParkSyscall, "spin": poller.ParkSpin} {
		c := &config.Global{Park: word}
		wantEqual(t, constant[poller.Park](c, &c.Park), want, word)
	}
	for word, want := range map[string]backend.Zones{"off": backend.ZonesOff, "prefer": backend.ZonesPrefer,
		"only": backend.ZonesOnly} {
		c := &config.Upstream{Zones: word}
		wantEqual(t, constant[backend.Zones](c, &c.Zones), want, word)
	}
	for word, want := range map[string]upstream.Protocol{"h1": upstream.H1, "h2": upstream.H2, "auto": upstream.Auto} {
		c := &config.Upstream{Protocol: word}
		wantEqual(t, constant[upstream.Protocol](c, &c.Protocol), want, word)
	}
	for word, want := range map[string]observe.Format{"json": observe.FormatJSON, "common": observe.FormatCommon,
		"combined": observe.FormatCombined, "logfmt": observe.FormatLogfmt} {
		c := &config.Log{}
		c.Format = word
		wantEqual(t, constant[observe.Format](&c.Logging, &c.Format), want, word)
	}
	for word, want := range map[string]health.Kind{"http": health.HTTP, "tcp": health.TCP, "grpc": health.GRPC} {
		c := &config.HealthCheck{Type: word}
		wantEqual(t, constant[health.Kind](c, &c.Type), want, word)
	}
	for word, want := range map[string]health.Start{"up": health.StartUp, "down": health.StartDown,
		"checked": health.StartChecked} {
		c := &config.HealthCheck{Start: word}
		wantEqual(t, constant[health.Start](c, &c.Start), want, word)
	}
}
