package message

// Verb is a request method as a number.
type Verb uint8

// The methods that have a number (RFC 9110 §9.3, RFC 5789, RFC 10008).
const (
	VerbOther Verb = iota
	VerbGet
	VerbHead
	VerbPost
	VerbPut
	VerbDelete
	VerbConnect
	VerbOptions
	VerbTrace
	VerbPatch
	VerbQuery

	VerbCount // is no method, but how many numbers there are
)

var verbs = [VerbCount]string{
	VerbGet: "GET", VerbHead: "HEAD", VerbPost: "POST", VerbPut: "PUT", VerbDelete: "DELETE",
	VerbConnect: "CONNECT", VerbOptions: "OPTIONS", VerbTrace: "TRACE", VerbPatch: "PATCH",
	VerbQuery: "QUERY",
}

// LookupVerb returns the number of a method, VerbOther when it has none. Methods are case-sensitive.
func LookupVerb(method string) Verb {
	switch method {
	case "GET":
		return VerbGet
	case "HEAD":
		return VerbHead
	case "POST":
		return VerbPost
	case "PUT":
		return VerbPut
	case "DELETE":
		return VerbDelete
	case "CONNECT":
		return VerbConnect
	case "OPTIONS":
		return VerbOptions
	case "TRACE":
		return VerbTrace
	case "PATCH":
		return VerbPatch
	case "QUERY":
		return VerbQuery
	}
	return VerbOther
}

// LookupVerbBytes is LookupVerb for bytes.
func LookupVerbBytes(b []byte) Verb {
	if len(b) > len("CONNECT") {
		return VerbOther
	}
	return LookupVerb(string(b))
}

// String returns the method, "" for VerbOther.
func (v Verb) String() string { return verbs[v] }

// Safe reports whether the method asks for no change (RFC 9110 §9.2.1, RFC 10008 §2).
func (v Verb) Safe() bool {
	return v == VerbGet || v == VerbHead || v == VerbOptions || v == VerbTrace || v == VerbQuery
}

// Idempotent reports whether repeating the request does no more than sending it once (RFC 9110 §9.2.2).
func (v Verb) Idempotent() bool { return v.Safe() || v == VerbPut || v == VerbDelete }
