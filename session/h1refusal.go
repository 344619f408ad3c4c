package session

import (
	"errors"
	"strconv"
	"time"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

// refusalRoom is more than a refusal takes.
const refusalRoom = 512

// appendRefusal appends the whole answer to a request that only the session has seen. The answer to HEAD has no
// content. name is that of the proxy.
func appendRefusal(dst []byte, name string, status int, cause error, head bool) []byte {
	code := "http_request_error"
	var e *h1.Error
	if errors.As(cause, &e) {
		code = e.Code
	}
	text := cause.Error()
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, h1.Reason(status)...)
	dst = append(dst, "\r\nContent-Type: text/plain; charset=utf-8\r\nProxy-Status: "...)
	dst = append(dst, name...)
	dst = append(dst, "; error="...)
	dst = append(dst, code...)
	dst = append(dst, "\r\nDate: "...) // RFC 9110 §6.6.1
	dst = time.Now().UTC().AppendFormat(dst, message.DateLayout)
	dst = append(dst, "\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(text)+1), 10)
	dst = append(dst, "\r\nConnection: close\r\n\r\n"...)
	if head {
		return dst
	}
	dst = append(dst, text...)
	return append(dst, '\n')
}
