package origin

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// answer is what a path is answered with. Immutable after its making.
type answer struct {
	keep  []byte // the whole answer, head and body
	close []byte // the same with Connection: close
}

// answers are all there are. Immutable after newAnswers.
type answers struct {
	byPath           map[string]*answer
	missing, refused answer
}

// request is what the origin knows of one: where it ends and what to say.
type request struct {
	headLen int // 0: the head is not whole yet
	bodyLen int
	answer  *answer
	close   bool
	key     []byte // of a WebSocket that begins with it; nil for an ordinary request
}

var (
	headEnd         = []byte("\r\n\r\n")
	lineEnd         = []byte("\r\n")
	connectionClose = []byte("onnection: close")
	http10          = []byte(" HTTP/1.0\r\n")
	contentLength   = "content-length"
	transferCoding  = "transfer-encoding"
)

// readRequest looks at the front of in, which is borrowed until return.
func (a *answers) readRequest(in []byte) request {
	end := bytes.Index(in, headEnd)
	if end < 0 {
		return request{}
	}
	head := in[:end+len(headEnd)]
	r := request{headLen: len(head)}
	line := head[:bytes.Index(head, lineEnd)+len(lineEnd)]
	method, rest, _ := bytes.Cut(line, []byte(" "))
	path, _, _ := bytes.Cut(rest, []byte(" "))
	// Every proxy spells it one of two ways, and always with one space.
	r.close = bytes.Contains(head, connectionClose) || bytes.HasSuffix(line, http10)
	r.answer = a.of(path)
	if string(path) == echoPath {
		r.key = webSocketKey(head[len(line):])
	}
	if len(method) > 0 && method[0] == 'P' && !r.readFraming(head[len(line):]) {
		r.answer, r.close = &a.refused, true
	}
	return r
}

// readFraming finds the length of a request body; false means that it is not understood.
func (r *request) readFraming(fields []byte) bool {
	for line := range bytes.SplitSeq(fields, lineEnd) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		switch {
		case len(name) == len(contentLength) && strings.EqualFold(string(name), contentLength):
			n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil || n < 0 {
				return false
			}
			r.bodyLen = n
		case len(name) == len(transferCoding) && strings.EqualFold(string(name), transferCoding):
			return false
		}
	}
	return true
}

// of returns the answer of a path, which may have a query.
func (a *answers) of(path []byte) *answer {
	path, _, _ = bytes.Cut(path, []byte("?"))
	if found := a.byPath[string(path)]; found != nil {
		return found
	}
	return &a.missing
}

func newAnswers(now time.Time) *answers {
	all := &answers{
		byPath:  make(map[string]*answer),
		missing: newAnswer(now, "404 Not Found", sized(0)),
		refused: newAnswer(now, "501 Not Implemented", sized(0)),
	}
	for path, body := range map[string]framed{
		"/small": sized(128), "/upload": sized(128), "/16k": sized(16 << 10), "/1m": sized(1 << 20),
		"/chunked": chunks(4, 4<<10), "/cached/1k": cacheable(1 << 10), "/cached/16k": cacheable(16 << 10),
		"/cached/64k": cacheable(64 << 10), "/cached/256k": cacheable(256 << 10), "/cached/1m": cacheable(1 << 20),
		"/json": records(16 << 10),
	} {
		found := newAnswer(now, "200 OK", body)
		all.byPath[path] = &found
	}
	return all
}

// framed is a body with the field that says where it ends, and fields beside it.
type framed struct {
	field string // without the last line end
	kind  string // of the content; "": text/plain
	bytes []byte
}

func sized(n int) framed {
	return framed{field: fmt.Sprintf("Content-Length: %d", n), bytes: text(n)}
}

// cacheable is fresh for a day: the Date of all answers is the start of the origin.
func cacheable(n int) framed {
	f := sized(n)
	f.field += "\r\nCache-Control: max-age=86400"
	return f
}

func chunks(count, size int) framed {
	f := framed{field: "Transfer-Encoding: chunked"}
	for range count {
		f.bytes = fmt.Appendf(f.bytes, "%x\r\n%s\r\n", size, text(size))
	}
	f.bytes = append(f.bytes, "0\r\n\r\n"...)
	return f
}

// records is a list of objects, as services answer with: gzip makes a third of it.
func records(n int) framed {
	draw := rand.New(rand.NewPCG(1, 2))
	list := []byte("[")
	for whole := 1; ; whole = len(list) {
		list = fmt.Appendf(list, `{"id":%d,"user":"%x","mail":"%x@example.org","price":%.2f,"at":"2026-%02d"},`,
			draw.Uint32(), draw.Uint64(), draw.Uint32(), draw.Float64()*100, 1+draw.IntN(12))
		if len(list) > n {
			list = append(list[:whole-1], bytes.Repeat([]byte(" "), n-whole)...)
			list = append(list, ']')
			break
		}
	}
	return framed{field: fmt.Sprintf("Content-Length: %d", n), kind: "application/json", bytes: list}
}

func text(n int) []byte {
	const line = "all that a proxy does is carry these bytes from one to the other\n"
	return []byte(strings.Repeat(line, n/len(line)+1)[:n])
}

func newAnswer(now time.Time, status string, body framed) answer {
	head := fmt.Sprintf("HTTP/1.1 %s\r\nServer: origin\r\nDate: %s\r\nContent-Type: %s\r\n%s\r\n", status,
		now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"), cmp.Or(body.kind, "text/plain"), body.field)
	return answer{
		keep:  append([]byte(head+"\r\n"), body.bytes...),
		close: append([]byte(head+"Connection: close\r\n\r\n"), body.bytes...),
	}
}
