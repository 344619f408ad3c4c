package proxy

import (
	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/exchange/page"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/forward/sticky"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/route"
)

// Conditions of a Route.
type (
	FieldCondition      = route.Condition  // what a field or a parameter of the query has to be
	ClientCertCondition = route.ClientCert // what the certificate of a client has to be
)

// Parts of a Listener.
type (
	Trust     = forwarding.Trust  // the peers whose forwarding fields are believed
	Redaction = observe.Redaction // hides values of parameters in access logs; NewRedaction makes it
	Pages     = page.Set          // bodies of answers to failures, by status; the zero value has none
)

// Ways to read paths, for Listener.Paths. See docs/http1.md.
const (
	PathsMatched   = route.PathsMatched   // rules see dot segments resolved; backends get paths as they came
	PathsForwarded = route.PathsForwarded // backends get them resolved too
	PathsRaw       = route.PathsRaw       // rules see paths as they came
)

// NewRedaction hides the values of the parameters with these names.
func NewRedaction(names ...string) *Redaction { return observe.NewRedaction(names) }

// NewPage makes a page for Pages.Add. Variables in body are escaped as contentType needs it.
func NewPage(contentType, body string) (*page.Page, error) { return page.New(contentType, body) }

// File is a body that is sent from an open file, by the kernel where it can. Safe for any goroutine.
type File = content.File

// OpenFile opens the file that RespondFile answers with.
func OpenFile(name string) (*File, error) { return content.Open(name) }

// How To leads to an upstream: see ToOptions.
type (
	RetryPolicy   = retry.Policy      // which failures are tried again
	Sticky        = sticky.Cookie     // keeps clients at backends
	StickyOptions = sticky.Options    // the cookie of a Sticky
	Limits        = admission.Limiter // bounds the requests under way
	LimitsOptions = admission.Options // the numbers of a Limits
)

// RetryOn reads conditions of a RetryPolicy: "connect", "refused_stream", "reset", "timeout", a status from 400 to 599,
// "5xx", and "grpc:NAME" with the name of a status of gRPC. Without words nothing is tried again.
func RetryOn(words ...string) (retry.Conditions, error) { return retry.Parse(words...) }

// NewRetryBudget makes the budget of a RetryPolicy for so many reactors: 100 good answers pay for percent retries.
func NewRetryBudget(reactors, percent int) *retry.Budget { return retry.NewBudget(reactors, percent) }

// NewSticky makes the cookie of the backends of set, and of those that join it later.
func NewSticky(set *backend.Set, o StickyOptions) (*Sticky, error) { return sticky.New(set, o) }

// NewLimits makes limits for so many reactors.
func NewLimits(reactors int, o LimitsOptions) *Limits { return admission.New(reactors, o) }
