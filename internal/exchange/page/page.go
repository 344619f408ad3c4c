package page

import (
	"strconv"

	"github.com/edge-proxy/edge/h1"
)

// Facts are what a body says.
type Facts struct {
	Status int
	Text   string // what the client can change about it, one sentence; "": what the status stands for
	Token  string // of Proxy-Status; "": none
	ID     string // the number of the request; "": it has none
	Host   []byte // that the request is for, as the client wrote it
}

// The types of the bodies.
const (
	typeText    = "text/plain; charset=utf-8"
	typeHTML    = "text/html; charset=utf-8"
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
)

// sentence returns what a client is told: its own mistake in the words of Text, mistakes of others by the status alone.
func (f *Facts) sentence() string {
	switch {
	case f.Status == 502, f.Status == 503, f.Status == 504:
		return "This site does not answer at the moment."
	case f.Status >= 500 && f.Status != 501 && f.Status != 505:
		return "Something went wrong on this site."
	case f.Text != "":
		return f.Text
	}
	switch f.Status {
	case 401:
		return "You have to sign in first."
	case 403:
		return "You may not see this."
	case 404:
		return "There is nothing at this address."
	case 410:
		return "What was at this address is gone."
	case 429:
		return "These were too many requests in a short time."
	}
	return "This request cannot be served."
}

// advice returns what a client can do, which ends with the number of the request.
func (f *Facts) advice() string {
	if f.Status >= 500 || f.Status == 429 {
		return "Try again in a moment. If it lasts, tell us this number:"
	}
	return "If you think that this is our mistake, tell us this number:"
}

func appendText(dst []byte, f *Facts) []byte {
	dst = appendStatus(dst, f.Status)
	dst = append(append(dst, '\n'), f.sentence()...)
	if f.ID != "" {
		dst = append(append(append(append(dst, ' '), f.advice()...), ' '), f.ID...)
	}
	return append(dst, '\n')
}

// appendJSON appends problem details (RFC 9457) with members of ours. Their type is about:blank, which is left out.
func appendJSON(dst []byte, f *Facts) []byte {
	dst = strconv.AppendInt(append(dst, `{"status":`...), int64(f.Status), 10)
	member := func(name, value string) {
		if value != "" {
			dst = append(append(append(dst, `,"`...), name...), `":"`...)
			dst = append(appendEscaped(dst, value, inJSON), '"')
		}
	}
	member("title", h1.Reason(f.Status))
	member("error", f.sentence())
	member("reason", f.Token)
	member("request_id", f.ID)
	return append(dst, "}\n"...)
}

// htmlHead is the page up to its title. Its style follows the device: light or dark, and the font.
const htmlHead = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; --ink: light-dark(#1f2328, #e6e8eb); --soft: light-dark(#656d76, #9aa2ab) }
body { margin: 0; min-height: 100vh; display: grid; align-items: center; color: var(--ink);
  background: light-dark(#f6f7f9, #16181c); font: 1.0625rem/1.6 system-ui, -apple-system, sans-serif }
main { box-sizing: border-box; width: 100%; max-width: 36rem; margin: auto; padding: 2rem }
h1 { margin: .25rem 0 1rem; font-size: 1.5rem; line-height: 1.3; text-wrap: balance }
p { margin: 0; color: var(--soft) }
code { display: inline-block; margin-top: .5rem; padding: .25rem .5rem; border-radius: .375rem; color: var(--ink);
  background: light-dark(#e8eaed, #262a30); font: .875rem ui-monospace, monospace; overflow-wrap: anywhere }
</style>
<title>`

func appendHTML(dst []byte, f *Facts) []byte {
	dst = appendStatus(append(dst, htmlHead...), f.Status)
	dst = appendStatus(append(dst, "</title>\n<main>\n<p>"...), f.Status)
	dst = append(dst, "</p>\n<h1>"...)
	dst = appendEscaped(dst, f.sentence(), inHTML)
	dst = append(dst, "</h1>\n"...)
	if f.ID != "" {
		dst = append(append(append(dst, "<p>"...), f.advice()...), "<br>\n<code>"...)
		dst = append(appendEscaped(dst, f.ID, inHTML), "</code></p>\n"...)
	}
	return append(dst, "</main>\n</html>\n"...)
}

// appendStatus appends a status as people know it: "502 Bad Gateway".
func appendStatus(dst []byte, status int) []byte {
	dst = strconv.AppendInt(dst, int64(status), 10)
	if phrase := h1.Reason(status); phrase != "" {
		dst = append(append(dst, ' '), phrase...)
	}
	return dst
}
