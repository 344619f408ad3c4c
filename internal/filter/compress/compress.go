package compress

import (
	"slices"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/filter/encode"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// Config is the table of a filter of the type "compress".
type Config struct {
	Encodings []string `edge:"encodings" doc:"Content codings, best first." default:"[\"zstd\", \"gzip\"]"`
	Types     []string `edge:"types" doc:"Content types; usual is text and data." default:"[\"usual\"]"`
	MinSize   int64    `edge:"min_size" doc:"Smallest body to compress." unit:"size" default:"256" min:"0" max:"1g"`
	Level     string   `edge:"level" doc:"Effort; auto works less under load." enum:"fast auto best" default:"auto"`

	CompressSecrets bool `edge:"compress_secrets" doc:"Compress all types for foreign pages with credentials."`
}

func init() {
	plugin.Register(plugin.Filters, "compress", "Compresses bodies of answers with zstd or gzip.", New)
}

// codings are the words of encodings.
var codings = map[string]compress.Coding{"zstd": compress.Zstd, "gzip": compress.Gzip}

// levels are the words of level.
var levels = map[string]compress.Level{"fast": compress.Fast, "auto": compress.Auto, "best": compress.Best}

// Check finds codings and types that are none.
func (c *Config) Check(r *plugin.Report) {
	for i, name := range c.Encodings {
		switch at := r.Element("encodings", i, len(c.Encodings)); {
		case name == "br":
			at.Errorf(`"zstd" is as small and takes less time`, "edge does not compress with brotli")
		case codings[name] == compress.Identity:
			at.Errorf(`"zstd" and "gzip" are`, "%q is no coding that edge compresses with", name)
		case slices.Contains(c.Encodings[:i], name):
			at.Errorf("", "%q stands there twice", name)
		}
	}
	if len(c.Encodings) == 0 {
		r.At("encodings").Errorf(`["zstd", "gzip"] without the key`, "nothing would be compressed")
	}
	for i, pattern := range c.Types {
		if !new(compress.Types).Add(pattern) {
			r.Element("types", i, len(c.Types)).Errorf(`as in "text/html", "text/*", "*+json" and "*"`,
				"%q is no content type", pattern)
		}
	}
}

// compressor is a filter of this type. Safe for the reactors of a server.
type compressor struct {
	policy  compress.Policy
	level   compress.Level
	lenders *lenders
	counts  [2 + compress.Results]*plugin.Counter // of gzip and zstd, then of answers that stay as they are
}

// lenders has the Lender of each reactor, from one configuration to the next.
type lenders struct{ of sync.Map } // *engine.Reactor to *compress.Lender

// on returns the Lender of r. On r.
func (l *lenders) on(r *engine.Reactor) *compress.Lender {
	if have, ok := l.of.Load(r); ok {
		return have.(*compress.Lender)
	}
	made := compress.NewLender(r)
	l.of.Store(r, made)
	return made
}

// New makes the filter.
func New(c *Config, b *plugin.Build) (*proxy.Filter, error) {
	f := &compressor{level: levels[c.Level]}
	f.policy.MinSize, f.policy.Secrets = c.MinSize, c.CompressSecrets
	for _, name := range c.Encodings {
		f.policy.Codings = append(f.policy.Codings, codings[name])
	}
	for _, pattern := range c.Types {
		f.policy.Types.Add(pattern)
	}
	if slices.ContainsFunc(c.Types, packed) {
		b.Log().Warn("images, films and archives are compressed once more, which takes time and makes them no smaller",
			"types", strings.Join(c.Types, " "))
	}
	var err error
	if f.lenders, err = plugin.Keep(b, "encoders", func() (*lenders, error) { return &lenders{}, nil }); err != nil {
		return nil, err
	}
	count := func(coding compress.Coding, why compress.Result) *plugin.Counter {
		return b.Counter(why.String(), observe.Label{Name: "encoding", Value: coding.String()})
	}
	f.counts[0], f.counts[1] = count(compress.Gzip, compress.Compressed), count(compress.Zstd, compress.Compressed)
	for why := compress.Compressed + 1; why < compress.Results; why++ {
		f.counts[2+why] = count(compress.Identity, why)
	}
	return &proxy.Filter{Name: "compress", Request: f.request, Encode: f.encode, Explain: f.explain}, nil
}

// packed reports whether a pattern of types takes in types that have a compression of their own.
func packed(pattern string) bool {
	return slices.Contains([]string{"*", "*/*", "image/*", "video/*", "audio/*", "application/*"}, pattern)
}

// asker returns what is known of the client of x.
func asker(x *proxy.Exchange) compress.Asker {
	d := x.Client().TLS()
	return compress.Asker{Authority: x.AskedAuthority(), Certificate: d != nil && len(d.Chain()) > 0}
}

// request asks for the whole answer for a client that may have a part of a compressed one and asks for the rest by a
// date. RFC 9110 §8.8.2.2: a date that two codings of an answer share is no strong validator, so that If-Range does
// not hold.
func (f *compressor) request(x *proxy.Exchange) proxy.Verdict {
	h := &x.Request
	if at := h.Peek(message.IfRange); len(at) > 0 && at[len(at)-1] != '"' {
		if coding, _ := f.policy.JudgeRequest(h, asker(x)); coding != compress.Identity {
			h.DelID(message.Range)
			h.DelID(message.IfRange)
		}
	}
	return proxy.Next
}

// encode is asked when the head of the answer is ready.
func (f *compressor) encode(x *proxy.Exchange, end bool) proxy.Encoder {
	h := &x.Response
	coding, why, varies := f.policy.Judge(&x.Request, h, asker(x), end)
	if varies {
		h.AddVary("Accept-Encoding")
	}
	if why != compress.Compressed {
		if coding != compress.Identity {
			compress.Apply(h, coding)
		}
		f.counts[2+why].Add(x)
		return nil
	}
	slow := compress.ComesSlowly(h.Peek(message.ContentType))
	lender := f.lenders.on(x.Reactor())
	with := lender.Lend(coding, f.level, h.Length, slow)
	if with == nil && slices.Contains(f.policy.Codings, compress.Gzip) {
		if coding = compress.Negotiate(&x.Request, gzipAlone); coding == compress.Gzip {
			with = lender.Lend(coding, f.level, h.Length, slow)
		}
	}
	if with == nil {
		f.counts[2+compress.NoEncoder].Add(x)
		return nil
	}
	compress.Apply(h, coding)
	f.counts[coding-compress.Gzip].Add(x)
	return with
}

var gzipAlone = []compress.Coding{compress.Gzip}

// explain says what becomes of the answer to a request.
func (f *compressor) explain(request *message.Head) string {
	coding, why := f.policy.JudgeRequest(request, compress.Asker{Authority: request.Bytes(request.Authority)})
	switch why {
	case compress.Compressed:
		return coding.String() + " where the answer is of types and of min_size"
	case compress.CrossSite:
		return coding.String() + " where the answer is of types and of min_size, but " + why.Explain()
	}
	return "no compression, " + why.Explain()
}
