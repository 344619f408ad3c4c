package admin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/config/schema"
)

// Submission is a configuration that a client has sent.
type Submission struct {
	Text   []byte
	Format string                // toml, yaml or json
	Owner  bool                  // the client may read the files of the process anyway
	DryRun bool                  // say what would change, and change nothing
	Match  func(tag string) bool // whether If-Match names the InForce.Tag; nil: there is no such field
}

// formats are the media types of a configuration. A form of a web page cannot send them. A script of another site would
// have to ask first (CORS), and edge answers that with no permission.
var formats = map[string]string{
	"application/toml": "toml", "application/yaml": "yaml", "application/json": "json",
}

// configurationEndpoints are those that replace the configuration.
func configurationEndpoints() []Endpoint {
	return []Endpoint{{
		Method: "PUT", Pattern: "/v1/config", Needs: MayChange, Heavy: true, Slow: true, Out: Reloaded{},
		Types: []string{"application/toml", "application/yaml", "application/json"},
		Query: []Param{{"dry_run", "1: say what would change, and change nothing."}},
		Fields: []Param{{"If-Match", "The `ETag` of `GET /v1/config`, which no other configuration has, of this " +
			"process or another one: with another one in force the status is 412, and without the field 428. `*`: " +
			"whatever is in force."}},
		Doc: "Apply a configuration that the body has, as a reload applies the files. It is kept as a version and " +
			"written to no file: `differs` says that the next reload or start applies something else. With " +
			"errors nothing changes: the answer says what is wrong, with status 422.",
		answer: configure,
	}}
}

func showConfiguration(c *call) (any, error) {
	now, err := c.process.Configuration()
	if err != nil {
		return nil, err
	}
	c.tag(now.Tag)
	return now, nil
}

// tag says in the answer what is in force.
func (c *call) tag(tag string) { c.writer.Header().Set("ETag", strconv.Quote(tag)) }

// dryRun reports whether r asks only what would change, so that nothing is applied.
func dryRun(r *http.Request) bool { return r.URL.Query().Get("dry_run") == "1" }

func configure(c *call) (any, error) {
	s := Submission{Format: formats[contentType(c.request)], Owner: c.client.owns(), DryRun: dryRun(c.request)}
	if text := c.request.URL.Query().Get("dry_run"); text != "" && text != "0" && text != "1" {
		return nil, fmt.Errorf("%w: dry_run is 1 or 0", ErrInvalid)
	}
	var err error
	if s.Match, err = matching(c.request.Header.Values("If-Match")); err != nil {
		return nil, err
	}
	if s.Match == nil && !s.DryRun {
		return nil, &problem{http.StatusPreconditionRequired, "unconditional", "say which configuration this one is " +
			"to replace: If-Match with the ETag of GET /v1/config"}
	}
	most := int64(bodyMost)
	if s.Owner {
		most = schema.FileBytesMax
	}
	s.Text, err = io.ReadAll(http.MaxBytesReader(c.writer, c.request.Body, most))
	if errors.As(err, new(*http.MaxBytesError)) {
		return nil, err
	}
	if err == nil && len(s.Text) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the body: %w", ErrInvalid, err)
	}
	done, err := c.process.Configure(&s)
	if err != nil {
		return nil, err
	}
	c.tag(done.Tag)
	return done, nil
}

// matching reads If-Match (RFC 9110 §13.1.1): entity tags with commas between them, or a star. It returns nil where
// there is no such field.
func matching(fields []string) (func(tag string) bool, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	all := strings.Split(strings.Join(fields, ","), ",")
	known := make(map[string]bool, len(all))
	for _, tag := range all {
		tag = strings.TrimSpace(tag)
		weak := strings.HasPrefix(tag, "W/")
		if tag == "*" && len(all) == 1 {
			return func(string) bool { return true }, nil
		}
		// A weak tag is well formed, and matches nothing: the comparison is the strong one.
		if tag = strings.TrimPrefix(tag, "W/"); len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' {
			return nil, fmt.Errorf("%w: If-Match is the ETag of GET /v1/config with its quotation marks, as in "+
				"\"3-19b2f0c3a1d\"", ErrInvalid)
		}
		known[tag] = known[tag] || !weak
	}
	return func(tag string) bool { return known[strconv.Quote(tag)] }, nil
}
