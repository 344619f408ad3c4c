package report

import (
	"embed"
	"time"

	"github.com/getsentry/sentry-go"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
)

// entry is [sentry] of a file.
type entry struct {
	schema.Given
	Sentry
}

// Sentry is a project of Sentry, and what it is told.
// Immutable after the configuration was read.
type Sentry struct {
	// Address of a project at Sentry with a key, as the settings of the project show it.
	DSN string `edge:"dsn" kind:"dsn" example:"https://0123456789abcdef@o1.ingest.sentry.io/4" secret:"true" json:"-"`
	// Environment that events belong to, a word of one's own. Default: `SENTRY_ENVIRONMENT` of the environment.
	Environment string `edge:"environment" example:"production"`
	// Send the addresses of clients in events.
	ClientIP bool `edge:"client_ip"`
	// Number of failed requests (status 500 or more) of a route that make an event when they come in `burst.within`.
	Failures int `edge:"burst.failures" default:"20" min:"1" max:"1000000" example:"100"`
	// Time in which the failed requests of a burst come. The process looks for bursts six times in it.
	Within time.Duration `edge:"burst.within" default:"1m" min:"10s" max:"1h" example:"5m"`
	// Share of failed requests, among all of the route in that time, which a burst must exceed.
	Share int `edge:"burst.share" kind:"percent" default:"20%" example:"50%"`
}

//go:embed section.go
var source embed.FS

func keyTypes() *schema.Tags {
	return &schema.Tags{Comments: schema.Comments(source), Kinds: map[string]schema.FieldType{
		"dsn":     {Type: typeDSN, Plain: true},
		"percent": {Type: config.Percent, Plain: true},
	}}
}

func init() {
	config.Register[entry](keyTypes, schema.Section{
		Path: "sentry", Resolve: resolve,
		Doc: "[Events](sentry.md) for Sentry: panics, errors of the error log, and bursts of failed requests. " +
			"Without the section nothing is sent.",
	})
}

const hintDSN = `write dsn = "https://KEY@HOST/PROJECT", or "${SENTRY_DSN}"`

var typeDSN = schema.Type{Name: "string", Parse: schema.TextOf("a DSN", dsnOf)}

// dsnOf does not repeat the text, which is a secret.
func dsnOf(text string) (dsn, wrong, hint string) {
	if _, err := sentry.NewDsn(text); err != nil {
		return text, "this is not the DSN of a project of Sentry", hintDSN
	}
	return text, "", ""
}

func resolve(doc *schema.Document, t schema.Target) {
	e := t.(*entry)
	if (e.Node() != nil || e.HasAny("")) && e.Lacks("dsn") {
		doc.Report.Errorf(e.Place("dsn"), hintDSN, "[sentry] needs a dsn")
	}
}

// of returns the section of c; nil: there is none.
func of(c *config.Config) *Sentry {
	if e := schema.Only[*entry](c.Features); e != nil && e.DSN != "" {
		return &e.Sentry
	}
	return nil
}
