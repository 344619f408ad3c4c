package lang

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"

	"github.com/edge-proxy/edge/message"
)

// builtin are the variables that a head alone gives, and those that the language itself has.
var builtin = []Variable{
	{Name: "method", Kind: Text, Phases: afterHead, Doc: "The method as it came; upper and lower case differ.",
		Example: `method in {"GET" "HEAD"}`, Text: method},
	{Name: "path", Kind: Text, Phases: afterHead, Doc: "The path that routing saw, in normal form, without the query.",
		Example: `path starts_with "/api/"`, Text: path},
	{Name: "target", Kind: Text, Phases: afterHead, Doc: "The target with its query, byte for byte as it came.",
		Example: `target contains "//"`, Text: target},
	{Name: "query", Kind: Text, Phases: afterHead,
		Doc: "The query as it came, without the question mark. `query.X` is a parameter, decoded as forms " +
			"are; a `%` that encodes nothing stays. There may be several of a name.",
		Example: `query.q == "1"`, Text: query, NamedTexts: queryNamed, each: queryEach},
	{Name: "header", Kind: Text, Phases: afterHead,
		Doc:     "`header.X` is a field of the request; its name is in any case, and there may be several of it.",
		Example: `header.user-agent contains "curl"`, NamedTexts: headerNamed, each: headerEach},
	{Name: "cookie", Kind: Text, Phases: afterHead,
		Doc: "`cookie.X` is a cookie, without blanks and quotation marks around it; `%XX` in it stays. There may be " +
			"several of a name.",
		Example: `cookie.beta == "yes"`, NamedTexts: cookieNamed, each: cookieEach},
	{Name: "host", Kind: Text, Phases: afterHead, Doc: "The host that was asked for, in lower case, without its port.",
		Example: `host ends_with ".example.com"`, Text: host},
	{Name: "port", Kind: Int, Phases: afterHead,
		Doc:     "The port that was asked for; where none is named, the port of the scheme.",
		Example: `port == 8443`, Int: port},
	{Name: "scheme", Kind: Text, Phases: afterHead,
		Doc: "`https` or `http`, as the head has it. edge sets it by the connection, or by what a trusted " +
			"proxy says.",
		Example: `scheme == "http"`, Text: scheme},
	{Name: "proto", Kind: Text, Phases: afterHead,
		Doc:     "The version that the request came in: `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`, `HTTP/3`.",
		Example: `proto != "HTTP/2"`, Text: proto},
	{Name: "upgrade", Kind: Text, Phases: afterHead,
		Doc: "The protocol that the request asks to change to, in lower case, by `Upgrade` of HTTP/1 or an extended " +
			"`CONNECT` of HTTP/2; missing where it asks for none.",
		Example: `upgrade == "websocket"`, Text: upgrade},
	{Name: "length", Kind: Size, Phases: afterHead,
		Doc:     "The length of the request's body; missing where it is not told.",
		Example: `length > 10m`, Int: length},
	{Name: "body", Kind: Text, Phases: afterBody,
		Doc: "The begin of the request's body, as it came, of as many bytes as `read_body` of the route says, or " +
			"all of it; missing where the request has none, or the route has no `read_body`.",
		Example: `body starts_with "GIF8"`, Text: body},
	{Name: "body.cut", Kind: Bool, Phases: afterBody,
		Doc: "Whether there is more of the body than `body` has.", Example: `body.cut`, Bool: bodyCut},
	{Name: "status", Kind: Int, Phases: Answer | Log,
		Doc:     "The status of the answer.",
		Example: `status >= 500`, Int: status},
	{Name: "answer.header", Kind: Text, Phases: Answer | Log,
		Doc:     "`answer.header.X` is a field of the answer; there may be several of a name.",
		Example: `answer.header.content-type starts_with "text/"`, NamedTexts: answerHeaderNamed,
		each: answerHeaderEach},
	{Name: "answer.length", Kind: Size, Phases: Answer | Log,
		Doc:     "The length of the answer's body; missing where it is not told.",
		Example: `answer.length > 1m`, Int: answerLength},
	{Name: "match", Kind: Text, Phases: Always,
		Doc: "`match.1` is a group of the last `~` that held in this rule, or of the route's pattern; " +
			"`match.0` is all of it.",
		Example: `path ~ "^/api/v([0-9]+)/" and match.1 == "2"`, Named: matchNamed},
	{Name: "time.unix", Kind: Int, Phases: Always,
		Doc:     "Seconds since 1970.",
		Example: `time.unix > 1800000000`, Int: timeUnix},
	{Name: "time.hour", Kind: Int, Phases: Always,
		Doc:     "The hour in UTC, 0 to 23.",
		Example: `time.hour >= 8`, Int: timeHour},
	{Name: "time.weekday", Kind: Int, Phases: Always, Doc: "The day of the week in UTC; Sunday is 0.",
		Example: `time.weekday in {0 6}`, Int: timeWeekday},
}

func builtinNamed(name string) *Variable {
	i := slices.IndexFunc(builtin, func(v Variable) bool { return v.Name == name })
	return &builtin[i]
}

// Phases in which there is a request, and in which its body may have been read.
const (
	afterHead = Request | afterBody
	afterBody = Content | Answer | Log
)

func method(x *X) []byte {
	if x.Request == nil {
		return nil
	}
	return x.Request.MethodBytes()
}

func path(x *X) []byte {
	if x.Path != nil || x.Request == nil {
		return x.Path
	}
	return present(x.Request.Path())
}

func target(x *X) []byte {
	if x.Request == nil {
		return nil
	}
	return present(x.Request.Bytes(x.Request.Target))
}

func query(x *X) []byte {
	if x.Request == nil {
		return nil
	}
	return x.Request.Query()
}

// host returns the host as message.Head.LowerHost does. Where it came in lower case it is borrowed.
func host(x *X) []byte {
	if x.Request == nil {
		return nil
	}
	b := hostAsIs(x.Request)
	if len(b) == 0 {
		return nil
	}
	if upperCase(b) {
		return x.State.lower(b)
	}
	return b
}

// hostAsIs returns the host without its port and the dot of the root.
func hostAsIs(h *message.Head) []byte { return message.HostOf(h.Bytes(h.Authority)) }

// upperCase reports whether b has a letter of ASCII in upper case.
func upperCase[T string | []byte](b T) bool {
	for i := range len(b) {
		if b[i]-'A' < 26 {
			return true
		}
	}
	return false
}

func scheme(x *X) []byte {
	switch {
	case x.Request == nil:
		return nil
	case x.Request.HTTPS:
		return httpsText
	}
	return httpText
}

var httpText, httpsText = []byte("http"), []byte("https")

func port(x *X) (int64, bool) {
	if x.Request == nil {
		return 0, false
	}
	b := x.Request.Bytes(x.Request.Authority)
	host := x.Request.Host()
	if len(b) > len(host)+1 {
		return message.ParseLength(b[len(host)+1:])
	}
	if x.Request.HTTPS {
		return 443, true
	}
	return 80, true
}

var protos = map[message.Proto][]byte{
	message.HTTP10: []byte("HTTP/1.0"), message.HTTP11: []byte("HTTP/1.1"), message.HTTP20: []byte("HTTP/2"),
	message.HTTP30: []byte("HTTP/3"),
}

func proto(x *X) []byte {
	if x.Request == nil {
		return nil
	}
	return protos[x.Request.Proto]
}

// upgrade returns the protocol in lower case. Where it came so it is borrowed.
func upgrade(x *X) []byte {
	if x.Request == nil || !x.Request.Upgrade {
		return nil
	}
	b := x.Request.Bytes(x.Request.Protocol)
	if upperCase(b) {
		return x.State.lower(b)
	}
	return b
}

func length(x *X) (int64, bool) {
	if x.Request == nil || x.Request.Length < 0 {
		return 0, false
	}
	return x.Request.Length, true
}

func body(x *X) []byte {
	if x.Body == nil || len(x.Body.Bytes) == 0 {
		return nil
	}
	return x.Body.Bytes
}

// bodyCut holds for a body of which nothing was read as well: its route has no read_body.
func bodyCut(x *X) bool {
	if x.Body == nil {
		return x.Request != nil && x.Request.Length != 0
	}
	return x.Body.Cut
}

func status(x *X) (int64, bool) {
	if x.Answer == nil || x.Answer.Status == 0 {
		return 0, false
	}
	return int64(x.Answer.Status), true
}

func answerLength(x *X) (int64, bool) {
	if x.Answer == nil || x.Answer.Length < 0 {
		return 0, false
	}
	return x.Answer.Length, true
}

const (
	second = int64(1e9)
	hour   = 3600 * second
	day    = 24 * hour
)

func timeUnix(x *X) (int64, bool) { return x.State.Now / second, x.State.Now > 0 }

func timeHour(x *X) (int64, bool) { return x.State.Now % day / hour, x.State.Now > 0 }

// timeWeekday counts from a Thursday, the first day of 1970.
func timeWeekday(x *X) (int64, bool) { return (x.State.Now/day + 4) % 7, x.State.Now > 0 }

func matchNamed(name string) (TextFunc, error) {
	if len(name) != 1 || !digit(name[0]) {
		return nil, errors.New("the groups of a match are match.0 to match.9")
	}
	group := int(name[0] - '0')
	return func(x *X) []byte { return x.State.group(group) }, nil
}

var errFieldName = errors.New("this cannot be the name of a field")

func headerNamed(name string) (TextsFunc, error) {
	if !message.ValidName(name) {
		return nil, errFieldName
	}
	return collected(headerEach(name)), nil
}

func answerHeaderNamed(name string) (TextsFunc, error) {
	if !message.ValidName(name) {
		return nil, errFieldName
	}
	return collected(answerHeaderEach(name)), nil
}

func queryNamed(name string) (TextsFunc, error) { return collected(queryEach(name)), nil }

func cookieNamed(name string) (TextsFunc, error) {
	if !message.ValidName(name) {
		return nil, errors.New("this cannot be the name of a cookie")
	}
	return collected(cookieEach(name)), nil
}

// collected returns the function that makes a list of what each is called with.
func collected(each eachFunc) TextsFunc {
	return func(x *X, dst [][]byte) [][]byte {
		x.State.collecting = dst
		each(x, collect)
		dst, x.State.collecting = x.State.collecting, nil
		return dst
	}
}

func collect(x *X, text []byte) bool {
	x.State.collecting = append(x.State.collecting, text)
	return false
}

// headerEach walks the fields of a request. Decoders keep the host apart.
func headerEach(name string) eachFunc {
	id := message.Lookup(name)
	if id == message.Host {
		return func(x *X, holds test) (found, held bool) {
			if x.Request == nil || x.Request.Authority.Len == 0 {
				return false, false
			}
			return true, holds(x, x.Request.Bytes(x.Request.Authority))
		}
	}
	if id != message.Other {
		return func(x *X, holds test) (found, held bool) {
			if h := x.Request; h != nil {
				for i := range h.Fields {
					if f := &h.Fields[i]; f.ID == id && !f.Dropped() {
						if found = true; holds(x, present(h.Value(i))) {
							return true, true
						}
					}
				}
			}
			return found, false
		}
	}
	return func(x *X, holds test) (found, held bool) { return eachField(x, x.Request, id, name, holds) }
}

func answerHeaderEach(name string) eachFunc {
	id := message.Lookup(name)
	return func(x *X, holds test) (found, held bool) { return eachField(x, x.Answer, id, name, holds) }
}

func eachField(x *X, h *message.Head, id message.Name, name string, holds test) (found, held bool) {
	if h == nil {
		return false, false
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.ID != id || int(f.NameLen) != len(name) || f.Dropped() ||
			id == message.Other && !message.EqualFold(h.Name(i), name) {
			continue
		}
		if found = true; holds(x, present(h.Value(i))) {
			return true, true
		}
	}
	return found, false
}

// queryEach walks the parameters of a name. A percent sign that encodes nothing stands for itself, and a semicolon too:
// origins read such values, so that a rule has to.
func queryEach(name string) eachFunc {
	return func(x *X, holds test) (found, held bool) {
		if x.Request == nil {
			return false, false
		}
		for rest := x.Request.Query(); len(rest) > 0; {
			var value []byte
			var ok bool
			if value, rest, ok = message.CutParameter(rest, name); !ok {
				break
			}
			if bytes.IndexByte(value, '%') >= 0 || bytes.IndexByte(value, '+') >= 0 {
				value = x.State.parameter(value)
			}
			if found = true; holds(x, present(value)) {
				return true, true
			}
		}
		return found, false
	}
}

// parameter decodes a value of a query.
func (s *State) parameter(b []byte) []byte {
	dst := s.Room()
	for len(b) > 0 {
		if b[0] == '+' {
			dst, b = append(dst, ' '), b[1:]
			continue
		}
		c, size := message.DecodePercent(b)
		dst, b = append(dst, c), b[size:]
	}
	return s.Keep(dst)
}

func cookieEach(name string) eachFunc {
	return func(x *X, holds test) (found, held bool) {
		if x.Request == nil {
			return false, false
		}
		h := x.Request
		for i := range h.Fields {
			if f := &h.Fields[i]; f.ID != message.Cookie || f.Dropped() {
				continue
			}
			for rest := h.Value(i); len(rest) > 0; {
				var value []byte
				var ok bool
				if value, rest, ok = message.CutCookie(rest, name); !ok {
					break
				}
				if found = true; holds(x, present(value)) {
					return true, true
				}
			}
		}
		return found, false
	}
}

// unmapped returns an address in the one form that they have here.
func unmapped(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	return a.Unmap().WithZone("")
}
