package inspect

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/server/admin"
)

// noText are sentences for reasons that have no text, because edge sends no answer to such a failure.
var noText = map[string]string{
	"client:request_body": "The client sent the body of its request too slowly.",
	"client:malformed":    "The body of the request is malformed.",
	"client:timeout":      "The client took nothing of the answer for too long.",
	"edge:tunnel_idle":    "Nothing came through the tunnel for too long.",
	"edge:drain":          "The process was ending, and the time for that was over.",
}

// explain says why a request ended as it did, or what took its time, and what to look at first.
func explain(r *remembered, one *admin.Request) (sentence, try string) {
	reason, _ := r.reasons()
	backend := backendOf(one)
	switch {
	case r.Proto == observe.ProtoTCP:
		return explainRelayed(r, one, backend)
	case reason.Word == "client:gone":
		return explainGone(r, backend)
	case reason.Word != "":
		sentence = strings.TrimSuffix(cmp.Or(reason.Text, noText[reason.Word], "It failed: "+reason.Word+"."), ".")
		if one.EndedBy == "backend" && backend != "" {
			sentence += ": " + backend + ", " + span(r.End) + " after the request came"
		}
		if one.EndedBy == "backend" && one.Attempts > 1 {
			sentence += fmt.Sprintf(", in the last of %d attempts", one.Attempts)
		}
		if r.Flags&recent.Denied != 0 {
			sentence += ". Another attempt was not made: the budget of retries was empty"
		}
		return sentence + ".", reason.Try
	case one.Call != nil && *one.Call > 0:
		sentence = fmt.Sprintf("The call ended with the status %d of gRPC, which %s said", *one.Call,
			cmp.Or(backend, "edge"))
	case one.Own:
		return fmt.Sprintf("The route answers %d by itself: no backend was asked.", one.Status), ""
	case one.Status >= 500 && !fromCache(one.Cache):
		sentence, try = fmt.Sprintf("The answer %d came from %s: edge passed it on", one.Status,
			cmp.Or(backend, "the destination")), "the log of the backend"
	default:
		sentence = fmt.Sprintf("It was answered with %d", one.Status)
		if fromCache(one.Cache) && backend == "" {
			sentence += ", by the cache"
		}
	}
	sentence += explainFirst(r, one)
	if slowest := slowestOf(r, backend); slowest != "" {
		sentence += ". " + slowest
	}
	return sentence + ".", try
}

// explainFirst says why the first attempt failed; "": there was no other one.
func explainFirst(r *remembered, one *admin.Request) string {
	if len(one.Tries) < 2 {
		return ""
	}
	return fmt.Sprintf(". The first of %d attempts failed: %s, %s", one.Attempts, one.Tries[0].Backend,
		outcomeText(r.Tries[0]))
}

// explainRelayed is explain for a connection of a TCP service.
func explainRelayed(r *remembered, one *admin.Request, backend string) (sentence, try string) {
	reason, _ := r.reasons()
	after := Short(r.Took()) + " after the client came"
	switch {
	case reason.Word == "":
		sentence = "Both sides have ended it, " + after
	case one.Status == 502:
		sentence = fmt.Sprintf("No backend of %s could be connected to. The last attempt, at %s, ended %s: %s",
			one.Upstream, backend, after, strings.TrimSuffix(reason.Text, "."))
	default:
		sentence = strings.TrimSuffix(reason.Text, ".") + ", " + after
	}
	sentence += explainFirst(r, one)
	if r.Connect.Duration() >= longFrom {
		sentence += fmt.Sprintf(". It took %s until %s was connected to", span(r.Connect), backend)
	}
	return sentence + ".", reason.Try
}

// fromCache reports whether an answer was a stored one.
func fromCache(did string) bool { return did == "hit" || did == "stale" || did == "revalidated" }

// explainCache says what a cache did with r, why, and what an operator can do about it; "": there was no cache.
func explainCache(r *remembered, why recent.Reason) string {
	did := r.Flags.Cache()
	if why.Word == "" {
		return did
	}
	if r.Flags&recent.Unstored != 0 {
		did += ", not stored"
	}
	did += ": " + why.Word
	if why.Text != "" {
		did += " (" + strings.TrimSuffix(why.Text, ".") + ")"
	}
	if why.Try != "" {
		did += ". Try: " + why.Try
	}
	return did
}

// explainGone says during what the client left.
func explainGone(r *remembered, backend string) (sentence, try string) {
	sentence = "The client left after " + span(r.End) + ", "
	switch {
	case r.LastByte > 0:
		return sentence + fmt.Sprintf("when edge had the whole answer: it took %d bytes of the body.", r.BytesOut), ""
	case r.FirstByte > 0, fromCache(r.Flags.Cache()) && r.Status != 499:
		return sentence + fmt.Sprintf("during the answer: it took %d bytes of the body.", r.BytesOut), ""
	case r.Sent > 0:
		return sentence + fmt.Sprintf("while %s had the request for %s and had not begun to answer.", backend,
				span(r.End-min(r.Sent, r.End))),
			"is the backend slow (edge upstreams), or does the client wait too short a time?"
	case backend != "":
		return sentence + "while a connection to " + backend + " was being made.",
			"can the backend be reached? timeouts.connect says how long it has"
	case r.Queue > 0:
		return sentence + "while it waited for a backend that has room.", "the limits of the upstream (edge upstreams)"
	}
	return sentence + "before the request was sent to a backend.", ""
}

// longFrom is the time of the shortest request of which slowestOf says something.
const longFrom = 5 * time.Millisecond

// slowestOf says what took the most of the time of a request; "": it took hardly any.
func slowestOf(r *remembered, backend string) string {
	if r.End.Duration() < longFrom || r.Flags&recent.Tunnel != 0 {
		return ""
	}
	before := r.Queue + r.Lookup + r.Connect
	parts := []struct {
		took recent.Span
		text string
	}{
		{r.Queue, "waiting for a connection, or for a backend that has room"},
		{r.Lookup, "looking the name of the backend up"},
		{r.Connect - min(r.TLS, r.Connect), "connecting to " + backend},
		{r.TLS, "the TLS handshake with " + backend},
		{r.Sent - min(before, r.Sent), "until the request was sent whole, for which the client takes its time"},
		{r.FirstByte - min(r.Sent, r.FirstByte), "until " + backend + " began to answer"},
		{r.LastByte - min(r.FirstByte, r.LastByte), "until the answer was whole"},
		{r.End - min(max(r.LastByte, r.FirstByte), r.End), "until the client had taken the answer"},
	}
	if len(r.Tries) > 1 && r.Attempts > 1 {
		parts[4].text = "before the last attempt, on those that failed"
	}
	if did := r.Flags.Cache(); r.FirstByte == 0 && (did == "miss" || did == "revalidated") {
		parts[7].text = "until the answer to another request for the same came, and the client had taken it"
	}
	most := &parts[0]
	for i := range parts {
		if parts[i].took > most.took {
			most = &parts[i]
		}
	}
	return fmt.Sprintf("Of %s the most, %s, went by %s", span(r.End), span(most.took), most.text)
}

func outcomeText(t recent.Try) string {
	if status := t.Status(); status > 0 {
		return fmt.Sprintf("which answered %d", status)
	}
	reason := recent.ReasonOf(t.Reason())
	text := strings.TrimSuffix(cmp.Or(reason.Text, reason.Word), ".")
	return fmt.Sprintf("%s (%s)", reason.Word, text)
}

// backendOf returns the backend of the last attempt; "": there was none.
func backendOf(one *admin.Request) string {
	if n := len(one.Tries); n > 0 {
		return one.Tries[n-1].Backend
	}
	return ""
}

func span(s recent.Span) string { return Short(s.Duration()) }

// Short writes a time with three digits or less: 312µs, 1.2ms, 31ms, 1.31s.
func Short(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= 100*unit {
			return d.Round(unit).String()
		}
		if d >= 10*unit {
			return d.Round(unit / 10).String()
		}
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
