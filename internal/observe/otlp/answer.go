package otlp

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	answerMax  = 64 << 10
	messageMax = 256       // of an error, in the words of a collector
	resumeMax  = time.Hour // that a collector can ask for
)

// answer is what a collector says of a batch that it has taken.
type answer struct {
	rejected uint64 // spans, or log records
	message  string
}

// answered judges an answer by HTTP, or the answer of a proxy that stands before a collector of gRPC.
func answered(resp *http.Response, text []byte) (answer, error) {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	protobuf := kind == "application/x-protobuf"
	says := fmt.Sprintf("%s: %d %s", resp.Request.URL, resp.StatusCode, http.StatusText(resp.StatusCode))
	switch status := resp.StatusCode; {
	case status >= 200 && status < 300 && kind == "text/html":
		return answer{}, &failure{says: says + ", but with HTML: this is no collector"}
	case status >= 200 && status < 300 && protobuf:
		return partial(text), nil
	case status >= 200 && status < 300:
		return answer{}, nil
	case protobuf:
		says += ": " + readStatus(text).message
	}
	f := &failure{says: says}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		f.repeat, f.after = true, retryAfter(resp.Header.Get("Retry-After"))
	}
	return answer{}, f
}

// retryAfter reads Retry-After: seconds, or a time. 0: neither.
func retryAfter(v string) time.Duration {
	if s, err := strconv.ParseUint(v, 10, 32); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}

// answeredGRPC judges an answer by gRPC. Its status is in the trailers, or in the head when that is all there is.
func answeredGRPC(resp *http.Response, text []byte) (answer, error) {
	h := resp.Trailer
	if h.Get("Grpc-Status") == "" {
		h = resp.Header
	}
	code, err := strconv.Atoi(h.Get("Grpc-Status"))
	if err != nil {
		code = 2 // UNKNOWN
	}
	if code == 0 {
		return partial(unframed(text)), nil
	}
	details, _ := base64.RawStdEncoding.DecodeString(strings.TrimRight(h.Get("Grpc-Status-Details-Bin"), "="))
	status := readStatus(details)
	message, err := url.PathUnescape(h.Get("Grpc-Message"))
	if err != nil {
		message = h.Get("Grpc-Message")
	}
	f := &failure{says: fmt.Sprintf("%s: status %d: %s", resp.Request.URL, code, cut(message)), after: status.delay}
	switch code {
	case 1, 4, 10, 11, 14, 15: // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
		f.repeat = true
	case 8: // RESOURCE_EXHAUSTED: of the moment only where the collector says when to come back
		f.repeat = status.retry
	}
	return answer{}, f
}

// unframed returns the message of a frame of gRPC. grpc-go compresses its answer where the request was, whether or not
// the client has said that it reads such.
func unframed(p []byte) []byte {
	if len(p) < frameHead || p[0] == 0 {
		return p[min(frameHead, len(p)):]
	}
	r, err := gzip.NewReader(bytes.NewReader(p[frameHead:]))
	if err != nil {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(r, answerMax)) // a part of it is as good
	return text
}

// partial reads ExportTraceServiceResponse, or ExportLogsServiceResponse: how much of a batch was rejected.
func partial(p []byte) (a answer) {
	eachField(p, func(number int, _ uint64, success []byte) {
		if number != 1 {
			return
		}
		eachField(success, func(number int, v uint64, text []byte) {
			switch number {
			case 1:
				a.rejected = uint64(max(int64(v), 0))
			case 2:
				a.message = cut(string(text))
			}
		})
	})
	return a
}

// rpcStatus is google.rpc.Status.
type rpcStatus struct {
	message string
	retry   bool          // it has a RetryInfo
	delay   time.Duration // of that
}

func readStatus(p []byte) (s rpcStatus) {
	eachField(p, func(number int, _ uint64, text []byte) {
		switch number {
		case 2:
			s.message = cut(string(text))
		case 3:
			s.readDetail(text)
		}
	})
	return s
}

// readDetail reads google.protobuf.Any, which counts where it is google.rpc.RetryInfo.
func (s *rpcStatus) readDetail(p []byte) {
	var kind string
	eachField(p, func(number int, _ uint64, text []byte) {
		switch {
		case number == 1:
			kind = string(text)
		case number == 2 && strings.HasSuffix(kind, "/google.rpc.RetryInfo"):
			s.retry = true
			eachField(text, func(_ int, _ uint64, delay []byte) {
				eachField(delay, func(number int, v uint64, _ []byte) {
					switch number {
					case 1:
						s.delay += time.Duration(min(v, uint64(resumeMax/time.Second))) * time.Second
					case 2:
						s.delay += time.Duration(min(v, uint64(time.Second)))
					}
				})
			})
		}
	})
}

// cut bounds a text of a collector.
func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), messageMax)], "\uFFFD") }

// eachField calls f with each field of a message of protobuf, up to a malformed field: with its number, and
// with its varint or its bytes.
func eachField(p []byte, f func(number int, v uint64, text []byte)) {
	for len(p) > 0 {
		tag, n := binary.Uvarint(p)
		if n <= 0 {
			return
		}
		p = p[n:]
		var v, size uint64
		switch tag & 7 {
		case 0:
			if v, n = binary.Uvarint(p); n <= 0 {
				return
			}
			p = p[n:]
		case 1:
			size = 8
		case 2:
			if size, n = binary.Uvarint(p); n <= 0 {
				return
			}
			p = p[n:]
		case 5:
			size = 4
		default:
			return
		}
		if size > uint64(len(p)) {
			return
		}
		f(int(tag>>3), v, p[:size])
		p = p[size:]
	}
}
