package proxy

import (
	"slices"
)

// Verdict is what a filter decides: Next, Respond, Fail, Park or Resend. A Destination may answer by one of Respond.
// Immutable.
type Verdict struct {
	kind        verdictKind
	page        bool // the body is the page of the status
	status      int
	body        string
	file        *File    // in place of body; nil: there is none
	contentType string   // of the body; "": plain text
	fields      []string // further ones of the answer: names and values in turn
	failure     *Error   // of Fail
}

type verdictKind uint8

const (
	next verdictKind = iota
	respond
	park
	fail
	resend
	panicked
)

// broken is the verdict of a filter that panicked.
var broken = Verdict{kind: panicked}

// The verdicts without a parameter.
var (
	Next = Verdict{kind: next} // go on
	Park = Verdict{kind: park} // wait for Ref.Resume, or for the client's end, whichever comes first
	// Resend is for Filter.Error alone: the request is sent once more, to another backend of its upstream if there is
	// one, or to where SetDestination has led it. It is Next where that may not be: the request may have been processed
	// (Error.Retry says so) and its method is not idempotent, a part of its body is lost, the client was sent an
	// interim answer, or the attempts or the budget of the upstream are used up.
	Resend = Verdict{kind: resend}
)

// Respond answers with status and body instead of going on. The body is sent as it is given, as plain text unless Type
// says otherwise.
func Respond[B ~string | ~[]byte](status int, body B) Verdict {
	return Verdict{kind: respond, status: status, body: string(body)}
}

// RespondFile answers with status and all of a file instead of going on. Nothing of it is copied where the kernel can
// send it, and no reactor waits for a disk. A file that was closed is the failure Internal.
//
//	large, err := proxy.OpenFile("/srv/large.iso") // where the proxy is set up: opening may block
//	…
//	return proxy.RespondFile(200, large).Type("application/x-iso9660-image")
func RespondFile(status int, f *File) Verdict {
	return Verdict{kind: respond, status: status, file: f, contentType: "application/octet-stream"}
}

// RespondPage answers with the proxy's page for status, as for a failure with that status, instead of going on.
func RespondPage(status int) Verdict { return Verdict{kind: respond, status: status, page: true} }

// Fail ends the exchange with e, as a failure of the proxy's own: with the page of its status, Proxy-Status, and its
// Reason in the access log. A Silent failure is not answered: the connection is closed, in HTTP/2 the stream reset.
func Fail(e *Error) Verdict { return Verdict{kind: fail, failure: e} }

// Type returns v with contentType as the type of its body.
func (v Verdict) Type(contentType string) Verdict {
	v.contentType = contentType
	return v
}

// With returns v with a further field of the answer. Name and value must be valid: message.ValidName, ValidValue.
func (v Verdict) With(name, value string) Verdict {
	v.fields = append(slices.Clip(v.fields), name, value)
	return v
}

// final reports whether v is an answer that can be sent.
func (v *Verdict) final() bool { return v.kind == respond && v.status >= 200 && v.status <= 999 }
