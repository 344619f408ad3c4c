package admin

import (
	"fmt"
	"net/url"
	"strconv"
	"time"
)

const (
	requestsMost    = 1000 // in one answer
	requestsDefault = 20
)

// RequestQuery says which requests are asked for.
type RequestQuery struct {
	ID   string // "": the last ones
	All  bool   // without ID: also those that ended well and soon
	Most int    // how many, without ID
}

// Request is what became of a request that has ended.
type Request struct {
	ID        string    `json:"id,omitempty" doc:"Its number; none: it was refused before it had one."`
	Began     time.Time `json:"began"`
	Took      Duration  `json:"took"`
	Client    string    `json:"client" doc:"Its address; an address that a trusted proxy tells has no port."`
	Protocol  string    `json:"protocol" doc:"HTTP/1.0, HTTP/1.1, HTTP/2, or TCP: a connection of a service."`
	TLS       bool      `json:"tls"`
	Listener  string    `json:"listener"`
	Route     string    `json:"route,omitempty" doc:"None: no route took it."`
	Upstream  string    `json:"upstream,omitempty"`
	Version   int       `json:"version,omitempty" doc:"Of the configuration that served it, where that is known."`
	Status    int       `json:"status" doc:"Of the answer; 499: the client left before."`
	Call      *int      `json:"grpc_status,omitempty" doc:"Of a gRPC call."`
	Own       bool      `json:"own,omitempty" doc:"The answer is edge's own."`
	Tunnel    bool      `json:"tunnel,omitempty"`
	Reused    bool      `json:"reused,omitempty" doc:"The connection to the backend had served before."`
	Hedge     string    `json:"hedge,omitempty" enum:"won,lost" doc:"What became of a second attempt beside the first."`
	EndedBy   string    `json:"ended_by,omitempty" enum:"client,backend,edge" doc:"Where it has no ordinary end."`
	Reason    string    `json:"reason,omitempty" doc:"As in the access log: the side that ended it, and the phase."`
	Attempts  int       `json:"attempts"`
	Tries     []Try     `json:"tries,omitempty" doc:"The first attempt and the last one."`
	Phases    []Phase   `json:"phases" doc:"In their order; those that did not come are left out."`
	BytesIn   uint64    `json:"bytes_in" doc:"Of the body of the request."`
	BytesOut  uint64    `json:"bytes_out" doc:"Of the body of the answer."`
	Explained string    `json:"explained" doc:"The likely reason for its end or its time, in a sentence."`
	Try       string    `json:"try,omitempty" doc:"What to look at first."`

	Cache          string `json:"cache,omitempty" enum:"hit,stale,revalidated,miss,bypass" doc:"What the cache did."`
	CacheReason    string `json:"cache_reason,omitempty" doc:"Why there was no hit, or why the answer was not stored."`
	CacheExplained string `json:"cache_explained,omitempty" doc:"Both in a sentence, with what an operator can do."`
}

// Try is one attempt at a backend.
type Try struct {
	Attempt int      `json:"attempt" doc:"From 1."`
	Backend string   `json:"backend"`
	Outcome string   `json:"outcome"`
	After   Duration `json:"after" doc:"When it had that outcome, from the beginning of the request."`
}

// Phase is a part of the time of a request. The phase tls is a part of connect. The phases from sent on are moments.
type Phase struct {
	Name string   `json:"name" enum:"queue,dns,connect,tls,sent,first_byte,last_byte,end"`
	At   Duration `json:"at,omitempty" doc:"Of a moment: after the beginning."`
	Took Duration `json:"took" doc:"Of a moment: since the one before."`
}

// requestEndpoints are the operations that say what became of requests.
func requestEndpoints() []Endpoint {
	return []Endpoint{
		{Method: "GET", Pattern: "/v1/requests", Needs: MayRead, Heavy: true, Command: "why", Out: List[Request]{},
			Query: []Param{
				{"all", "`true`: also those that ended well and soon."},
				{"limit", "How many, 1000 at most; none: 20."}},
			Doc: "Say what became of the last requests that failed, were tried again or were slow, the last one " +
				"first. `why` of `[admin]` says how many are remembered.",
			answer: listRequests},
		{Method: "GET", Pattern: "/v1/requests/{id}", Needs: MayRead, Heavy: true, Command: "why ID",
			Out: List[Request]{},
			Doc: "Say how the request with this number was answered. The number is edge's, or the one the client " +
				"sent, which several requests may share.",
			answer: findRequest},
	}
}

// RequestPath returns the path at which the API says what became of the request with a number.
func RequestPath(id string) string { return "/v1/requests/" + url.PathEscape(id) }

func listRequests(c *call) (any, error) {
	var q RequestQuery
	var err error
	if text := c.request.URL.Query().Get("all"); text != "" {
		if q.All, err = strconv.ParseBool(text); err != nil {
			return nil, fmt.Errorf("%w: all is true or false", ErrInvalid)
		}
	}
	if q.Most, err = numberOf(c.request, "limit", requestsDefault, 1, requestsMost); err != nil {
		return nil, err
	}
	list, err := c.process.Requests(c.request.Context(), &q)
	return &List[Request]{Items: list}, err
}

func findRequest(c *call) (any, error) {
	list, err := c.process.Requests(c.request.Context(), &RequestQuery{ID: c.request.PathValue("id")})
	return &List[Request]{Items: list}, err
}
