package tracing

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/changes"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/otlp"
	"github.com/edge-proxy/edge/internal/plugin"
)

const (
	traced = "[tracing]\nendpoint = \"http://127.0.0.1:4318\"\n"
	web    = "[[routes]]\nname = \"web\"\npattern = \"/*\"\ndest = \"hello\"\n"
)

func init() {
	plugin.Register(plugin.LogSinks, "test_collector", "Takes nothing.",
		func(*struct{ Collector }, *plugin.Build) (io.Writer, error) { return io.Discard, nil })
}

// noEnvironment has no variable of the environment count.
func noEnvironment(t *testing.T) {
	t.Helper()
	for _, name := range []string{envEndpoint, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
		envService, envResource} {
		t.Setenv(name, "")
	}
}

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, rep := config.Parse("edge.toml", []byte("http.listen = \":80\"\n"+text))
	if c == nil {
		t.Fatalf("%s\n%v", text, rep.Errors)
	}
	return c
}

// What a hint says to write is right.
func TestOf_hintOfANumberForARate(t *testing.T) {
	noEnvironment(t)
	_, report := config.Parse("edge.toml", []byte("http.listen = \":80\"\n"+traced+"most = 100000\n"+web))
	if len(report.Errors) != 1 || report.Errors[0].Hint != `write "100000/s"` {
		t.Errorf("%+v", report.Errors)
	}
	parse(t, traced+"most = \"100000/s\"\n"+web)
}

func TestOf(t *testing.T) {
	noEnvironment(t)
	if Of(nil) != nil || Of(parse(t, web)) != nil {
		t.Error("traces without [tracing]")
	}
	of := Of(parse(t, traced+web))
	if *of.Sample != 0.01 || of.Most.PerDay() != 200*86400 || of.Accept != "trusted" || of.Protocol != "http" ||
		!slices.Equal(of.Always.Status, []config.StatusRange{{From: 500, To: 599}}) || of.Always.When != nil {
		t.Errorf("got %+v", of)
	}
	of = Of(parse(t, traced+"always = [\"5xx\", 404, \">1s\", 'method == \"PUT\"']\nsample = 1\nname = \"{route}\"\n"+
		"attributes = { \"a.b\" = \"{header.x}\", c = \"d\" }\nrequest_fields = [\"Accept\"]\n"+web))
	if len(of.Always.Status) != 2 || len(of.Always.When) != 2 || of.Name.String() != "{route}" ||
		len(of.Attributes) != 2 || of.Attributes[0].Value.String() != "{header.x}" || of.Asked[0] != "accept" {
		t.Errorf("got %+v", of)
	}
	if of := Of(parse(t, traced+"always = []\n"+web)); len(of.Always.Status)+len(of.Always.When) != 0 {
		t.Errorf("always = [] is %+v", of.Always)
	}
}

// Keys of listeners and routes go before the keys of [tracing], one by one, and false stands for the whole table.
func TestChoices_mergeByKey(t *testing.T) {
	noEnvironment(t)
	c := parse(t, traced+"sample = 0.5\nname = \"{route}\"\nattributes = { a = \"b\" }\n"+
		"always = \"404\"\naccept = \"none\"\n"+
		"[[listeners]]\nlisten = \":81\"\ntracing = { accept = \"all\", name = \"{listener}\" }\n"+
		"[[listeners]]\nlisten = \":82\"\ntracing = false\n"+
		web+"tracing = { sample = 1, always = [] }\n"+
		"[[routes]]\nhost = [\"a.test\", \"b.test\"]\ndest = \"hello\"\ntracing = { name = \"{host}\" }\n"+
		"[[routes]]\npattern = \"/off\"\ndest = \"hello\"\ntracing = false\n"+
		"[[routes]]\npattern = \"/same\"\ndest = \"hello\"\n")
	var listeners []*Listener
	for i := range c.Listeners {
		listeners = append(listeners, OfListener(c, &c.Listeners[i]))
	}
	first, own := listeners[0], listeners[1]
	if first.Accept != "none" || first.Name.String() != "{route}" || own.Accept != "all" || *own.Sample != 0.5 ||
		own.Name.String() != "{listener}" || own.Attributes[0].Value.String() != "b" || listeners[2] != nil {
		t.Errorf("got %+v", listeners)
	}
	r, on := OfRoute(c, &c.Routes[0])
	if !on || *r.Sample != 1 || len(r.Always.Status) != 0 || r.Name.String() != "{route}" {
		t.Errorf("got %+v", r)
	}
	a, _ := OfRoute(c, &c.Routes[1])
	b, _ := OfRoute(c, &c.Routes[2])
	if a != b || a.Name.String() != "{host}" || a.Always.Status[0].From != 404 || len(a.Always.Status) != 1 {
		t.Errorf("got %+v and %+v", a, b)
	}
	if r, on := OfRoute(c, &c.Routes[3]); r != nil || on {
		t.Errorf("false is %+v, %v", r, on)
	}
	if r, on := OfRoute(c, &c.Routes[4]); r != nil || !on {
		t.Errorf("nothing is %+v, %v", r, on)
	}
}

// What a user may get wrong is told with its place and what is meant.
func TestCheck_mistakes(t *testing.T) {
	noEnvironment(t)
	for _, c := range []struct{ text, want, hint string }{
		{"[tracing]\n", "there is no endpoint", "endpoint ="},
		{"[tracing]\nendpoint = \"127.0.0.1:4318\"\n", "has no scheme", `"http://127.0.0.1:4318"`},
		{"[tracing]\nendpoint = \"grpc://c:4317\"\n", "not grpc", `endpoint = "http://c:4317" and protocol = "grpc"`},
		{"[tracing]\nendpoint = \"grpcs://c\"\n", "not grpcs", `endpoint = "https://c"`},
		{"[tracing]\nendpoint = \"ftp://c\"\n", "http or https", "endpoint ="},
		{"[tracing]\nendpoint = \"http://\"\n", "not the URL", "endpoint ="},
		{"[tracing]\nendpoint = \"http://a:b@c\"\n", "neither password", "Authorization"},
		{"[tracing]\nendpoint = \"http://c/?token=a\"\n", "nor query", "Authorization"},
		{"[tracing]\nendpoint = 1\n", "must be a string", ""},
		{traced + "resource = { \"\" = \"a\" }\n", "no name", ""},
		{"[tracing]\nendpoint = \"http://c/v1/traces\"\nprotocol = \"grpc\"\n", "path of its own", `"http://c"`},
		{traced + "headers = { A = \"b\\nc\" }\n", "control character", ""},
		{traced + "headers = { \"a b\" = \"c\" }\n", "not the name", "letters"},
		{traced + "ca = \"a.pem\"\n", "for TLS", "https://"},
		{traced + "key = \"a.pem\"\n", "is for a certificate", "cert ="},
		{traced + "sample = \"10%\"\n", "from 0 to 1", "write 0.1"},
		{traced + "sample = 50\n", "from 0 to 1", "write 0.5"},
		{traced + "most = 200\n", "a rate", ""},
		{traced + "always = \"fast\"\n", "no word", "words are"},
		{traced + "attributes = { \"edge.route\" = \"x\" }\n", "of their own", "app.edge.route"},
		{traced + "attributes = { a = \"{nothing}\" }\n", "nothing", ""},
		{traced + "request_fields = [\"a:\"]\n", "not the name", "letters"},
		{"[http]\ntracing = true\n", "there is no [tracing]", "add [tracing]"},
		{web + "tracing = { sample = 1 }\n", "there is no [tracing]", "add [tracing]"},
		{traced + web + "tracing = { accept = \"all\" }\n", "accept", ""},
	} {
		text := c.text
		if !strings.Contains(text, "[http]") {
			text = "http.listen = \":80\"\n" + text
		} else {
			text = strings.Replace(text, "[http]", "[http]\nlisten = \":80\"", 1)
		}
		got, rep := config.Parse("edge.toml", []byte(text))
		if got != nil || len(rep.Errors) == 0 || !strings.Contains(rep.Errors[0].Message, c.want) ||
			!strings.Contains(rep.Errors[0].Hint, c.hint) || rep.Errors[0].Pos.Line < 2 {
			t.Errorf("%s\n%+v", c.text, rep.Errors)
		}
	}
}

func TestCheck_warnings(t *testing.T) {
	noEnvironment(t)
	for text, codes := range map[string]string{
		traced + web + "tracing.name = \"{host}\"\n":                                            codeWideName,
		traced + "[[routes]]\nhost = \"a.test\"\ndest = \"hello\"\ntracing.name = \"{host}\"\n": "",
		traced + "name = \"{method} {path}\"\n" + web:                                           codeWideName,
		traced + "name = \"{method} {route} {status}\"\n" + web:                                 "",
		traced + "attributes.x = \"{query.token}\"\n" + web:                                     config.CodeSecretInLog,
		traced + "answer_fields = [\"set-cookie\"]\n" + web:                                     config.CodeSecretInLog,
		traced + "headers.X-Key = \"a\"\n" + web:                                                "",
		"[tracing]\nendpoint = \"http://c:4318\"\nheaders.X-Key = \"a\"\n" + web:                codeInClear,
		"[tracing]\nendpoint = \"https://c:4318\"\nheaders.X-Key = \"a\"\n" + web:               "",
		web + "tracing = false\n":                                                               "",
	} {
		c, rep := config.Parse("edge.toml", []byte("http.listen = \":80\"\n"+text))
		var got []string
		for _, w := range rep.Warnings {
			got = append(got, w.Code)
		}
		if c == nil || strings.Join(got, " ") != codes {
			t.Errorf("%s\n%v %v", text, rep.Errors, rep.Warnings)
		}
	}
}

// The variables of OpenTelemetry stand in for what a file leaves out.
func TestCollector_environment(t *testing.T) {
	for _, c := range []struct{ own, all, keys, want string }{
		{"", "http://c:4318", "", "http://c:4318/v1/traces"},
		{"", "http://c:4318/x/", "", "http://c:4318/x/v1/traces"},
		{"", "http://c:4317", "protocol = \"grpc\"\n", "http://c:4317"},
		{"http://d/spans", "http://c:4318", "", "http://d/spans"},
		{"http://d", "http://c:4318", "", "http://d/v1/traces"},
		{"http://d", "http://c", "endpoint = \"https://e/\"\n", "https://e/v1/traces"},
		{"http://d", "http://c", "endpoint = \"https://e/otlp/v1/traces\"\n", "https://e/otlp/v1/traces"},
	} {
		noEnvironment(t)
		t.Setenv(envEndpoint, c.all)
		t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", c.own)
		of := Of(parse(t, "[tracing]\n"+c.keys+web))
		if of.Endpoint != c.want {
			t.Errorf("%+v: %s", c, of.Endpoint)
		}
		if o, err := of.Options(otlp.Traces, nil); err != nil || o.Endpoint.String() != c.want {
			t.Errorf("%+v: %v %v", c, o.Endpoint, err)
		}
	}
}

// What is wrong with a variable is told with its name.
func TestCollector_wrongEnvironment(t *testing.T) {
	noEnvironment(t)
	t.Setenv(envEndpoint, "localhost")
	_, rep := config.Parse("edge.toml", []byte("http.listen = \":80\"\n[tracing]\n"+web))
	if len(rep.Errors) != 1 || !strings.HasPrefix(rep.Errors[0].Message, envEndpoint+" of the environment: ") {
		t.Errorf("got %v", rep.Errors)
	}
}

func TestResourceOf(t *testing.T) {
	for _, c := range []struct{ variable, name, service, table, want string }{
		{"", "", "", "", "[{host.name a} {service.name edge}]"},
		{"x=1, service.name = b%20c,broken", "", "", "", "[{host.name a} {service.name b c} {x 1}]"},
		{"service.name=b", "c", "", "", "[{host.name a} {service.name c}]"},
		{"x=1", "c", "d", "x", "[{host.name a} {service.name d} {x of the table}]"},
		{"host.name=e", "", "", "", "[{host.name e} {service.name edge}]"},
	} {
		t.Setenv(envResource, c.variable)
		t.Setenv(envService, c.name)
		table := map[string]string{}
		if c.table != "" {
			table[c.table] = "of the table"
		}
		got := fmt.Sprint(ResourceOf(c.service, table, []observe.Field{{Name: "host.name", Value: "a"}}))
		if got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// Defaults, examples and bounds of keys are right, a date is an error, and the fields of headers are secret.
func TestKeys_rowsHold(t *testing.T) {
	noEnvironment(t)
	for table, keys := range map[string][]*schema.Key{
		traced: schema.Of[Tracing](keyTypes()), traced + web + "[routes.tracing]\n": schema.Of[routeEntry](keyTypes()),
	} {
		for _, k := range keys {
			for _, value := range []string{k.Default, k.Example, k.Min, k.Max} {
				if value == k.Min || value == k.Max {
					value = strings.TrimSuffix(syntax.Quote(value), `""`)
				}
				if value == "" || k.Path == "endpoint" {
					continue
				}
				text := table + k.Path + " = " + value + "\n"
				if c, rep := config.Parse("f.toml", []byte("http.listen = \":80\"\n"+text)); c == nil {
					t.Errorf("%s\n%v", text, rep.Errors)
				}
			}
			if k.Path == "endpoint" {
				continue
			}
			text := "http.listen = \":80\"\n" + table + k.Path + " = 1979-05-27\n"
			if c, rep := config.Parse("f.toml", []byte(text)); c != nil || len(rep.Errors) != 1 {
				t.Errorf("%s\n%v, want one error", text, rep.Errors)
			}
		}
	}
	c, rep := config.Options{Written: true}.Parse("f.toml", []byte("http.listen = \":80\"\n"+traced+
		"headers = { X-Any = \"hunter2\" }\n"+web))
	if c == nil || strings.Contains(string(c.Written), "hunter2") {
		t.Errorf("%v, or the secret is shown: %s", rep.Errors, c.Written)
	}
}

// A reload tells the keys that differ.
func TestKeys_ofAReload(t *testing.T) {
	noEnvironment(t)
	for _, c := range []struct{ old, next, want string }{
		{traced + web, traced + web, ""},
		{web, traced + web, "tracing [endpoint]"},
		{traced + web, traced + "name = \"{route}\"\n" + web, "tracing [name]"},
		{traced + web, traced + "always = \"4xx\"\n" + web, "tracing [always]"},
		{traced + web, traced + "attributes.a = \"b\"\n" + web, "tracing [attributes]"},
		{traced + web, traced + web + "tracing = false\n", "route web [tracing]"},
	} {
		d := changes.Of(parse(t, c.old), parse(t, c.next))
		var told []string
		for _, e := range d.Entries {
			told = append(told, e.Title()+" ["+strings.Join(e.Keys, ", ")+"]")
		}
		if got := strings.Join(told, ", "); got != c.want || len(d.Restart) > 0 {
			t.Errorf("%s\nbecomes\n%s\ntold is %q, restart %q", c.old, c.next, got, d.Restart)
		}
	}
}

// Log sinks of other packages are asked whether their fields go in clear. One of a wrong type is none.
func TestCheck_sinks(t *testing.T) {
	noEnvironment(t)
	const sink = "log.output = [\"a\"]\nhttp.listen = \":80\"\n" + web + "[log_sinks.a]\ntype = "
	_, rep := config.Parse("edge.toml", []byte(sink+"\"test_collector\"\nendpoint = \"http://c\"\nheaders.X = \"y\"\n"))
	if len(rep.Errors) > 0 || len(rep.Warnings) != 1 || rep.Warnings[0].Code != codeInClear {
		t.Errorf("got %v %v", rep.Errors, rep.Warnings)
	}
	for _, wrong := range []string{"\"nothing\"\nheaders.X = \"y\"\n", "5\n"} {
		if c, rep := config.Parse("edge.toml", []byte(sink+wrong)); c != nil || len(rep.Errors) == 0 {
			t.Errorf("%s: %v", wrong, rep.Errors)
		}
	}
}
