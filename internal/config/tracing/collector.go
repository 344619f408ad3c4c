package tracing

import (
	"cmp"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/otlp"
)

// Collector has the keys of the way to an OpenTelemetry collector.
type Collector struct {
	Endpoint string `edge:"endpoint" doc:"URL, such as http://127.0.0.1:4318; default: by the environment."`

	Protocol    string `edge:"protocol" doc:"Protocol that carries OTLP." enum:"http grpc" default:"http"`
	Compression string `edge:"compression" doc:"Compression of each batch." enum:"none gzip" default:"none"`

	Headers map[string]string `edge:"headers" doc:"Fields of requests to it, such as a token." secret:"true" json:"-"`

	Timeout time.Duration `edge:"timeout" doc:"Time for a request to it." default:"10s" min:"100ms" max:"1m"`

	CA   string `edge:"ca" doc:"File of authorities that vouch for it; default: the roots of the system." file:"read"`
	Cert string `edge:"cert" doc:"Certificate that it is shown; read for each connection." file:"read"`
	Key  string `edge:"key" doc:"Private key of cert; default: the key in the file of cert." file:"read"`
}

// ClientFiles implements config.TLSClient.
func (c *Collector) ClientFiles() (ca, cert, key *string) { return &c.CA, &c.Cert, &c.Key }

// Problem is what is wrong with a key.
type Problem struct {
	Key         string // "": the table
	Wrong, Hint string
}

// The variables of the environment that OpenTelemetry gives a name.
const (
	envEndpoint  = "OTEL_EXPORTER_OTLP_ENDPOINT" // of all signals: their paths are added to its own
	envService   = "OTEL_SERVICE_NAME"
	envResource  = "OTEL_RESOURCE_ATTRIBUTES"
	endpointHint = `write endpoint = "http://127.0.0.1:4318"`
)

// Complete sets the endpoint of c as a whole, for a signal: by its key, else by the environment. It returns what is
// wrong with the keys, beyond what their types say.
func (c *Collector) Complete(signal otlp.Signal) (all []Problem) {
	key, text, from := "endpoint", c.Endpoint, ""
	if text == "" {
		key, from = "", "OTEL_EXPORTER_OTLP_"+strings.ToUpper(string(signal))+"_ENDPOINT"
		if text = os.Getenv(from); text == "" {
			from = envEndpoint
			if text = os.Getenv(from); text != "" && c.Protocol != "grpc" {
				text = strings.TrimSuffix(text, "/") + pathOf(signal)
			}
		}
	}
	u, wrong, hint := parseEndpoint(text, c.Protocol == "grpc")
	if wrong != "" && text != "" && from != "" {
		wrong = from + " of the environment: " + wrong
	}
	if wrong != "" {
		all = append(all, Problem{key, wrong, hint})
	} else if u.Path == "" && c.Protocol != "grpc" {
		u.Path = pathOf(signal)
	}
	c.Endpoint = ""
	if u != nil {
		c.Endpoint = u.String()
	}
	if c.Key != "" && c.Cert == "" {
		all = append(all, Problem{"key", "a private key is for a certificate", `add cert = "…", or leave it out`})
	}
	if u != nil && u.Scheme == "http" && c.CA+c.Cert != "" {
		all = append(all, Problem{key, "ca and cert are for TLS, not for http", "write https://" + u.Host})
	}
	for name := range c.Headers {
		if wrong, hint := value.WrongField(name); wrong != "" {
			all = append(all, Problem{"headers", wrong, hint})
		}
	}
	return all
}

func pathOf(signal otlp.Signal) string { return "/v1/" + string(signal) }

// parseEndpoint reads the URL of a collector.
func parseEndpoint(text string, grpc bool) (u *url.URL, wrong, hint string) {
	scheme, rest, found := strings.Cut(text, "://")
	switch {
	case text == "":
		return nil, "there is no endpoint, and no " + envEndpoint, endpointHint
	case !found:
		return nil, syntax.Quote(text) + " has no scheme", "write " + syntax.Quote("http://"+text)
	case scheme == "grpc" || scheme == "grpcs":
		secure := strings.TrimPrefix(scheme, "grpc")
		return nil, "the scheme is http or https, not " + scheme,
			"write endpoint = " + syntax.Quote("http"+secure+"://"+rest) + ` and protocol = "grpc"`
	case scheme != "http" && scheme != "https":
		return nil, "the scheme is http or https, not " + syntax.Quote(scheme), endpointHint
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Fragment != "":
		return nil, syntax.Quote(text) + " is not the URL of a collector", endpointHint
	case u.User != nil || u.RawQuery != "":
		return nil, "a URL of a collector has neither password nor query, since logs show it",
			`write headers = { Authorization = "Basic …" }`
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	if grpc && u.Path != "" {
		return nil, "gRPC has a path of its own", "write " + syntax.Quote(scheme+"://"+u.Host)
	}
	return u, "", ""
}

// WrongResource says what is wrong with a table of attributes of the process; "": nothing.
func WrongResource(table map[string]string) string {
	if _, nameless := table[""]; nameless {
		return "an attribute has no name"
	}
	return ""
}

// InClear reports whether fields of requests, which may be secrets, go to another machine without TLS.
func (c *Collector) InClear() bool {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Scheme != "http" || len(c.Headers) == 0 {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback())
}

// Options returns the options of an exporter of a signal, without Version and TLS. c is complete.
func (c *Collector) Options(signal otlp.Signal, resource []observe.Field) (o otlp.Options, err error) {
	o = otlp.Options{Signal: signal, GRPC: c.Protocol == "grpc", Gzip: c.Compression == "gzip",
		Timeout: c.Timeout, Resource: resource, Header: make(http.Header)}
	for name, text := range c.Headers {
		o.Header.Set(name, text)
	}
	o.Endpoint, err = url.Parse(c.Endpoint)
	return o, err
}

// ResourceOf returns what the process is, as attributes: service, its name, and table, which come first, then the
// environment, then process.
func ResourceOf(service string, table map[string]string, process []observe.Field) (fields []observe.Field) {
	all := map[string]string{serviceName: "edge"}
	for _, f := range process {
		all[f.Name] = f.Value
	}
	for pair := range strings.SplitSeq(os.Getenv(envResource), ",") {
		name, text, found := strings.Cut(pair, "=")
		text, err := url.PathUnescape(strings.TrimSpace(text))
		if name = strings.TrimSpace(name); found && err == nil && name != "" {
			all[name] = text
		}
	}
	all[serviceName] = cmp.Or(os.Getenv(envService), all[serviceName])
	maps.Copy(all, table)
	all[serviceName] = cmp.Or(service, all[serviceName])
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fields = append(fields, observe.Field{Name: name, Value: all[name]})
	}
	return fields
}

const serviceName = "service.name"
